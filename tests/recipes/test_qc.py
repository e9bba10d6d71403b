"""QC is, to rounding, the equations of its paper, from arrays of episodes on; then its traps, each a test of its name."""

import functools
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import plain_networks
import pytest
import transcription_of_qc as transcription
from blueprint import blueprint
from doubles import LinearNetwork, linear_q, transitions
from recorded_draws import Record, RecordedPrior, RecordedTimes
from test_transcription import assert_same, layers, members
from transcription_of_qc import Data, Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from floqzoo.learner import ActionChunks, NStep
from floqzoo.runs import find_recipe
from floqzoo.tasks import make_dataset
from floqzoo.testing import assert_close
from recipes import NAMES, floq, fql, qc
from recipes.qc import QCConfig


pytestmark = pytest.mark.slow


OBSERVATION, ACTION = 3, 2
SMALL = QCConfig(
    lr=0.01,
    tau=0.1,
    discount=0.9,
    value_hidden_dims=(5, 4),
    actor_hidden_dims=(6, 5),
    chunk_length=3,
    num_samples=4,
    flow_steps=3,
)
CASES = {
    "QC": SMALL,
    "QC, h = 2": replace(SMALL, chunk_length=2, layer_norm=False),
    "BFN": replace(SMALL, chunk_length=1),
}


def episodes(seed):
    """Episodes of 1 to 6 transitions, of which some terminate: the dataset, and the arrays of its transitions."""
    draw = np.random.default_rng(seed)
    lengths = [6, 1, 4, 2]
    states = sum(lengths) + len(lengths)
    ends = np.cumsum(np.array(lengths) + 1) - 1
    masks = np.ones(states)
    masks[ends[[0, 1]] - 1] = 0.0
    arrays = {
        "observations": draw.normal(size=(states, OBSERVATION)),
        "actions": draw.uniform(-1, 1, (states, ACTION)),
        "rewards": draw.uniform(-1, 0, states),
        "masks": masks,
    }
    dataset = make_dataset(**arrays, terminals=np.isin(np.arange(states), ends))
    rows = np.flatnonzero(~np.isin(np.arange(states), ends))
    terminal = np.isin(rows + 1, ends).astype(float)
    s, a, r, mask = (array[rows] for array in arrays.values())
    return dataset, Data(s, a, r, mask, terminal, arrays["observations"][rows + 1])


class Records:
    """What one compiled program draws: normal numbers and times."""

    def __init__(self, seed):
        draw = np.random.default_rng(seed)
        self.normal = Record(lambda shape: draw.normal(size=shape))
        self.times = Record(lambda shape: draw.uniform(size=shape))

    def draws(self):
        candidates, noise = self.normal.arrays
        (times,) = self.times.arrays
        return Draws(candidates, noise, times)


def held(policy):
    """The best-of-N policy of an agent, in chunks or not."""
    return policy.policy if isinstance(policy, fz.ChunkedPolicy) else policy


def agent_of(config, records, seed=0):
    """The agent with random parameters, those of the target apart from those of the online networks."""
    made, draw = blueprint(qc.qc, config, OBSERVATION, ACTION), np.random.default_rng(seed)

    def with_parameters(part):
        parameters, rest = partition_trainable(part)
        fill = jax.tree.map(lambda leaf: jnp.asarray(0.7 * draw.normal(size=leaf.shape)), parameters)
        return eqx.combine(fill, rest)

    flow = replace(held(made.policy).behaviour.flow, prior=RecordedPrior(records.normal))
    behaviour = replace(held(made.policy).behaviour, flow=flow, times=RecordedTimes(records.times))
    policy = with_parameters(config.chunked(replace(held(made.policy), behaviour=behaviour)))
    agent = fz.Agent(
        critic=with_parameters(made.critic),
        policy=policy,
        update_rule=made.update_rule,
        target_update=made.target_update,
    )
    return eqx.tree_at(lambda agent: agent.target, agent, with_parameters(agent.target))


def learnt(critic, policy):
    return [members(critic.networks.networks), layers(held(policy).behaviour.flow.field.network)]


def state_of(agent):
    return State(*learnt(agent.critic, agent.policy), members(agent.target.critic.networks.networks))


@pytest.mark.parametrize("name", CASES)
def test_three_updates_are_those_of_the_equations(name, double_precision):
    config, records = CASES[name], Records(1)
    agent = agent_of(config, records)
    dataset, data = episodes(0)
    reader = qc.RECIPE.batch_source(replace(qc.quickstart(None), agent=config), False).reader
    settings = Settings(
        config.chunk_length, config.discount, config.tau, config.lr, config.num_samples, config.flow_steps
    )
    state = state_of(agent)
    moments = [plain_networks.each(np.zeros_like, state.learnt())] * 2
    starts = np.arange(dataset.size)

    @eqx.filter_jit
    def update(agent, key):
        return agent.update(reader.read(dataset, dataset.starts[starts], jax.random.key(0)), key)

    for number in (1, 2, 3):
        agent, metrics = update(agent, jax.random.key(number))
        jax.block_until_ready(jax.tree.leaves(eqx.filter(agent, eqx.is_array)))
        critic, actor, state, moments = transcription.qc_update(
            state, moments, number, data, starts, records.draws(), settings
        )
        for found, wanted in ((metrics.critic, critic), (metrics.actor, actor)):
            assert set(vars(found)) == set(wanted)
            for field, value in wanted.items():
                np.testing.assert_allclose(getattr(found, field), value, rtol=1e-6, err_msg=field)
        adam = agent.optimisers[0]
        assert_same(learnt(*adam.nu)[0], moments[1][0], "second moments of the critic")
        assert_same(learnt(*adam.mu)[0], moments[0][0], "first moments of the critic: its gradients")
        found = state_of(agent)
        assert_same(found.q, state.q, "critic")
        assert_same(found.target, state.target, "target critic")
        assert_same(learnt(*adam.mu)[1], moments[0][1], "first moments of the behaviour flow")
        assert_same(found.behaviour, state.behaviour, "behaviour flow")


def test_the_case_reaches_every_branch(double_precision):
    """Whole and cut chunks, with and without a termination, and starts at every distance from an episode's end."""
    _, data = episodes(0)
    settings = Settings(3, 0.9, 0.1, 0.01, 4, 3)
    *_, masks, _, valid = transcription.sequences(data, np.arange(len(data.r)), settings)
    whole = valid[:, -1] == 1
    assert {(bool(w), float(m)) for w, m in zip(whole, masks, strict=True)} >= {(True, 0.0), (True, 1.0), (False, 1.0)}
    assert set(valid.sum(axis=1)) == {1, 2, 3}


# Which candidate, and which critic values it


class Listed(eqx.Module):
    """A behaviour that draws chunks from a list, by the number of its key."""

    chunks: jax.Array

    def act(self, observation, critic, key):
        return self.chunks[jax.random.randint(key, (), 0, len(self.chunks))]

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


def linear(by_action, bias):
    """An ensemble of two linear functions of a chunk of two coordinates."""
    weight = np.concatenate([np.zeros((2, 3)), np.asarray(by_action)], axis=1)
    return linear_q(weight.astype(np.float32), np.asarray(bias, np.float32))


def test_trap_the_online_critic_chooses_by_its_mean_and_the_target_values_the_choice():
    """The members disagree, so that their mean chooses another chunk than their minimum or than the target."""
    chunks = jnp.array([[1.0, -1.0], [0.6, 0.6], [-1.0, 1.0], [0.1, -0.2]])
    online = linear([[1.0, 0.1], [0.1, 1.0]], [0.0, 0.0])
    target = linear([[-1.0, -2.0], [-2.0, -1.0]], [-5.0, -7.0])
    made = blueprint(qc.qc, replace(SMALL, chunk_length=2, num_samples=64), 3, 1)
    critic, policy = replace(made.critic, networks=online), fz.ChunkedPolicy(fz.BestOfNPolicy(Listed(chunks), 64), 2)
    agent = fz.FrozenAgent(
        critic, policy, fz.ActorCritic(replace(critic, networks=target), None), jnp.zeros((), jnp.int32)
    )
    batch = replace(transitions(), discount=jnp.ones(4), valid=jnp.ones((4, 2)))
    y = critic.targets_of(batch, agent, jax.random.key(0))
    chosen = np.array([0.6, 0.6])
    value = np.mean([np.dot([-1, -2], chosen) - 5, np.dot([-2, -1], chosen) - 7])
    assert_close(y, np.asarray(batch.reward) + 0.9 * value, scale=10.0)
    assert_close(policy.act(batch.observation[0], critic, jax.random.key(1)), chosen)


# One discount


@pytest.mark.parametrize("recipe", [floq, fql, qc], ids=lambda recipe: recipe.RECIPE.name)
@pytest.mark.parametrize("length", [1, 4])
def test_trap_there_is_one_discount_for_the_sum_of_rewards_and_for_the_bootstrap(recipe, length):
    """The official code has two flags, one for each."""
    run = recipe.RECIPE.presets["quickstart"](None)
    agent = replace(run.agent, discount=0.875, chunk_length=length)
    for online in (False, True):
        reader = recipe.RECIPE.batch_source(replace(run, agent=agent), online).reader
        assert isinstance(reader, ActionChunks if length > 1 else NStep)
        assert reader.discount.stored == 0.875
    built = blueprint(recipe.RECIPE.build, agent, OBSERVATION, ACTION)
    assert built.critic.discount.stored == 0.875


@pytest.mark.parametrize("length", [1, 2, 3])
def test_trap_the_bootstrap_is_discounted_by_gamma_to_the_h(length):
    """A target whose value is 1 everywhere, on an episode of nine steps without rewards; the last one terminates."""
    rows = np.arange(10.0, dtype=np.float32)
    dataset = make_dataset(
        observations=np.zeros((10, 3), np.float32),
        actions=np.zeros((10, 1), np.float32),
        rewards=0 * rows,
        masks=(rows != 8).astype(np.float32),
        terminals=rows == 9,
    )
    config = replace(SMALL, chunk_length=length, discount=0.5)
    reader = qc.RECIPE.batch_source(replace(qc.quickstart(None), agent=config), False).reader
    batch = reader.read(dataset, dataset.starts, jax.random.key(0))
    made = blueprint(qc.qc, config, 3, 1)
    ones = fz.QEnsemble(3, length, build=LinearNetwork, key=jax.random.key(0))
    stem = ones.networks.members.stem
    ones = eqx.tree_at(
        lambda q: (q.networks.members.stem.weight, q.networks.members.stem.bias),
        ones,
        (0 * stem.weight, jnp.ones_like(stem.bias)),
    )
    critic = replace(made.critic, networks=ones)
    agent = fz.FrozenAgent(
        critic, Listed(jnp.zeros((1, length))), fz.ActorCritic(critic, None), jnp.zeros((), jnp.int32)
    )
    y = critic.targets_of(batch, agent, jax.random.key(0))
    assert_close(y[: 9 - length], np.full(9 - length, 0.5**length))
    assert_close(y[9 - length :], np.zeros(length))


# Which loss trains which network


@functools.cache
def gradients_of(name, valid):
    agent = agent_of(SMALL, Records(2))
    batch = transitions(3, 4, OBSERVATION, 3 * ACTION)
    batch = replace(batch, valid=jnp.full((4, 3), float(valid)))
    trainable, rest = partition_trainable(agent.parts)

    def loss(trainable):
        parts = eqx.combine(trainable, rest)
        part = parts.critic if name == "critic" else parts.policy
        method = part.critic_loss if name == "critic" else part.policy_loss
        return method(batch, agent.frozen, jax.random.key(0))[0]

    found = jax.jit(jax.grad(loss))(trainable)
    return {
        part: any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(getattr(found, part)))
        for part in ("critic", "policy")
    }


@pytest.mark.parametrize("name", ["critic", "policy"])
def test_each_loss_trains_its_own_part_and_padding_none(name, double_precision):
    assert gradients_of(name, True) == {"critic": name == "critic", "policy": name == "policy"}
    assert gradients_of(name, False) == {"critic": False, "policy": False}


# Settings


@pytest.mark.parametrize("recipe", [floq, fql, qc], ids=lambda recipe: recipe.RECIPE.name)
@pytest.mark.parametrize(("length", "horizon"), [(1, None), (4, None), (4, 2)])
def test_every_network_and_the_policy_have_the_size_of_a_chunk(recipe, length, horizon):
    settings = recipe.RECIPE.presets["quickstart"](None).agent
    settings = replace(settings, chunk_length=length, execution_horizon=horizon)
    agent = blueprint(recipe.RECIPE.build, settings, OBSERVATION, ACTION)
    assert isinstance(agent.policy, fz.ChunkedPolicy) == (length > 1)
    if length > 1:
        assert (agent.policy.chunk_length, agent.policy.execution_horizon) == (length, horizon or length)
    policy = held(agent.policy)
    assert policy.behaviour.flow.dim == length * ACTION
    q = agent.critic.distilled if isinstance(agent.critic, fz.FlowCritic) else agent.critic.networks
    assert q.networks.members.stem.weight.shape[-2] == OBSERVATION + length * ACTION


def default_settings(name):
    return find_recipe(name).presets["default"](None).agent


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(default_settings(name), "chunk_length")])
def test_every_recipe_with_the_setting_learns_from_chunks_and_acts_in_them(name):
    """Only shapes are computed."""
    config, batch = replace(default_settings(name), chunk_length=3), transitions(3, 4, OBSERVATION, 3 * ACTION)
    sizes = {"observation_dim": OBSERVATION, "action_dim": ACTION, "reward_range": (-1.0, 0.0)}

    def action(keys):
        agent = find_recipe(name).build(**sizes, config=config, key=keys[0])
        agent, _ = agent.update(replace(batch, valid=jnp.ones((4, 3))), keys[1])
        return agent.act(batch.observation[0], keys[2])

    assert jax.eval_shape(action, jax.random.split(jax.random.key(0), 3)).shape == (3 * ACTION,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunk_length": 0}, "`chunk_length` must be at least 1; got 0"),
        (
            {"chunk_length": 1, "execution_horizon": 2},
            r"`execution_horizon` must lie in \[1, 1\], .*chunk_length.*; got 2",
        ),
        ({"chunk_length": 5, "execution_horizon": 0}, r"`execution_horizon` must lie in \[1, 5\], .*; got 0"),
        ({"chunk_length": 5, "n_step": 2}, "`n_step` must be 1 with `chunk_length` 5, since .*; got 2"),
        ({"chunk_length": 5, "n_step": 0}, "`n_step` must be at least 1; got 0"),
    ],
)
@pytest.mark.parametrize("config", [floq.FloqConfig, fql.FQLConfig, QCConfig])
def test_settings_that_make_no_sense_together_are_refused(config, changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)
    assert config(chunk_length=1, n_step=3).n_step == 3
