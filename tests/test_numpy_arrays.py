"""Arrays of NumPy, of either precision, are taken wherever arrays of JAX are, and give the same."""

import inspect
import re
import typing
from functools import cache, partial
from itertools import chain
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from jaxtyping import AbstractArray

import floqzoo as fz
from floqzoo import protocols
from floqzoo.records import StepCount, Trajectory, Transition
from floqzoo.testing import FAMILIES, Sizes, assert_close, examples
from floqzoo.testing.batch_source_laws import example_data
from floqzoo.testing.families import critic, field, forward_backward, latent_policy, narrow, policy
from floqzoo.testing.hyperparameter_laws import OUTPUTS, Numbers
from floqzoo.testing.policy_laws import SumCritic, UniformPolicy, frozen_agent
from floqzoo.typing import Key


ROOT = Path(__file__).parents[1]


@cache
def simplest(strategy):
    """The simplest value that a strategy draws."""
    found = []

    @settings(max_examples=1, phases=[Phase.generate], database=None)
    @given(strategy)
    def take(value):
        found.append(value)

    take()
    return found[0]


def numpy_arrays(tree, dtype):
    """The same tree with arrays of NumPy; those without axes are numbers of NumPy in float32. None for those of JAX."""

    def converted(leaf):
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.clone(leaf)
        if not eqx.is_array(leaf) or dtype is None:
            return leaf
        array = np.asarray(leaf)
        array = array.astype(dtype) if array.dtype.kind == "f" else array
        return array[()] if dtype == np.float32 else array

    return jax.tree.map(converted, tree)


PRECISIONS = (np.float32, np.float64)


def assert_takes_numpy(function, arguments, precisions=PRECISIONS):
    wanted = jax.tree.leaves(function(numpy_arrays(arguments, None)))
    for dtype in precisions:
        found = jax.tree.leaves(function(numpy_arrays(arguments, dtype)))
        for mine, other in zip(found, wanted, strict=True):
            if eqx.is_inexact_array(other):
                assert_close(np.asarray(mine, other.dtype), other)
            else:
                assert not eqx.is_array(other) or np.array_equal(mine, other)


def test_there_is_one_kind_of_array():
    """Every annotation is of `floqzoo.typing.Array`, which is of either library."""
    for path in ROOT.glob("floqzoo/**/*.py"):
        assert not re.search(r"from jaxtyping import .*\bArray\b|\b[A-Z]\w+\[jax\.Array,", path.read_text()), path
    array = fz.NormalisedValue.embed_point.__annotations__["x"].array_type
    assert isinstance(np.zeros(2), array) and isinstance(np.float32(0), array) and isinstance(jnp.zeros(2), array)
    assert not isinstance([0.0], array) and not isinstance(0.0, array)


def parts_of(kind):
    """The simplest part of each class in a family."""
    return [*{type(part): part for part in map(simplest, FAMILIES[kind])}.values()]


def assert_computes_the_same(kind, part, precisions):
    example = example_numbers()
    names = ("t", "s", "x0", "x1", "condition", "inputs", "observation", "action", "batch")

    def output(arrays):
        numbers = eqx.tree_at(lambda x: [getattr(x, name) for name in names], Numbers.of(example), arrays)
        return OUTPUTS[kind](part, numbers)

    assert_takes_numpy(output, [getattr(example, name) for name in names], precisions)


# The first member of a family stands for it in a quick run, except where it compiles much; the slow ones take one precision.
MUCH = {protocols.SuccessorMeasure, protocols.BatchSource, protocols.HasDensity, protocols.ScoresForLatent}


@pytest.mark.parametrize("kind", [kind for kind in OUTPUTS if kind not in MUCH], ids=lambda kind: kind.__name__)
def test_the_first_part_of_a_family_computes_the_same(kind):
    assert_computes_the_same(kind, simplest(FAMILIES[kind][0]), PRECISIONS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OUTPUTS, ids=lambda kind: kind.__name__)
def test_the_other_parts_of_a_family_compute_the_same(kind):
    for part in parts_of(kind)[kind not in MUCH :]:
        assert_computes_the_same(kind, part, PRECISIONS[1:])


# The public methods that no protocol has, found by a program, are called with arrays made from their annotations.
# Parts are built when a test asks for them: every process of the tests imports this file.
@cache
def example_numbers():
    return simplest(examples(Sizes()))


@cache
def flow():
    return fz.Flow(field(key=jax.random.key(0)), 2, solver=fz.Euler(2))


def embedding_network():
    return fz.EmbeddingNetwork((5, 2), 3, width=8, embedding=4, key=jax.random.key(0))


@cache
def others():
    """Parts of the classes that are in no family."""
    levels = fz.LevelProduct(5, 8, embedding=fz.FourierTime(4), key=jax.random.key(0))
    return [
        fz.Agent(
            critic=critic(key=jax.random.key(0)),
            policy=policy(key=jax.random.key(0)),
            normaliser=fz.Normaliser(0.5, 2.0),
        ),
        fz.ActorCritic(critic(key=jax.random.key(0)), policy(key=jax.random.key(0)), fz.Normaliser(0.5, 2.0)),
        frozen_agent(critic(key=jax.random.key(0)), policy(key=jax.random.key(0))),
        fz.Normaliser(0.5, 2.0),
        flow(),
        fz.QEnsemble(3, 2, build=narrow, key=jax.random.key(0)),
        fz.QuantileEnsemble(levels, build=narrow, key=jax.random.key(0)),
        levels,
        fz.LevelConcatenation(5, fz.FourierTime(4)),
        fz.ExactDivergence(),
        fz.HutchinsonDivergence(2),
        fz.ExpectileLoss(),
        fz.HuberQuantileLoss(0.5),
        fz.LatentMixture(),
        fz.SmoothingNoise(0.1, 0.2),
        fz.UniformSupport(-1.0, 1.0, 5),
        embedding_network(),
        fz.IntentionEncoder(narrow(5, 10, key=jax.random.key(0)), 5),
        fz.PixelNetwork(
            8 * 8 * 3,
            2,
            build=narrow,
            encoder=partial(fz.impala_small, channels=(2,)),
            frame=(8, 8, 3),
            key=jax.random.key(0),
        ),
        fz.RandomCrop(fz.UniformBatches(), frame=(8, 8, 3)),
        example_numbers().batch,
        example_data(example_numbers())[0],
    ]


AXES = {
    "dim": 2,
    "observation": 3,
    "action": 2,
    "latent": 5,
    "condition": 5,
    "inputs": 5,
    "in": 5,
    "part": 5,
    "width": 8,
}
AXES |= {"batch": 4, "members": 2, "samples": 3, "levels": 3, "points": 5, "states": 4, "times": 4, "shape": 4, "1": 1}
AXES |= {"pixels": 2 * 8 * 8 * 3, "bytes": 8 * 8 * 3, "2": 2}
AXES |= {"...": 4, "size": 8, "noise": 2, "_": 5}
OTHER_ARGUMENTS = {
    "agent": lambda part: frozen_agent(
        part if isinstance(part, protocols.Critic) else SumCritic(5),
        part if isinstance(part, protocols.Policy) else UniformPolicy(2),
    ),
    "critic": lambda part: SumCritic(),
    "count": lambda part: 2,
    "steps": lambda part: StepCount.known(2),
    "first": lambda part: 0.5,
    "actor": lambda part: fz.ActorCritic(None, UniformPolicy(2)),
    "num_steps": lambda part: np.float32(2),
    "velocity": lambda part: lambda *arguments: -arguments[-1],
    "code": lambda part: flow().encode(*example_numbers().condition),
    "draws": lambda part: part.draws(4, 5, jax.random.key(0)),
    "batch_size": lambda part: 4,
    "target": lambda part: part,
}


def made(hint, name, part):
    """An argument, by its annotation or else by its name."""
    if name.endswith("key"):
        return jax.random.key(1)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        shape = tuple(AXES[axis.lstrip("*")] for axis in hint.dim_str.split())
        numbers = np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape)
        kind = hint.dtype.__name__
        return jnp.asarray(numbers % 2 if kind == "Int" else numbers / 32, int if kind == "Int" else float)
    if hint is Transition:
        one = name in ("step", "transition")
        return jax.tree.map(lambda leaf: leaf[0], example_numbers().batch) if one else example_numbers().batch
    for choice in typing.get_args(hint):
        found = made(choice, name, part)
        if found is not None:
            return found
    return OTHER_ARGUMENTS[name](part) if name in OTHER_ARGUMENTS else None


def takes_arrays(hint):
    if isinstance(hint, type):
        return hint is Transition or (issubclass(hint, AbstractArray) and hint not in typing.get_args(Key))
    return any(map(takes_arrays, typing.get_args(hint)))


def hints_of(method):
    return {name: hint for name, hint in typing.get_type_hints(inspect.unwrap(method)).items() if name != "return"}


OF_PROTOCOLS = {
    *(name for kind in FAMILIES if kind.__module__ == "floqzoo.protocols" for name in vars(kind)),
    "from_observations",  # of NumPy by itself: tests/networks/test_normaliser.py
}
METHODS = [
    (kind, name)
    for kind in map(fz.__getattr__, fz.__all__)
    if inspect.isclass(kind)
    for name, method in inspect.getmembers(kind, inspect.isfunction)
    if "self" in inspect.signature(method).parameters  # no constructor
    if (name == "__call__" or not name.startswith("_")) and name not in OF_PROTOCOLS
    if any(map(takes_arrays, hints_of(method).values()))
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(*case, id=f"{case[0].__name__}.{case[1]}") for case in METHODS]
)
def test_a_method_of_a_class_takes_them(kind, name):
    part = next(part for part in chain(others(), map(simplest, FAMILIES[eqx.Module])) if type(part) is kind)
    method = getattr(part, name)
    hints = hints_of(method)
    arguments = {
        argument: made(hints.get(argument), argument, part)
        for argument, parameter in inspect.signature(method).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
    }
    assert_takes_numpy(lambda arguments: method(**arguments), arguments, PRECISIONS[1:])


@cache
def forward_backward_agent():
    return fz.Agent(critic=forward_backward(key=jax.random.key(0)), policy=latent_policy(key=jax.random.key(0)))


FUNCTIONS = {
    "curvature": lambda x: (
        lambda x: fz.path_curvature(Trajectory(*x)),
        [jnp.linspace(0, 1, 4), jnp.arange(8.0).reshape(4, 2)],
    ),
    "infer_goal": lambda x: (lambda goal: fz.infer_goal(forward_backward_agent(), goal), x.observation),
    "infer_task": lambda x: (
        lambda rewards: fz.infer_task(forward_backward_agent(), *rewards),
        [x.batch.observation + 1, x.batch.reward + 1],
    ),
    "hyperparameter": lambda x: (fz.Hyperparameter, jnp.arange(3.0)),
    "normaliser": lambda x: (lambda numbers: fz.Normaliser(*numbers), [jnp.arange(3.0), jnp.ones(3)]),
    "log_prob": lambda x: (
        lambda x: flow().log_prob(x[0], flow().encode(*x[1:]), solver=fz.Midpoint(2)),
        [x.x0, *x.condition],
    ),
    "embedding_network": lambda x: (lambda x: embedding_network()(*x), [jnp.arange(5.0) / 8, jnp.arange(2.0)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_them(name):
    assert_takes_numpy(*FUNCTIONS[name](example_numbers()))
