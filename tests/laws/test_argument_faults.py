"""A part that ignores, freezes, swaps or reverses an argument breaks a law of its protocol.

The faults are planted one by one into sound parts; each leaves the part with all its methods.
"""

import dataclasses
import types
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from test_broken_parts import EXAMPLE

import floqzoo as fz
from floqzoo.flow.fixed_step import FixedStepSolver
from floqzoo.records import PathPoint
from floqzoo.successor import FlowSuccessor, TD2Target
from floqzoo.testing import assert_obeys
from floqzoo.testing.families import critic, measure, policy
from floqzoo.testing.solver_laws import the_error_falls_with_the_order


pytestmark = pytest.mark.slow


def with_members(sound, **members):
    """A sound part whose class has some members exchanged."""
    kind = types.new_class(type(sound).__name__, (type(sound),), exec_body=lambda space: space.update(members))
    return kind(**{name: getattr(sound, name) for name in (field.name for field in dataclasses.fields(sound))})


def solved(change):
    """A solver whose arguments are changed before a sound one takes them, in `solve` and in `trajectory`."""
    sound = fz.Midpoint(4)

    def solve(self, velocity, x0, t0=0.0, t1=1.0):
        return sound.solve(*change(velocity, x0, t0, t1))

    def trajectory(self, velocity, x0, t0=0.0, t1=1.0):
        return sound.trajectory(*change(velocity, x0, t0, t1))

    return with_members(sound, solve=solve, trajectory=trajectory)


SOLVERS = {
    "time frozen at its start": lambda v, x, s, t: (lambda at, x: v(s, x), x, s, t),
    "time frozen at its end": lambda v, x, s, t: (lambda at, x: v(t, x), x, s, t),
    "time reversed": lambda v, x, s, t: (lambda at, x: v(s + t - at, x), x, s, t),
    "time scaled": lambda v, x, s, t: (lambda at, x: v(s + (at - s) / 2, x), x, s, t),
    "state frozen": lambda v, x0, s, t: (lambda at, x: v(at, x0), x0, s, t),
    "state negated": lambda v, x, s, t: (lambda at, x: v(at, -x), x, s, t),
    "velocity negated": lambda v, x, s, t: (lambda at, x: -v(at, x), x, s, t),
    "velocity ignored": lambda v, x, s, t: (lambda at, x: jnp.zeros_like(x), x, s, t),
    "start ignored": lambda v, x, s, t: (v, jnp.zeros_like(x), s, t),
    "ends exchanged": lambda v, x, s, t: (v, x, t, s),
    "first time ignored": lambda v, x, s, t: (v, x, 0.0 * s, t),
    "last time ignored": lambda v, x, s, t: (v, x, s, 0.0 * t + 1.0),
}


@pytest.mark.parametrize("fault", SOLVERS)
def test_a_solver_uses_each_of_its_arguments(fault):
    with pytest.raises(AssertionError):
        assert_obeys(solved(SOLVERS[fault]))


class PlainSolver:
    """A user's solver of order 2, of no class of floqzoo, whose field is changed on some intervals."""

    evaluations = 8

    def __init__(self, change=lambda v, x, s, t: v):
        self.change = change

    def solve(self, velocity, x0, t0=0.0, t1=1.0):
        return fz.Midpoint(4).solve(self.change(velocity, x0, t0, t1), x0, t0, t1)

    def trajectory(self, velocity, x0, t0=0.0, t1=1.0):
        return fz.Midpoint(4).trajectory(self.change(velocity, x0, t0, t1), x0, t0, t1)


ON_SOME_INTERVALS = {
    "time reversed backward": lambda v, x, s, t: lambda at, y: v(jnp.where(t < s, s + t - at, at), y),
    "time frozen backward": lambda v, x, s, t: lambda at, y: v(jnp.where(t < s, s, at), y),
    "state frozen backward": lambda v, x, s, t: lambda at, y: v(at, jnp.where(t < s, x, y)),
    "time reversed after 0": lambda v, x, s, t: lambda at, y: v(jnp.where(s != 0, s + t - at, at), y),
    "time frozen after 0": lambda v, x, s, t: lambda at, y: v(jnp.where(s != 0, s, at), y),
    "state frozen after 0": lambda v, x, s, t: lambda at, y: v(at, jnp.where(s != 0, x, y)),
}


def test_a_plain_solver_obeys(fewer_examples):
    with fewer_examples(2):
        assert_obeys(PlainSolver())


@pytest.mark.parametrize("fault", ON_SOME_INTERVALS)
def test_a_solver_uses_its_arguments_on_every_interval(fault):
    with pytest.raises(AssertionError):
        assert_obeys(PlainSolver(ON_SOME_INTERVALS[fault]))


class RungeKutta(FixedStepSolver):
    """The classical method of order 4, with its stages and weights as arguments."""

    num_steps: int = eqx.field(static=True)
    shares: tuple = eqx.field(static=True, default=(0.5, 0.5, 1.0))
    times: tuple = eqx.field(static=True, default=(0.5, 0.5, 1.0))
    weights: tuple = eqx.field(static=True, default=(1 / 6, 1 / 3, 1 / 3, 1 / 6))
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 4
    order: ClassVar[int] = 4

    def step(self, velocity, t, dt, x):
        stages = [velocity(t, x)]
        for share, time in zip(self.shares, self.times, strict=True):
            stages.append(velocity(t + time * dt, x + share * dt * stages[-1]))
        return x + dt * sum(weight * stage for weight, stage in zip(self.weights, stages, strict=True))


TABLEAUX = {
    "weights exchanged": {"weights": (1 / 3, 1 / 6, 1 / 6, 1 / 3)},
    "a wrong weight": {"weights": (1 / 6, 1 / 2, 1 / 6, 1 / 6)},
    "a stage at a wrong time": {"times": (0.5, 0.0, 1.0)},
    "the last stage too early": {"times": (0.5, 0.5, 0.5)},
    "a stage from a wrong state": {"shares": (0.5, 1.0, 1.0)},
}


def test_the_classical_method_obeys(fewer_examples):
    with fewer_examples(2):
        assert_obeys(RungeKutta(3))


@pytest.mark.parametrize("fault", TABLEAUX)
def test_a_wrong_tableau_breaks_a_law(fault):
    with pytest.raises(AssertionError):
        assert_obeys(RungeKutta(3, **TABLEAUX[fault]))


class PlainRungeKutta:
    """The classical method as a user's class, which states its order and is no dataclass."""

    order = 4

    def __init__(self, num_steps, stated, **tableau):
        method = RungeKutta(num_steps, **tableau)
        if stated:
            self.num_steps = num_steps
        self.evaluations, self.solve, self.trajectory = method.evaluations, method.solve, method.trajectory


@pytest.mark.parametrize(("num_steps", "stated"), [(1, False), (3, False), (3, True), (8, True)])
def test_the_order_of_a_plain_class_is_measured(num_steps, stated):
    the_error_falls_with_the_order(PlainRungeKutta(num_steps, stated), EXAMPLE)
    for tableau in TABLEAUX.values():
        with pytest.raises(AssertionError, match="not of order 4"):
            the_error_falls_with_the_order(PlainRungeKutta(num_steps, stated, **tableau), EXAMPLE)


def at(change):
    sound = fz.LinearPath()
    return {"at": lambda self, t, x0, x1: sound.at(*change(t, x0, x1))}


def velocity(change):
    sound = fz.LinearPath()
    return {"conditional_velocity": lambda self, t, x, x1: sound.conditional_velocity(*change(t, x, x1))}


PATHS = {
    "time frozen": at(lambda t, x0, x1: (0.0 * t + 0.5, x0, x1)),
    "time reversed": at(lambda t, x0, x1: (1 - t, x0, x1)),
    "velocity and point exchanged": {"at": lambda self, t, x0, x1: PathPoint(x1 - x0, t * x1 + (1 - t) * x0)},
    "conditional velocity: time frozen": velocity(lambda t, x, x1: (0.0 * t + 0.5, x, x1)),
    "conditional velocity: time reversed": velocity(lambda t, x, x1: (1 - t, x, x1)),
    "conditional velocity: negated": velocity(lambda t, x, x1: (t, -x, -x1)),
}


@pytest.mark.parametrize("fault", PATHS)
def test_a_path_uses_each_of_its_arguments(fault):
    with pytest.raises(AssertionError):
        assert_obeys(with_members(fz.LinearPath(), **PATHS[fault]))


PRIORS = {
    "shape reversed": {"sample": lambda self, key, shape: fz.GaussianPrior().sample(key, shape[::-1])},
    "one draw for all": {
        "sample": lambda self, key, shape: jnp.broadcast_to(fz.GaussianPrior().sample(key, ()), shape)
    },
    "first coordinate only": {"log_prob": lambda self, x: fz.GaussianPrior().log_prob(x[:1])},
    "scale of another prior": {"log_prob": lambda self, x: fz.GaussianPrior(0.0, 1.3).log_prob(x)},
    "mean of another prior": {"log_prob": lambda self, x: fz.GaussianPrior(0.3, 1.0).log_prob(x)},
}


@pytest.mark.parametrize("fault", PRIORS)
def test_a_prior_uses_each_of_its_arguments(fault):
    with pytest.raises(AssertionError):
        assert_obeys(with_members(fz.GaussianPrior(), **PRIORS[fault]))


class BehaviourWithSharedDraws(fz.BehaviourFlow):
    """A behaviour flow whose loss draws the time, the noise or both once for all rows, or both with one key."""

    shared: tuple = eqx.field(static=True, default=())

    def policy_loss(self, batch, agent, key):
        rows = batch.action.shape[0]
        times_key, noise_key = (key, key) if "key" in self.shared else jax.random.split(key)
        times = jax.random.uniform(times_key, (1 if "time" in self.shared else rows,))
        noise = self.flow.prior.sample(noise_key, (1 if "noise" in self.shared else rows, batch.action.shape[1]))
        times, noise = jnp.broadcast_to(times, (rows,)), jnp.broadcast_to(noise, batch.action.shape)

        def of_example(t, x0, action, observation):
            return self.flow.matching_loss(t, x0, action, self.flow.encode(observation))

        loss = jnp.mean(jax.vmap(of_example)(times, noise, batch.action, batch.observation))
        return loss, None


class CriticWithOneNextAction(fz.MonolithicCritic):
    """A critic whose loss draws all next actions with one key."""

    def critic_loss(self, batch, agent, key):
        next_action = jax.vmap(agent.act, (0, None))(batch.next_observation, key)
        next_q = jax.vmap(agent.target.critic.score)(batch.next_observation, next_action)
        target = batch.reward + 0.9 * batch.discount * next_q
        return jnp.mean((jax.vmap(self.score)(batch.observation, batch.action) - target) ** 2), None


class MeasureWithOneDraw(FlowSuccessor):
    """A successor measure whose loss draws with one key for all rows."""

    def successor_loss(self, batch, target, agent, key):
        def of_row(row):
            return FlowSuccessor.successor_loss(self, jax.tree.map(lambda leaf: leaf[None], row), target, agent, key)[0]

        return jnp.mean(jax.vmap(of_row)(batch)), None


def exchanged(kind, part, **members):
    """A part of a subclass with the same fields."""
    fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return kind(**{**fields, **members})


def behaviour():
    return policy(key=jax.random.key(1))


SHARED_DRAWS = {
    "one time": (lambda: exchanged(BehaviourWithSharedDraws, behaviour(), shared=("time",)), "policy"),
    "one noise sample": (lambda: exchanged(BehaviourWithSharedDraws, behaviour(), shared=("noise",)), "policy"),
    "one key for time and noise": (lambda: exchanged(BehaviourWithSharedDraws, behaviour(), shared=("key",)), "policy"),
    "one time and one noise sample": (
        lambda: exchanged(BehaviourWithSharedDraws, behaviour(), shared=("time", "noise")),
        "policy",
    ),
    "one key for all next actions": (
        lambda: exchanged(CriticWithOneNextAction, critic(key=jax.random.key(0))),
        "critic",
    ),
    "one key for all futures": (
        lambda: exchanged(MeasureWithOneDraw, measure(TD2Target(), key=jax.random.key(0))),
        "successor",
    ),
}


def test_a_loss_with_draws_of_its_own_for_each_row_obeys(fewer_examples):
    with fewer_examples(2):
        assert_obeys(exchanged(BehaviourWithSharedDraws, behaviour()))


@pytest.mark.parametrize("fault", SHARED_DRAWS)
def test_a_draw_that_rows_share_breaks_a_law(fault, fewer_examples):
    make, loss = SHARED_DRAWS[fault]
    # A user's JAX does not check keys; the law does.
    with (
        jax.debug_key_reuse(False),
        fewer_examples(2),
        pytest.raises(AssertionError, match=f"breaks the law {loss}_loss_draws_for_each_row"),
    ):
        assert_obeys(make())
