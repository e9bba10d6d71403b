"""The ring against its power series, and its samples against its masses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.tasks import Ring


ACTION = jnp.array([0.2])


@pytest.mark.slow
def test_occupancy_is_the_geometric_sum_of_powers():
    ring = Ring(cells=7, drift=0.6, discount=0.8)
    state = ring.centres[3]
    first = np.asarray(ring.transition_matrix(ACTION), np.float64)[3]
    policy = np.asarray(ring.transition_matrix(jnp.array([0.6])), np.float64)
    np.testing.assert_allclose(policy.sum(axis=1), 1, rtol=1e-6)
    expected = sum(0.2 * 0.8**k * first @ np.linalg.matrix_power(policy, k) for k in range(150))
    np.testing.assert_allclose(ring.occupancy(state, ACTION), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_sampled_masses_are_the_occupancy(discount, getkey):
    """Six standard errors of a share."""
    ring, count = Ring(discount=discount), 20_000
    state = ring.starts(getkey(), 1)[0]
    masses = ring.masses(ring.sample_futures(state, ACTION, count, getkey()))
    exact = np.asarray(ring.occupancy(state, ACTION))
    assert np.all(np.abs(masses - exact) <= 6 * np.sqrt(exact * (1 - exact) / count) + 1e-6)
    np.testing.assert_allclose(exact.sum(), 1, rtol=1e-5)


def test_the_density_integrates_to_one():
    ring = Ring(cells=6)
    side = np.linspace(-1.6, 1.6, 401)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2), dtype=float)
    density = jnp.exp(jax.jit(jax.vmap(lambda x: ring.log_prob(x, ring.centres[0], ACTION)))(grid))
    np.testing.assert_allclose(float(density.sum()) * (side[1] - side[0]) ** 2, 1, atol=0.02)


def test_a_batch_moves_one_cell_by_its_action(getkey):
    ring, count = Ring(discount=0.9), 20_000
    batch = eqx.filter_jit(ring.sample)(getkey(), count)
    cells = [np.asarray(jax.vmap(ring.cell_of)(x)) for x in (batch.observation, batch.next_observation)]
    step = (cells[1] - cells[0]) % ring.cells
    assert set(step) == {1, ring.cells - 1}
    onward = (step == 1) - (1 + np.asarray(batch.action[:, 0])) / 2
    assert abs(onward.mean()) < 6 * onward.std() / count**0.5
    assert abs((onward * np.asarray(batch.action[:, 0])).mean()) < 6 * onward.std() / count**0.5
    np.testing.assert_array_equal(batch.next_action, jnp.full((count, 1), 0.6))


def test_the_value_is_that_of_the_occupancy(getkey):
    ring, pay = Ring(discount=0.9), jnp.arange(12.0)
    value = ring.value(ring.centres[2], ACTION, pay)
    futures = ring.sample_futures(ring.centres[2], ACTION, 20_000, getkey())
    returns = np.asarray(pay[jax.vmap(ring.cell_of)(futures)]) / 0.1
    assert abs(returns.mean() - value) < 6 * returns.std() / 20_000**0.5


@pytest.mark.parametrize(
    ("argument", "value"), [("cells", 2), ("drift", 1.5), ("discount", 1.0), ("radius", 1.0), ("radius", 0.0)]
)
def test_bad_numbers_are_refused_by_name(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        Ring(**{argument: value})
