"""Numbers that are not learnt: how they are wrapped, kept from optimisers, and checked."""

from contextlib import nullcontext

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, strategies as st

import floqzoo as fz
from floqzoo.hyperparameter import frozen, hyperparameter, partition_trainable, require, require_ordered


class Part(eqx.Module):
    """A part with everything that a part may hold."""

    weight: jax.Array
    alpha: fz.Hyperparameter = eqx.field(converter=hyperparameter)
    count: jax.Array
    inner: tuple
    name: str = eqx.field(static=True)


def part(alpha=2.0):
    return Part(
        jnp.array([1.0, -2.0]), alpha, jnp.array([3, 4]), (jnp.array(5.0), fz.GaussianPrior(0.5, 2.0), None), "part"
    )


@pytest.mark.parametrize(
    "value", [3, 3.0, np.float64(3), np.asarray(3.0), jnp.asarray(3.0), fz.Hyperparameter(jnp.asarray(3.0))]
)
def test_any_number_becomes_the_same_hyperparameter(value):
    wrapped = hyperparameter(value)
    assert isinstance(wrapped, fz.Hyperparameter)
    assert wrapped.value.shape == ()
    assert wrapped.value.dtype == jnp.asarray(3.0).dtype
    assert wrapped.value == 3
    assert hyperparameter(wrapped) is wrapped


@pytest.mark.parametrize("value", ["3", None, [3.0]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="value"):
        hyperparameter(value)


def test_trainable_are_the_floating_arrays_that_no_hyperparameter_holds():
    trainable, rest = partition_trainable(part())
    assert [leaf.tolist() for leaf in jax.tree.leaves(trainable)] == [[1.0, -2.0], 5.0]
    assert [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(rest)] == [2.0, [3, 4], 0.5, 2.0]


class Counting(eqx.Module):
    """A part with state of every dtype."""

    weight: jax.Array
    mean: fz.State
    count: fz.State
    alpha: fz.Hyperparameter


def counting():
    return Counting(jnp.ones(2), fz.State(jnp.full(2, 3.0)), fz.State(jnp.array(4)), fz.Hyperparameter(jnp.array(2.0)))


def test_state_is_an_array_of_any_dtype_among_the_leaves_and_is_not_trainable():
    part = counting()
    assert [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(part)] == [[1, 1], [3, 3], 4, 2]
    trainable, rest = partition_trainable(part)
    assert [leaf.tolist() for leaf in jax.tree.leaves(trainable)] == [[1, 1]]
    assert [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(rest)] == [[3, 3], 4, 2]
    assert part.count.value.dtype == jnp.int32


def test_neither_state_nor_hyperparameters_have_a_gradient_in_any_partition():
    numbers, rest = eqx.partition(counting(), eqx.is_inexact_array)

    def total(numbers):
        part = eqx.combine(numbers, rest)
        return jnp.sum(part.weight * part.mean.value) * part.alpha.value

    gradient = jax.grad(total)(numbers)
    assert gradient.weight.tolist() == [6, 6]
    assert gradient.mean.stored.tolist() == [0, 0]
    assert gradient.alpha.stored == 0


def test_the_two_halves_make_the_whole():
    assert eqx.tree_equal(eqx.combine(*partition_trainable(part())), part())


def test_a_frozen_part_is_the_same_but_for_its_gradient():
    def total(part):
        return jnp.sum(part.weight) * part.inner[0] * part.alpha.value

    assert eqx.tree_equal(frozen(part()), part())
    trainable, rest = partition_trainable(part())
    gradient = jax.grad(lambda trainable: total(frozen(eqx.combine(trainable, rest))))(trainable)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient))
    gradient = jax.grad(lambda trainable: total(eqx.combine(trainable, rest)))(trainable)
    assert all(np.all(leaf != 0) for leaf in jax.tree.leaves(gradient))


def test_a_hyperparameter_changes_without_a_new_trace():
    traces = []

    @eqx.filter_jit
    def double(part):
        traces.append(part)
        return 2 * part.alpha.value

    assert [double(part(alpha)) for alpha in (1.0, 2.0, 3.0)] == [2, 4, 6]
    assert len(traces) == 1


@given(st.lists(st.integers(-64, 64).map(lambda n: n / 16), min_size=1, max_size=4))
def test_a_sweep_is_mapped_over_as_a_leading_axis(values):
    priors = fz.GaussianPrior(mean=jnp.asarray(values), scale=jnp.ones(len(values)))
    densities = jax.vmap(lambda prior: prior.log_prob(jnp.zeros(1)))(priors)
    np.testing.assert_array_equal(densities, [fz.GaussianPrior(value, 1.0).log_prob(jnp.zeros(1)) for value in values])


def test_a_requirement_names_argument_need_and_value():
    with pytest.raises(ValueError, match=r"`speed` must be above 0; got -1.5\."):
        require("speed", hyperparameter(-1.5), lambda value: value > 0, "above 0")
    require("speed", hyperparameter(1.5), lambda value: value > 0, "above 0")


def test_a_requirement_holds_for_every_member_of_a_sweep():
    with pytest.raises(ValueError, match="`tau`"):
        require("tau", hyperparameter(np.array([0.5, 2.0])), lambda value: value <= 1, "at most 1")


def test_within_a_trace_a_value_is_not_known_and_not_checked():
    def build(discount):
        return fz.MonolithicCritic(
            fz.QEnsemble(1, 1, build=tiny, key=jax.random.key(0)), discount=discount
        ).discount.value

    assert jax.jit(build)(0.5) == 0.5


@pytest.mark.parametrize(
    ("low", "high", "error"),
    [
        (1.0, 1.0, "`low` must be below `high`, which is 1.0; got 1.0"),
        (2.0, 1.0, "`low` must be below `high`, which is 1.0; got 2.0"),
        (float("nan"), 1.0, "`low` must be finite; got nan"),
        (0.0, float("inf"), "`high` must be finite; got inf"),
        (-3e38, 3e38, r"`low` must be so close to `high`, .* that their difference is finite; got -3e\+38"),
    ],
)
def test_an_interval_must_have_a_width(low, high, error):
    with pytest.raises(ValueError, match=error):
        require_ordered(hyperparameter(low), hyperparameter(high))


@given(low=st.floats(width=32), high=st.floats(width=32))
@example(low=-1e30, high=1e30)
def test_an_interval_is_two_numbers_in_order_with_a_finite_difference(low, high):
    low, high = np.float32(low), np.float32(high)
    with np.errstate(over="ignore", invalid="ignore"):
        is_one = low < high and np.isfinite(high - low)
    with nullcontext() if is_one else pytest.raises(ValueError, match=r"^`(low|high)` must be"):
        require_ordered(hyperparameter(low), hyperparameter(high))


def tiny(*sizes, key):
    return fz.MLP(*sizes, hidden=(2,), key=key)
