"""The one line by which a part of one's own is held to the laws, and what it says."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from test_broken_parts import EXAMPLE

import floqzoo as fz
from floqzoo.records import PathPoint
from floqzoo.successor import TD2Target
from floqzoo.testing import Sizes, assert_obeys, laws_of
from floqzoo.testing.families import flow_critic, narrow
from floqzoo.testing.independent_rows import assert_rows_draw_independently


class Quadratic:
    """A path of one's own, which inherits from nothing: slow at first, then fast."""

    def at(self, t, x0, x1):
        return PathPoint(x0 + t**2 * (x1 - x0), 2 * t * (x1 - x0))

    def conditional_velocity(self, t, x, x1):
        return 2 * t * (x1 - x) / (1 - t**2)


class TooFast(Quadratic):
    """The same with a velocity of twice the size, and none to match."""

    def at(self, t, x0, x1):
        return PathPoint(x0 + t**2 * (x1 - x0), 4 * t * (x1 - x0))


def test_a_sound_part_of_ones_own_obeys():
    assert_obeys(Quadratic())


def test_a_broken_law_is_named_with_its_statement_the_part_and_the_simplest_witness():
    with pytest.raises(AssertionError) as failure:
        assert_obeys(TooFast())
    told = str(failure.value)
    assert "TooFast" in told
    assert "breaks the law velocity_is_the_rate_of_change" in told
    assert r"$\dot x_t = \frac{d}{dt} x_t$." in told
    assert re.search(r"counter-example: Example\(t=0\.\d+, s=0\.\d+, x0=\[", told)
    assert "Mismatched elements" in told


def test_numbers_of_a_broken_part_are_shown():
    with pytest.raises(AssertionError, match=r"Hyperparameter\(stored=0\.25"):
        assert_obeys(Inexact(0.25))


class Inexact(fz.OptimalTransportPath):
    """A path that says that it reaches its end, and does not."""

    end_error = 0.0


@pytest.mark.slow
def test_a_target_rule_of_ones_own_is_held_to_the_laws_of_targets():
    assert_obeys(TD2Target())
    with pytest.raises(AssertionError, match=r"HalfWay.* breaks the law targets_point_to_a_certain_future"):
        assert_obeys(HalfWay())


class HalfWay:
    """Stops at half the time that it is asked for."""

    def regression(self, flow, code, step, t, key):
        return TD2Target().regression(flow, code, step, t / 2, key)


@pytest.mark.slow
def test_a_source_of_batches_of_ones_own_is_held_to_the_laws_of_sources():
    assert_obeys(LatestOnly())
    with pytest.raises(AssertionError, match=r"OneTooMany.* breaks the law a_batch_has_the_structure_of_the_data"):
        assert_obeys(OneTooMany())


class LatestOnly:
    """What the environment showed last, and nothing of the dataset."""

    def draw_batch(self, dataset, replay, place, key, batch_size):
        newest = jnp.minimum(replay.size(next_actions=False)[place], 3)
        of_seed = replay.of_seed(place, next_actions=False)
        age = jax.random.randint(key, (batch_size,), 0, newest)
        return of_seed.transition(of_seed.of_age(age))


class OneTooMany(LatestOnly):
    """Does not count."""

    def draw_batch(self, dataset, replay, place, key, batch_size):
        return super().draw_batch(dataset, replay, place, key, batch_size + 1)


@pytest.mark.slow
def test_a_part_may_have_sizes_of_its_own(getkey):
    field = fz.ConditionalField(1, 4, build=narrow, key=getkey())
    assert_obeys(field, Sizes(point=1, condition=(4,)))
    with pytest.raises(AssertionError, match="`condition` must have 4 features"):
        assert_obeys(field)


def test_what_satisfies_no_protocol_is_told_what_it_lacks():
    class Half:
        def at(self, t, x0, x1):
            return None

    with pytest.raises(
        TypeError, match=r"got Half\. The nearest is ProbabilityPath, for which it lacks conditional_vel"
    ):
        assert_obeys(Half())
    with pytest.raises(TypeError, match="a Flow is built from parts"):
        assert_obeys(fz.Flow(fz.ConditionalField(1, 1, build=narrow, key=jax.random.key(0)), 1))


def test_members_of_a_family_keep_more_laws_than_their_protocol_asks():
    names = {law.__name__ for law in laws_of(fz.Euler(2))}
    assert {"evaluations_are_counted", "two_halves_are_the_whole_interval"} <= names
    assert "two_halves_are_the_whole_interval" not in {law.__name__ for law in laws_of(fz.DiffraxSolver())}


def test_a_law_can_be_asked_of_one_example(getkey):
    """A law is a plain function of a part and an example."""
    from floqzoo.testing import Example
    from floqzoo.testing.path_laws import ends_at_its_data

    zero = jnp.zeros(2)
    example = Example(jnp.asarray(0.5), jnp.asarray(0.25), zero, zero + 1, (zero,), zero, zero, zero, 0)
    ends_at_its_data(fz.LinearPath(), example)


def test_the_package_does_not_need_what_its_laws_need():
    code = "import sys, floqzoo; print(sorted({'hypothesis', 'floqzoo.testing'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_flow_critic_is_held_to_the_laws_of_critics_and_of_modules_alone(getkey):
    assert {law.__module__.rpartition(".")[2] for law in laws_of(flow_critic(key=getkey()))} == {
        "critic_laws",
        "hyperparameter_laws",
    }


class DrawnOncePerBatch:
    """The draws of its loss are those of the whole batch, with two keys or with one for both of them."""

    draws_once_per_batch = True

    def __init__(self, keys):
        self.keys = keys

    def loss(self, batch, key):
        first, second = self.keys(key)
        return (jax.random.normal(first) + jax.random.uniform(second)) * jnp.mean(batch.reward)


def test_a_loss_that_draws_once_per_batch_may_not_use_a_key_twice():
    def loss_and_gradient(key, part, batch):
        return part.loss(batch, key), ()

    with jax.debug_key_reuse(False):  # as in a user's JAX
        assert_rows_draw_independently(loss_and_gradient, DrawnOncePerBatch(jax.random.split), EXAMPLE)
        with pytest.raises(jax.errors.KeyReuseError):
            assert_rows_draw_independently(loss_and_gradient, DrawnOncePerBatch(lambda key: (key, key)), EXAMPLE)
