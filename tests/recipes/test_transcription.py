"""floq and FQL are, to rounding, the equations of their papers: three updates of each beside those in NumPy.

The same parameters, the same batches and the same draws go into both. All random numbers are made by NumPy and handed
to the agent through its sockets, a prior and a law of times that remember what they gave. Compared are the losses,
the parameters, the target, and both moments of Adam: the first moment after one update is a tenth of the gradient
itself, which Adam's first step, nearly the sign of it, would hide. The gradients of the transcription are written out
by hand, and checked against finite differences here.
"""

import itertools
import operator
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import plain_networks
import pytest
import transcription
from doubles import leaves_by_path, transitions
from recorded_draws import RecordedPrior, RecordedTimes, recorder
from transcription import Batch, Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql


BATCH, OBSERVATION, ACTION, COPIES = 5, 3, 2, 3
REWARD_RANGE = (-1.0, 0.0)
FLOQ = FloqConfig(
    lr=0.01,
    tau=0.1,
    alpha=3.0,
    noise_samples=COPIES,
    critic_flow_steps=4,
    flow_steps=3,
    block_width=6,
    block_depth=2,
    value_hidden_dims=(5, 4),
    actor_hidden_dims=(6, 5),
)
FQL = FQLConfig(lr=0.01, tau=0.1, alpha=3.0, flow_steps=3, value_hidden_dims=(5, 4), actor_hidden_dims=(6, 5))
CASES = {
    "floq": FLOQ,
    "floq, min, normalised": replace(FLOQ, q_agg="min", use_prob_embed=False, normalize_q_loss=True),
    "FQL": FQL,
    "FQL, min, normalised": replace(FQL, q_agg="min", normalize_q_loss=True, actor_layer_norm=True),
    "chunked floq": replace(FLOQ, chunk_length=3),
    "QC-FQL": replace(FQL, chunk_length=2),
}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name not in ("floq", "FQL")), id=name) for name in CASES]
)
def case(request, double_precision):
    return CASES[request.param]


def settings_of(config):
    shared = Settings(config.discount, config.alpha, config.tau, config.lr, config.q_agg, config.normalize_q_loss)
    if isinstance(config, FQLConfig):
        return replace(shared, actor_steps=config.flow_steps)
    low, high = (reward / (1 - config.discount) for reward in (REWARD_RANGE[0] - 0.01, REWARD_RANGE[1] + 0.01))
    return replace(
        shared,
        critic_steps=config.critic_flow_steps,
        actor_steps=config.flow_steps,
        bounds=(low, high),
        histogram=config.use_prob_embed,
    )


# The agent, with parameters that nothing is trivial for, and with recorded draws


@eqx.filter_jit
def random_agent(config, key):
    """The agent of a recipe, with a target of its own."""
    build = floq if isinstance(config, FloqConfig) else fql
    keys = jax.random.split(key, 3)
    agent = build(observation_dim=OBSERVATION, action_dim=ACTION, reward_range=REWARD_RANGE, config=config, key=keys[0])
    critic, policy = shaken((agent.critic, agent.policy), keys[1])
    return fz.Agent(
        critic=critic, policy=policy, update_rule=agent.update_rule, target_update=agent.target_update
    ), shaken(critic, keys[2])


def agent_and_records(config):
    agent, target = random_agent(config, jax.random.key(0, impl="unsafe_rbg"))
    records = values, actions, times = recorder(0)
    prior, law = RecordedPrior(actions), RecordedTimes(times)
    behaviour = held(agent.policy).behaviour
    behaviour = replace(behaviour, flow=replace(behaviour.flow, prior=prior), times=law)
    critic = agent.critic
    if isinstance(critic, fz.FlowCritic):
        critic, target = (replace(part, prior=RecordedPrior(values), times=law) for part in (critic, target))
    policy = config.chunked(replace(held(agent.policy), behaviour=behaviour))
    agent = fz.Agent(critic=critic, policy=policy, update_rule=agent.update_rule, target_update=agent.target_update)
    return eqx.tree_at(lambda agent: agent.target.critic, agent, target), records


def shaken(tree, key):
    """The tree with noise on every parameter, so that no bias is 0 and no scale is 1."""
    parameters, rest = partition_trainable(tree)
    leaves, structure = jax.tree.flatten(parameters)
    keys = jax.random.split(key, len(leaves))
    leaves = [leaf + 0.3 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


# The agent's arrays, as the transcription wants them


def held(policy):
    """The distilled policy of an agent, in chunks or not."""
    return policy.policy if isinstance(policy, fz.ChunkedPolicy) else policy


def layers(mlp):
    found = []
    for number, dense in enumerate((mlp.stem, *mlp.layers)):
        layer = {"weight": np.asarray(dense.weight), "bias": np.asarray(dense.bias)}
        if number < len(mlp.activated) and mlp.activated[number].norm is not None:
            norm = mlp.activated[number].norm
            layer |= {"scale": np.asarray(norm.scale), "shift": np.asarray(norm.shift)}
        found.append(layer)
    return found


def members(ensemble):
    """The networks of an ensemble of networks, or of fields made of a network each."""
    stacked = ensemble.members.network if isinstance(ensemble.members, fz.ConditionalField) else ensemble.members
    return [layers(jax.tree.map(operator.itemgetter(e), stacked)) for e in range(ensemble.size)]


def networks(critic, policy, target=None):
    """The state that a transcription starts from; also of gradients and moments, which have the same form."""
    readout = critic.distilled if isinstance(critic, fz.FlowCritic) else critic.networks
    fields = members(critic.fields) if isinstance(critic, fz.FlowCritic) else []
    policy = held(policy)
    behaviour, one_step = layers(policy.behaviour.flow.field.network), layers(policy.network)
    averaged = [] if target is None else members(target.fields if fields else target.networks.networks)
    return State(members(readout.networks), behaviour, one_step, averaged, fields)


def batch_of(number, length):
    """Transitions; or chunks of `length` steps, of which some are cut at each step."""
    data = transitions(number, BATCH, OBSERVATION, length * ACTION)
    if length == 1:
        return data
    steps = (np.arange(BATCH) + number) % length
    valid = (np.arange(length)[None] <= steps[:, None]).astype(float)
    return replace(data, discount=0.8 * data.discount, valid=jnp.asarray(valid))


def draws(records):
    values, actions, times = (record.arrays for record in records)
    next_action_noise, flow_noise, step_noise = actions
    if not values:
        return Draws(next_action_noise, flow_noise, times[0], step_noise)
    return Draws(next_action_noise, flow_noise, times[1], step_noise, values[0][..., 0], values[1][..., 0], times[0])


def assert_same(actual, expected, what):
    """Every array is the expected one to a millionth of its own largest entry."""

    def same(found, wanted):
        np.testing.assert_allclose(
            found, wanted, rtol=1e-6, atol=1e-6 * np.max(np.abs(wanted), initial=1e-12), err_msg=what
        )

    plain_networks.each(same, actual, expected)


def assert_metrics(found, wanted):
    """The metrics of a part are those expected and no others; None where one is absent, a table for a part inside."""
    assert set(vars(found)) == set(wanted)
    for name, value in wanted.items():
        one = getattr(found, name)
        if isinstance(value, dict):
            assert_metrics(one, value)
        elif value is None:
            assert one is None, name
        else:
            np.testing.assert_allclose(one, value, rtol=1e-6, atol=1e-9, err_msg=name)


def test_three_updates_are_those_of_the_equations(case):
    agent, records = agent_and_records(case)
    settings, is_floq = settings_of(case), isinstance(case, FloqConfig)
    losses_of = transcription.floq_losses if is_floq else transcription.fql_losses
    state = networks(agent.critic, agent.policy, agent.target.critic)
    moments = [plain_networks.each(np.zeros_like, state.learnt())] * 2
    update = eqx.filter_jit(lambda agent, batch, key: agent.update(batch, key))

    for number in range(3):
        data = batch_of(number, case.chunk_length)
        agent, metrics = update(agent, data, jax.random.key(number))
        jax.block_until_ready(jax.tree.leaves(eqx.filter(agent, eqx.is_array)))
        batch = Batch(*map(np.asarray, jax.tree.leaves(data)))
        losses, state, moments = transcription.update(
            losses_of, state, moments, number + 1, batch, draws(records), settings
        )

        critic, actor = metrics.critic, metrics.actor
        first = [critic.flow_loss, critic.distill_loss] if is_floq else [critic.critic_loss]
        assert_same([*first, actor.bc_flow_loss, actor.distill_loss, actor.q_loss], losses, "losses")
        assert critic.critic_loss == pytest.approx(sum(losses[:-3]), rel=1e-6)
        assert actor.actor_loss == pytest.approx(losses[-3] + case.alpha * losses[-2] + losses[-1], rel=1e-6)
        adam = agent.optimisers[0]
        assert_same(networks(*adam.mu).learnt(), moments[0], "first moments: the gradients")
        assert_same(networks(*adam.nu).learnt(), moments[1], "second moments")
        after = networks(agent.critic, agent.policy, agent.target.critic)
        assert_same(after.learnt(), state.learnt(), "parameters")
        assert_same(after.target, state.target, "target")


def test_the_gradients_of_the_transcription_are_those_of_finite_differences():
    draw = np.random.default_rng(0)
    sizes = (3, 5, 4, 2)
    network = [
        {"weight": draw.normal(size=shape), "bias": draw.normal(size=shape[1])}
        | ({"scale": draw.normal(size=shape[1]), "shift": draw.normal(size=shape[1])} if shape[1] != 2 else {})
        for shape in itertools.pairwise(sizes)
    ]
    x, outer = draw.normal(size=(6, 3)), draw.normal(size=(6, 2))
    _, tape = plain_networks.outputs_and_tape(network, x)
    by_parameters, by_inputs = plain_networks.gradients(network, tape, outer)
    directions = plain_networks.each(lambda p: draw.normal(size=p.shape), network), draw.normal(size=x.shape)

    def along(step):
        moved = plain_networks.each(lambda p, d: p + step * d, network, directions[0])
        return np.sum(outer * plain_networks.apply(moved, x + step * directions[1]))

    products = []
    plain_networks.each(lambda g, d: products.append(np.sum(g * d)), by_parameters, directions[0])
    slope = sum(products) + np.sum(by_inputs * directions[1])
    assert (along(1e-5) - along(-1e-5)) / 2e-5 == pytest.approx(slope, rel=1e-8)


def test_double_precision_does_not_leak():
    assert jnp.ones(()).dtype == jnp.float32
    assert all(leaf.dtype == np.float32 for leaf in leaves_by_path(fz.GaussianPrior()).values())
