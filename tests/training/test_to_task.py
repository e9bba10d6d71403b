"""An agent is made ready for the task of its run before it is evaluated, stored and returned, and trains as if it were not."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from toy_run import toy_config, toy_task

from floqzoo.hyperparameter import partition_trainable
from floqzoo.learner import update_keys
from floqzoo.runs import RunState, find_recipe, read_metrics, restore_checkpoint
from floqzoo.runs.recipe import agent_builder
from floqzoo.training import train


pytestmark = pytest.mark.slow

RECIPE = find_recipe("fb")
SETTINGS = replace(
    RECIPE.presets["quickstart"](None).agent,
    batch_size=8,
    latent_dim=3,
    width=8,
    embedding=4,
    backward_width=4,
    inference_samples=50,
    reward_shift=2.0,
)
build = agent_builder(RECIPE, SETTINGS, observation_dim=2, action_dim=1, reward_range=(-1.0, 0.0))
TASK = toy_task()


def trained(directory, *, to_task=True, resumed=False, **changes):
    config = toy_config(agent=SETTINGS, seed=3, seeds=2, **changes)
    told = (lambda agent: RECIPE.to_task(agent, TASK, config)) if to_task else None
    return train(build, TASK, config, directory, to_task=told, resumed=resumed)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    return trained(directory), directory


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(leaves(one), leaves(other), strict=True))


def test_each_seed_has_the_task_that_its_own_representation_infers(whole):
    result, _ = whole
    agents = [result.agent(seed) for seed in (3, 4)]
    for agent in agents:
        wanted = RECIPE.to_task(agent, TASK, toy_config(agent=SETTINGS))
        assert np.linalg.norm(agent.policy.latent.value) == pytest.approx(np.sqrt(3), rel=1e-5)
        np.testing.assert_allclose(agent.policy.latent.value, wanted.policy.latent.value, rtol=1e-4, atol=1e-5)
    assert not np.allclose(*(agent.policy.latent.value for agent in agents))


def test_a_checkpoint_has_the_task(whole):
    """That of its own step: B moves."""
    result, directory = whole
    like = restored(directory, result, None)
    assert same(like.policy.latent, result.agents.policy.latent)
    assert same(like.critic.reward_vector, result.agents.critic.reward_vector)
    assert not same(restored(directory, result, 10).policy.latent, result.agents.policy.latent)


def restored(directory, result, step):
    """The agents of a checkpoint."""
    like = RunState(result.agents, update_keys((3, 4)))
    return restore_checkpoint(directory / "checkpoints", like, step).tree.agents


def test_training_is_the_same_without_a_task(whole, tmp_path):
    """But the policy that acts is not."""
    result, directory = whole
    without = trained(tmp_path / "without", to_task=False)
    assert same(*(partition_trainable(each.agents)[0] for each in (result, without)))
    assert not np.any(without.agents.policy.latent.value)
    tables = [read_metrics(each / "eval.csv") for each in (directory, tmp_path / "without")]
    assert any(
        not np.array_equal(tables[0][name], tables[1][name]) for name in tables[0] if name.startswith("evaluation/")
    )


def test_a_resumed_run_is_the_same(whole, tmp_path):
    """The task of a checkpoint does not reach the training that goes on from it."""
    result, directory = whole
    trained(tmp_path / "half", offline_steps=10)
    resumed = trained(tmp_path / "half", resumed=True)
    assert same(resumed.agents, result.agents)
    ours, theirs = (read_metrics(each / "train.csv") for each in (tmp_path / "half", directory))
    for name in theirs:
        if not name.startswith("time/"):
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
