"""What the study compares measures with, against closed forms."""

from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.networks import Normaliser
from floqzoo.policies import FunctionPolicy
from floqzoo.studies.horizon_sweep import SweepRow
from floqzoo.studies.measure_evaluation import (
    EvaluationConfig,
    EvaluationSettings,
    rollout_probe,
    standardised,
    table_of,
)
from floqzoo.studies.report import markdown_table, read_table
from floqzoo.studies.rollouts import Rollout
from floqzoo.studies.successor_errors import errors_of, errors_of_truth
from floqzoo.successor import TD2Target, flow_measure
from floqzoo.tasks import make_dataset


DOCS = Path(__file__).parents[2] / "docs"
NORMALISER = Normaliser(np.array([1.0, -2.0, 3.0]), np.array([2.0, 0.5, 4.0]))
SETTINGS = EvaluationSettings(samples=64, compared=64, scored=64)


def measured(rollouts, policy=lambda s: s[:1] / 10):
    states = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    dataset = make_dataset(
        observations=states,
        actions=np.zeros((12, 1), np.float32),
        rewards=np.zeros(12, np.float32),
        masks=np.ones(12, np.float32),
        terminals=np.arange(12) % 6 == 5,
    )
    return states, standardised(FunctionPolicy(policy), dataset, rollouts, NORMALISER, (2, 0))


def test_the_policy_and_the_data_are_those_of_the_task_in_standardised_states(getkey):
    states, found = measured([])
    np.testing.assert_allclose(found.dataset.observations, (states - [1, -2, 3]) / [2, 0.5, 4], rtol=1e-6)
    acts = jax.vmap(lambda z: found.policy.act(z, None, getkey()))(found.dataset.observations)
    np.testing.assert_allclose(acts, states[:, :1] / 10, atol=1e-6)


@pytest.mark.parametrize("horizon", [2, 10])
def test_the_value_of_staying_is_the_reward_over_one_minus_the_discount(horizon):
    """The states are constant, so the return is a geometric sum, and every future is the state."""
    states = np.array([[3.0, 0.0, 5.0], [1.0, -2.0, 3.0], [1.0, -2.0, 7.0]], np.float32)
    plays = [Rollout(state, np.zeros(1, np.float32), np.tile(state, (400, 1)), np.zeros(400)) for state in states]
    _, found = measured(plays)
    probe = rollout_probe(found, horizon, SETTINGS)
    z = (states - [1, -2, 3]) / [2, 0.5, 4]
    rewards = z[:, 2] - z[:, 2] ** 2 - z[:, 0] ** 2
    np.testing.assert_allclose(probe.values, horizon * rewards, rtol=1e-5)
    np.testing.assert_allclose(probe.futures, np.broadcast_to(z[:, None], probe.futures.shape), rtol=1e-6)
    perfect = errors_of_truth(probe)
    assert perfect.emd == pytest.approx(0, abs=1e-6) and perfect.value_mse < 1e-6 and np.isnan(perfect.nll)


class Shift(eqx.Module):
    """$v = c$, whose flow of Gaussian noise is $N(c, I)$."""

    speed: jax.Array

    def encode(self, observation, action):
        return observation

    def velocity(self, t, x, code):
        return self.speed


def test_the_nll_of_a_shifted_gaussian_is_known():
    random = np.random.default_rng(0)
    play = Rollout(*(random.normal(size=shape).astype(np.float32) for shape in ((3,), (1,), (20, 3))), np.zeros(20))
    _, found = measured([play])
    probe = rollout_probe(found, 5, replace(SETTINGS, density_steps=4))
    centre = jnp.array([0.5, -1.0, 2.0])
    measure = flow_measure(TD2Target(), Shift(centre), 3, discount=0.8)
    expected = np.mean((np.asarray(probe.futures[:, :64]) - np.asarray(centre)) ** 2 + np.log(2 * np.pi)) / 2
    assert errors_of(measure, probe, jax.random.key(0)).nll == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("mc-cfm",)}, "`methods` must be among td-cfm, .*, since .*; got mc-cfm"),
        ({"methods": ()}, "`methods` must not be empty"),
        ({"horizons": (5, 5)}, "`horizons` must be different numbers above 1"),
        ({"states": 0}, "`states` must be positive and finite; got 0"),
        ({"samples": 8, "compared": 16}, "`compared` and `scored` must be at most `samples`, 8"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(**settings)


@pytest.mark.parametrize("given", [{}, {"policy_run": Path("a"), "read": Path("b")}])
def test_either_a_run_or_results_are_given(given):
    with pytest.raises(ValueError, match="exactly one of `policy_run` and `from` must be given"):
        EvaluationConfig(**given)


@pytest.mark.parametrize("task", ["cube", "pointmaze"])
def test_the_guide_shows_the_table_of_the_stored_results(task):
    rows = read_table(SweepRow, DOCS / "studies" / f"measures_{task}" / "models.csv")
    assert markdown_table(*table_of(rows)) in (DOCS / "guides" / "successor.md").read_text()
