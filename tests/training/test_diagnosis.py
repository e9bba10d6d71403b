"""Flow critics are looked at with every evaluation, on transitions that stay the same."""

from functools import partial

import jax
import numpy as np
import pytest
from toy_run import ToyTask, toy_agent, toy_config, toy_task

import floqzoo as fz
from floqzoo.critics.flow_diagnostics import flow_diagnostics
from floqzoo.learner import ActionChunks, UniformBatches
from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.runs import read_metrics
from floqzoo.training import train
from floqzoo.training.run_evaluations import TRANSITIONS, diagnosis


pytestmark = pytest.mark.slow


def flow_critic(key, build=partial(fz.MLP, hidden=(8,)), action=1):
    field_key, readout_key = jax.random.split(key)
    field = partial(fz.ConditionalField, 1, 2 + action, build=build)
    return fz.FlowCritic(
        fz.Ensemble.build(lambda key: field(key=key), 2, key=field_key),
        fz.QEnsemble(2, action, build=partial(fz.MLP, hidden=(4,)), key=readout_key),
        fz.UniformPrior(-1.0, 0.0),
        solver=fz.Euler(2),
    )


def build(key):
    critic_key, policy_key = jax.random.split(key)
    network = partial(fz.MLP, hidden=(8,))
    policy = fz.BehaviourFlow.build(2, 1, network=network, flow_steps=2, key=policy_key)
    return fz.Agent(critic=flow_critic(critic_key), policy=policy)


def test_every_evaluation_of_a_run_has_the_diagnostics_of_its_critic(tmp_path):
    config = toy_config(offline_steps=4, eval_interval=2, log_interval=2, eval_episodes=1, seeds=2)
    result = train(build, toy_task(), config, tmp_path)
    table = read_metrics(tmp_path / "eval.csv")
    for seed in (0, 1):
        expected = diagnosis(result.agent(seed).parts, toy_task().dataset, seed)
        last = (table["step"] == 4) & (table["seed"] == seed)
        for name, value in expected.items():
            np.testing.assert_allclose(table[name][last], [value], rtol=1e-5)
    assert np.isfinite(table["diagnostics/effective_rank"]).all()


@pytest.mark.parametrize("environment", [False, True])
def test_without_evaluations_every_row_of_training_has_them(tmp_path, environment):
    task = toy_task() if environment else ToyTask(toy_task().dataset, make_environment=None)
    config = toy_config(offline_steps=4, log_interval=2, eval_episodes=0, seeds=2)
    result = train(build, task, config, tmp_path)
    table = read_metrics(tmp_path / "train.csv")
    assert np.isfinite(table["diagnostics/effective_rank"]).all()
    for seed in (0, 1):
        last = (table["step"] == 4) & (table["seed"] == seed)
        for name, value in diagnosis(result.agent(seed).parts, task.dataset, seed).items():
            np.testing.assert_allclose(table[name][last], [value], rtol=1e-5)


def test_they_are_those_of_a_batch_that_is_the_seeds_own(getkey):
    critic, data = flow_critic(getkey()), toy_task().dataset
    batch_key, noise_key = jax.random.split(seed_key(3, SeedUse.DIAGNOSIS))
    expected = flow_diagnostics(critic, data.sample(batch_key, TRANSITIONS), noise_key)
    found = diagnosis(fz.ActorCritic(critic, None), data, 3)
    assert found == diagnosis(fz.ActorCritic(critic, None), data, 3)
    assert found["diagnostics/q"] == pytest.approx(float(expected.q), rel=1e-5)
    assert found["diagnostics/path_curvature"] == pytest.approx(float(expected.path_curvature), rel=1e-4)
    assert found["diagnostics/q"] != diagnosis(fz.ActorCritic(critic, None), data, 4)["diagnostics/q"]


def test_a_critic_of_chunks_is_looked_at_on_chunks(tmp_path):
    batches = UniformBatches(ActionChunks(3, 0.9))

    def build(key):
        critic_key, policy_key = jax.random.split(key)
        network = partial(fz.MLP, hidden=(8,))
        policy = fz.BehaviourFlow.build(2, 3, network=network, flow_steps=2, key=policy_key)
        return fz.Agent(critic=flow_critic(critic_key, action=3), policy=fz.ChunkedPolicy(policy, 3))

    config = toy_config(offline_steps=2, eval_interval=2, log_interval=2, eval_episodes=1)
    result = train(build, toy_task(), config, tmp_path, batch_source=lambda config, online: batches)
    critic, data = result.agent(0).critic, toy_task().dataset
    batch_key, noise_key = jax.random.split(seed_key(0, SeedUse.DIAGNOSIS))
    at = data.starts[jax.random.randint(batch_key, (TRANSITIONS,), 0, data.size)]
    expected = flow_diagnostics(critic, ActionChunks(3, 0.9).read(data, at, jax.random.key(0)), noise_key)
    found = read_metrics(tmp_path / "eval.csv")
    np.testing.assert_allclose(found["diagnostics/q"], float(expected.q), rtol=1e-5)


def test_other_critics_have_none():
    assert diagnosis(toy_agent().parts, toy_task().dataset, 0) == {}
