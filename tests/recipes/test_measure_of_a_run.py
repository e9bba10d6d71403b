"""The successor measure of a policy that a finished run left."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.policies import FixedPolicy
from floqzoo.runs import RunConfig, StoredRun, find_recipe, trained_policy
from floqzoo.runs.recipe import agent_builder
from floqzoo.runs.run_directory import record_data, record_flags, record_machine
from floqzoo.successor import PolicyNextAction
from floqzoo.tasks import make_dataset
from floqzoo.training import train
from floqzoo.training.normalisation import normalising
from recipes.bc import RECIPE, BCConfig
from recipes.fb import RECIPE as FB, FBConfig
from recipes.qc import RECIPE as QC, QCConfig
from recipes.td2_cfm import RECIPE as TD2, TD2Config, td2_cfm


SHAPE = {"observation_dim": 2, "action_dim": 1}


class Walk:
    """A task without an environment: a hundred states of a walk in the plane."""

    observation_dim, action_dim, reward_range = 2, 1, (-1.0, 0.0)

    def __init__(self):
        random, dtype = np.random.default_rng(0), jax.dtypes.canonicalize_dtype(np.float64)
        self.dataset = make_dataset(
            observations=random.normal(size=(100, 2)).astype(dtype),
            actions=random.uniform(-1, 1, size=(100, 1)).astype(dtype),
            rewards=-np.ones(100, dtype),
            masks=np.ones(100, dtype),
            terminals=np.arange(100) % 20 == 19,
        )

    def make_environment(self):
        raise AssertionError("nothing is evaluated")

    def describe(self):
        return {"env_name": "walk", "fingerprint": self.dataset.fingerprint()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory, task = tmp_path_factory.mktemp("run"), Walk()
    agent = BCConfig(actor_hidden_dims=(8,), flow_steps=2, batch_size=4)
    config = RunConfig(env_name="walk", agent=agent, offline_steps=2, log_interval=1, eval_episodes=0)
    record_flags(directory, "bc", config)
    record_data(directory, task)
    record_machine(directory)
    train(agent_builder(RECIPE, agent, **SHAPE, reward_range=task.reward_range), task, config, directory)
    return directory


def test_it_acts_as_it_did(run, getkey):
    trained = StoredRun(run).agent(find_recipe("bc"), 0).policy
    policy = trained_policy(run, **SHAPE)
    observation, key = jnp.array([0.3, -0.2]), getkey()
    assert isinstance(policy, FixedPolicy)
    assert policy.act(observation, None, key) == trained.act(observation, None, jax.random.clone(key))


@pytest.mark.slow
def test_its_measure_is_learnt_and_it_is_left_alone(run, getkey):
    config = TD2Config(
        widths=(8, 4), embedding=4, hidden_dims=(8,), batch_size=4, count=8, policy_run=str(run), measure_of="trained"
    )
    agent = td2_cfm(**SHAPE, reward_range=(-1.0, 0.0), config=config, key=getkey())
    assert isinstance(agent.critic.measure.next_action, PolicyNextAction)
    batch = Walk().dataset.sample(getkey(), 4)
    after, metrics = eqx.filter_jit(agent.update)(batch, getkey())
    assert jnp.isfinite(metrics.critic.measure.bootstrap_loss)
    assert eqx.tree_equal(after.policy, agent.policy)
    assert not eqx.tree_equal(after.critic, agent.critic)


@pytest.mark.slow
def test_the_measures_of_a_family_are_learnt(tmp_path, getkey):
    """The policies of a run of FB, with its normaliser; the z is that of its task."""
    task, sizes = Walk(), {"width": 8, "embedding": 4, "backward_width": 8, "latent_dim": 3, "batch_size": 4}
    agent = FBConfig(inference_samples=50, **sizes)
    config = RunConfig(
        env_name="walk", agent=agent, offline_steps=2, log_interval=1, eval_episodes=0, normalize_observations=True
    )
    record_flags(tmp_path, "fb", config)
    record_data(tmp_path, task)
    record_machine(tmp_path)
    build = normalising(agent_builder(FB, agent, **SHAPE, reward_range=task.reward_range), config, task)
    train(build, task, config, tmp_path, to_task=lambda agent: FB.to_task(agent, task, config))
    small = {"widths": (8, 4), "embedding": 4, "hidden_dims": (8,), "batch_size": 4, "count": 8}
    config = TD2Config(**small, policy_run=str(tmp_path), measure_of="family")
    learner = td2_cfm(**SHAPE, reward_range=(-1.0, 0.0), config=config, key=getkey())
    stored = StoredRun(tmp_path).agent(find_recipe("fb"), 0)
    measure, state = learner.critic.measure, jnp.array([0.3, -0.2])
    assert float(stored.normaliser.scale.value[0]) != 1
    np.testing.assert_array_equal(measure.latent.value, stored.policy.latent.value)
    np.testing.assert_allclose(learner.act(state, getkey()), stored.act(state, getkey()))
    after, metrics = eqx.filter_jit(learner.update)(task.dataset.sample(getkey(), 4), getkey())
    assert jnp.isfinite(metrics.critic.measure.bootstrap_loss)
    assert eqx.tree_equal(after.critic.measure.family, measure.family)
    assert not eqx.tree_equal(after.critic.measure.measure, measure.measure)


@pytest.mark.slow
def test_a_run_that_measures_the_policy_of_another_can_be_read(run, tmp_path):
    """The form of its agents is derived in a trace, where the other run is read."""
    agent = TD2Config(
        widths=(8, 4), embedding=4, hidden_dims=(8,), batch_size=4, count=8, policy_run=str(run), measure_of="trained"
    )
    config = RunConfig(env_name="walk", agent=agent, seeds=2, offline_steps=2, log_interval=1, eval_episodes=0)
    task = Walk()
    record_flags(tmp_path, "td2_cfm", config)
    record_data(tmp_path, task)
    record_machine(tmp_path)
    train(agent_builder(TD2, agent, **SHAPE, reward_range=task.reward_range), task, config, tmp_path)
    stored = StoredRun(tmp_path).agent(TD2, 1)
    observation = jnp.array([0.3, -0.2])
    expected = trained_policy(run, **SHAPE).act(observation, None, jax.random.key(0))
    assert stored.act(observation, jax.random.key(0)) == expected
    futures = stored.critic.measure.sample_futures(observation, expected, 3, jax.random.key(1))
    assert np.isfinite(futures).all()


@pytest.mark.slow
def test_the_policy_of_a_run_that_is_no_family_is_refused(run, getkey):
    config = TD2Config(policy_run=str(run), measure_of="family")
    with pytest.raises(ValueError, match=r"`policy_run` must be a run of fb .*; the policy is a BehaviourFlow"):
        td2_cfm(**SHAPE, reward_range=(-1.0, 0.0), config=config, key=getkey())


@pytest.mark.parametrize(("size", "value"), [("observation_dim", 3), ("action_dim", 2)])
def test_a_policy_of_another_task_is_refused(run, size, value):
    with pytest.raises(ValueError, match=f"must have `{size}` {value}; it has {SHAPE[size]}"):
        trained_policy(run, **(SHAPE | {size: value}))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not the folder of a run"):
        trained_policy(tmp_path, **SHAPE)


def test_a_run_is_named_when_it_is_asked_for_and_only_then():
    with pytest.raises(ValueError, match="`policy_run` must be the folder of a run"):
        TD2Config(measure_of="trained")
    with pytest.raises(ValueError, match="and empty otherwise; got 'exp'"):
        replace(TD2Config(), policy_run="exp")


@pytest.mark.slow
def test_a_policy_that_acts_in_chunks_is_refused(tmp_path):
    task = Walk()
    sizes = {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2, "num_samples": 2, "batch_size": 4}
    agent = QCConfig(chunk_length=3, **sizes)
    config = RunConfig(env_name="walk", agent=agent, offline_steps=1, log_interval=1, eval_episodes=0)
    record_flags(tmp_path, "qc", config)
    record_data(tmp_path, task)
    record_machine(tmp_path)
    build = agent_builder(QC, agent, **SHAPE, reward_range=task.reward_range)
    train(build, task, config, tmp_path, batch_source=QC.batch_source)
    with pytest.raises(ValueError, match="must draw single actions; it draws chunks of 3"):
        trained_policy(tmp_path, **SHAPE)
