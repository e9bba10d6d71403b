"""Flow critics on a chain whose values are known: what the studies measure of them, on critics that are trained briefly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.flow import Euler
from floqzoo.flow.prior import quantile_noise
from floqzoo.learner import agent_of
from floqzoo.studies import integration_steps, value_paths
from floqzoo.studies.report import read_table, write_rows
from floqzoo.studies.value_training import (
    REWARD,
    PaidChain,
    ValueSettings,
    ends_of,
    probe,
    reward_range,
    train_critics,
)


pytestmark = pytest.mark.slow


BRIEF = ValueSettings(hidden=(16,), updates=500, batch_size=32, num_noise_samples=2, lr=3e-3, tau=0.1)
TASK = PaidChain()


@pytest.fixture(scope="module")
def critics():
    """Two seeds."""
    return train_critics(TASK, 0.1, 2, 2, BRIEF)


def test_the_exact_values_solve_the_bellman_equation():
    r"""$Q(s, a) = \mathbb E[r(s') + \gamma Q(s', K s')]$, by many draws of $s'$."""
    where = probe(TASK, 1)
    keys = jax.random.split(jax.random.key(0), 20_000)
    first = TASK.chain._after(where.observation[0], where.action[0])
    following = jax.vmap(lambda key: TASK.chain._draw(0, first, key))(keys)

    def backup(state):
        action = jnp.asarray(TASK.chain.gain.value) @ state
        return REWARD(state) + TASK.chain.discount.value * TASK.chain.value(state, action, REWARD)

    backups = np.asarray(jax.vmap(backup)(following))
    assert abs(backups.mean() - where.value[0]) < 5 * backups.std() / len(backups) ** 0.5


def test_the_noise_interval_is_floqs(critics):
    low, high = reward_range(TASK)
    critic = agent_of(critics, 0)
    interval = np.array([critic.prior.low.value, critic.prior.high.value])
    np.testing.assert_allclose(interval, 0.1 * np.array([low, high]) / (1 - 0.9), rtol=1e-5)
    noises = quantile_noise(critic.prior, 8)[:, 0]
    assert np.all(np.diff(noises) > 0) and interval[0] < noises[0] and noises[-1] < interval[1]


def test_more_steps_end_nearer_to_the_exact_end(critics):
    where = probe(TASK, 8)
    critic = agent_of(critics, 0)
    exact = ends_of(critic, where, 256)
    errors = [float(jnp.mean(jnp.abs(ends_of(critic, where, steps) - exact))) for steps in (1, 4, 16)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_seeds_differ(critics):
    where = probe(TASK, 8)
    assert not np.array_equal(*(ends_of(agent_of(critics, seed), where, 2) for seed in range(2)))


def test_trained_values_follow_the_exact_ones():
    where = probe(TASK, 32)
    settings = ValueSettings(hidden=(32,), updates=2_000, batch_size=32, num_noise_samples=2, lr=3e-3, tau=0.1)
    values = np.asarray(ends_of(agent_of(train_critics(TASK, 0.1, 2, 1, settings), 0), where, 2).mean(axis=(1, 2)))
    assert np.corrcoef(values, where.value)[0, 1] > 0.7
    assert np.mean(np.abs(values - where.value)) < 0.7 * np.mean(np.abs(where.value - where.value.mean()))


def test_value_paths_leave_a_table_and_a_figure(tmp_path):
    config = value_paths.ValuePathsConfig(
        coverages=(1.0,), steps=2, fine_steps=8, seeds=2, states=4, trajectories=3, training=BRIEF
    )
    rows, first = value_paths.value_paths(config)
    assert [(row.coverage, row.seed) for row in rows] == [(1.0, 0), (1.0, 1)]
    assert first[1.0].solver == Euler(2)
    ways = value_paths.trajectories(first[1.0], probe(PaidChain(), 4), 8, 3)
    assert ways.x.shape == (4, 3, 2, 9, 1)
    columns, lines = value_paths.table_of(rows)
    assert len(lines) == 1 and len(columns) == len(lines[0])
    points = value_paths.points_of(first, probe(PaidChain(), 4), config)
    assert {point.t for point in points} == {0.0, 0.5, 1.0} and len(points) == 9
    ends = [point.z for point in points if point.t == 1.0]
    assert any(np.allclose(ends, ways.x[state, :, 0, -1, 0], atol=1e-4) for state in range(4))
    assert read_table(value_paths.PathPoint, write_rows(points, tmp_path / "paths.csv")) == points
    assert value_paths.draw(points, tmp_path / "paths.png").stat().st_size > 0


def test_integration_steps_leave_a_table_and_a_figure(tmp_path):
    config = integration_steps.IntegrationStepsConfig(
        steps=(1, 2), coverages=(0.1,), fine_steps=2, seeds=2, states=4, training=BRIEF
    )
    rows = integration_steps.integration_steps(config)
    assert [(row.steps, row.seed) for row in rows] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert [row.integration_error for row in rows[2:]] == [0.0, 0.0]  # the fine integration is the same one
    columns, lines = integration_steps.table_of(rows)
    assert columns[:2] == ["κ", "K"] and [line[:2] for line in lines] == [["0.1", "1"], ["0.1", "2"]]
    assert integration_steps.draw(rows, tmp_path / "steps.png").stat().st_size > 0
