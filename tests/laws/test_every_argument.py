"""Of every method of every protocol, a part that loses, negates or exchanges an argument breaks a law, or may do so.

The faults are made by a program from the signatures, one by one, in a part that obeys all laws.
"""

import inspect
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from broken_parts import Measure, Noisy, build
from test_broken_parts import EXAMPLE

import floqzoo as fz
from floqzoo import protocols
from floqzoo.learner import BalancedReplay, GeometricFuture
from floqzoo.successor import TD2Target
from floqzoo.testing import LAWS, laws_of


class Advantageous(fz.NullCritic):
    """A critic whose value of an action depends on the state."""

    def score(self, observation, action):
        return jnp.sum(action * jnp.tanh(observation[: action.size]) + action**3)

    def advantage(self, observation, action):
        return self.score(observation, action) - jnp.sum(observation)


# Parts that use all arguments that a part of the protocol may use; two where one argument excludes another.
SOUND = [
    (protocols.NoisePrior, partial(fz.GaussianPrior, 0.3, 1.3)),
    (protocols.ProbabilityPath, fz.LinearPath),
    (protocols.ODESolver, partial(fz.Midpoint, 4)),
    (protocols.LinearLayer, partial(fz.Dense, 5, 3)),
    (protocols.Network, partial(fz.MLP, 5, 3, hidden=(8,))),
    (protocols.TimeEmbedding, fz.RawTime),
    (protocols.PointEmbedding, fz.RawPoint),
    (protocols.TimeDistribution, fz.UniformTime),
    (protocols.Aggregation, fz.MeanOverEnsemble),
    (protocols.Backup, fz.DistributionalBackup),
    (protocols.NoiseCoupling, fz.SharedNoise),
    (protocols.UpdateRule, partial(fz.JointUpdate, optax.sgd(0.1, momentum=0.9))),
    (protocols.TargetUpdate, partial(fz.PolyakAveraging, 0.3, 0.2, 3)),
    (protocols.TransitionReader, partial(GeometricFuture, 0.9)),
    (protocols.BatchSource, BalancedReplay),
    (protocols.SuccessorMeasure, Measure),
    (protocols.SuccessorTarget, TD2Target),
    (protocols.HasAdvantage, Advantageous),
    (protocols.ActsFromNoise, partial(Noisy, lambda observation: observation)),
]
ANY_FUNCTION = "any function of it may be one"
# Faults that leave a part which another sound part could be, and so no law forbids.
ALLOWED = {
    ("body", "hidden negated"): ANY_FUNCTION,
    ("part", "x negated"): ANY_FUNCTION,
    ("embed_time", "t negated"): ANY_FUNCTION,
    ("embed_point", "x negated"): ANY_FUNCTION,
    ("next_noise", "fresh lost"): "noise that is shared uses nothing else",
    ("next_noise", "fresh negated"): "noise that is shared uses nothing else",
    ("next_noise", "noise for fresh"): "the result is independent noise",
    ("init_optimisers", "parts lost"): "the first state of SGD with momentum is 0",
    ("init_optimisers", "parts negated"): "the first state of SGD with momentum is 0",
    ("update_targets", "after lost"): "the parameters before the step are followed",
    ("update_targets", "after negated"): "the parameters before the step are followed",
    ("read", "key lost"): "n-step returns draw nothing",
    ("act_from_noise", "critic lost"): "only policies that choose by the critic use it",
    ("act_from_noise", "critic negated"): "only policies that choose by the critic use it",
    ("regression", "step lost"): "futures are bootstrapped",
    ("regression", "step negated"): "futures are bootstrapped",
}
# Protocols of which any function, or any constant, is a part: no law can ask what it does with an argument.
ANY_STATISTICS = "any numbers of a batch may be shown"
FREE = {
    protocols.VelocityField: ANY_FUNCTION,
    protocols.Critic: ANY_FUNCTION,
    protocols.NoisyCritic: "an estimate may be of another network than the score, with a different error",
    protocols.Diagnosable: ANY_STATISTICS,
    protocols.Policy: ANY_FUNCTION,
    protocols.Exploring: ANY_FUNCTION,
    protocols.HasDensity: "an estimate of the density before actions are clipped, which has no other method to agree with",
    protocols.NextAction: "the action of any policy, of constant ones too",
    protocols.RewardModel: ANY_FUNCTION,
    protocols.ActsForLatent: ANY_FUNCTION,
    protocols.ScoresForLatent: ANY_FUNCTION,
}
FREE_METHODS = {"successor_loss": "any loss, of which other laws ask that it has a gradient and draws for each row"}
NOT_NUMBERS = {"key", "shape", "dim", "place", "at", "batch_size", "start", "store", "dataset", "replay", "flow"}


def is_key(leaf):
    return eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def lost(argument):
    """Numbers become 0, keys one key, and functions 0."""
    if inspect.isfunction(argument):
        return lambda *inputs: jnp.zeros_like(inputs[-1])
    return jax.tree.map(
        lambda leaf: jax.random.key(0) if is_key(leaf) else 0 * leaf if number(leaf) else leaf, argument
    )


def negated(argument):
    if inspect.isfunction(argument):
        return lambda *inputs: -argument(*inputs)
    return jax.tree.map(lambda leaf: -leaf if number(leaf) else leaf, argument)


def number(leaf):
    return eqx.is_array(leaf) or isinstance(leaf, float | int)


def spoilt(make, method, change):
    """A part whose method changes its arguments before the sound one takes them."""
    sound = getattr(make.func if isinstance(make, partial) else make, method)

    def faulty(self, *arguments, **named):
        arguments = inspect.signature(sound).bind(self, *arguments, **named)
        arguments.apply_defaults()
        return sound(*change(list(arguments.args)))

    return build(make, {method: faulty})


def lose(place, arguments):
    return [lost(argument) if index == place else argument for index, argument in enumerate(arguments)]


def negate(place, arguments):
    return [negated(argument) if index == place else argument for index, argument in enumerate(arguments)]


def exchange(place, other, arguments):
    arguments[place], arguments[other] = arguments[other], arguments[place]
    return arguments


def faults():
    for protocol, make in SOUND:
        for method, function in vars(protocol).items():
            private = method.startswith("_") and method != "__call__"
            if not inspect.isfunction(function) or private or method in FREE_METHODS:
                continue
            names = list(inspect.signature(function).parameters)[1:]
            for place, name in enumerate(names, 1):
                made = [(f"{name} lost", partial(lose, place))]
                made += [(f"{name} negated", partial(negate, place))] * (name not in NOT_NUMBERS)
                made += [
                    (f"{name} for {names[o - 1]}", partial(exchange, place, o))
                    for o in range(place + 1, len(names) + 1)
                ]
                for fault, change in made:
                    if (method, fault) not in ALLOWED:
                        yield pytest.param(make, method, change, id=f"{protocol.__name__}.{method}, {fault}")


def breaks_a_law(part):
    for law in laws_of(part):
        try:
            law(part, EXAMPLE)
        except Exception:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(("make", "method", "change"), [*faults()])
def test_a_spoilt_argument_breaks_a_law(make, method, change):
    assert breaks_a_law(spoilt(make, method, change))


@pytest.mark.slow
@pytest.mark.parametrize("make", [make for _, make in SOUND])
def test_the_part_without_fault_breaks_none(make):
    assert not breaks_a_law(build(make, {}))


def test_every_protocol_with_laws_is_here():
    with_laws = {kind for kind in LAWS if getattr(kind, "_is_protocol", False)}
    assert with_laws == {protocol for protocol, _ in SOUND} | FREE.keys()
