"""The agent and its update, with parts from outside the zoo whose answers are known."""

import operator
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from doubles import ACTION, OBSERVATION, SteadyPolicy, leaves_by_path, transitions

import floqzoo as fz
from floqzoo.testing import assert_close


# Agents are alike to a compiler if their optimiser is the same object.
ADAM = optax.adam(1e-2)


class LineCritic(eqx.Module):
    """A critic of one's own: Q(s, a) = weight . (s, a) + bias, learnt by TD with a discount of 1/2."""

    weight: jax.Array
    bias: jax.Array

    def score(self, observation, action):
        return jnp.concatenate([observation, action]) @ self.weight + self.bias

    def critic_loss(self, batch, agent, key):
        next_action = jax.vmap(agent.act)(batch.next_observation, jax.random.split(key, len(batch.reward)))
        next_value = jax.vmap(agent.target.critic.score)(batch.next_observation, next_action)
        error = jax.vmap(self.score)(batch.observation, batch.action) - batch.reward - 0.5 * batch.discount * next_value
        return jnp.mean(error**2), {"error": jnp.mean(jnp.abs(error))}


class ThriftyPolicy(eqx.Module):
    """A policy of one's own: one action for all states, which it likes to be worth much and small."""

    action: jax.Array

    def act(self, observation, critic, key):
        return jnp.clip(self.action, -1, 1)

    def policy_loss(self, batch, agent, key):
        worth = jax.vmap(agent.critic.score, (0, None))(batch.observation, self.action)
        return jnp.sum(self.action**2) - jnp.mean(worth), None


def line_critic(seed=0):
    return LineCritic(0.1 * jax.random.normal(jax.random.key(seed), (OBSERVATION + ACTION,)), jnp.full((), 0.2))


def line_agent(seed=0, critic=None, policy=None, optimiser=None, tau=0.005, **parts):
    rule = fz.JointUpdate() if optimiser is None else fz.JointUpdate(optimiser)
    parts = {"update_rule": rule, "target_update": fz.PolyakAveraging(critic=tau)} | parts
    policy = ThriftyPolicy(jnp.array([0.3, -0.4])) if policy is None else policy
    return fz.Agent(critic=line_critic(seed) if critic is None else critic, policy=policy, **parts)


@eqx.filter_jit
def updated(agent, batch, key):
    return agent.update(batch, key)


@eqx.filter_jit
def trained(agent, batch, key, updates):
    arrays, rest = eqx.partition(agent, eqx.is_array)

    def update(arrays, key):
        agent, metrics = eqx.combine(arrays, rest).update(batch, key)
        return eqx.partition(agent, eqx.is_array)[0], metrics

    arrays, metrics = jax.lax.scan(update, arrays, jax.random.split(key, updates))
    return eqx.combine(arrays, rest), metrics


def assert_trees_close(actual, expected):
    actual, expected = leaves_by_path(actual), leaves_by_path(expected)
    assert actual.keys() == expected.keys()
    for path, leaf in actual.items():
        assert_close(leaf, expected[path])


# Parts from outside


def test_a_critic_and_a_policy_of_ones_own_learn_a_known_answer():
    """Every state leads to itself, and r = 2 s_0 - a_0 + 1. So the best small action, of largest -a_0 - |a|^2, is
    (-1/2, 0), and with it Q(s, a) = r(s, a) + 1/2 (2 s_0 + 3/2) / (1 - 1/2) = 4 s_0 - a_0 + 5/2."""
    batch = transitions(size=32)
    reward = 2 * batch.observation[:, 0] - batch.action[:, 0] + 1
    batch = fz.Transition(batch.observation, batch.action, reward, jnp.ones(32), batch.observation)
    agent = line_agent(optimiser=optax.adam(optax.linear_schedule(0.1, 0.0, 1000)), tau=0.2)
    agent, metrics = trained(agent, batch, jax.random.key(0), 1000)
    np.testing.assert_allclose(agent.policy.action, [-0.5, 0.0], atol=1e-3)
    np.testing.assert_allclose(agent.critic.weight, [4, 0, 0, -1, 0], atol=1e-2)
    np.testing.assert_allclose(agent.critic.bias, 2.5, atol=1e-2)
    assert metrics.critic["error"][-1] < 1e-2


def test_a_critic_that_is_no_tree_at_all_fits_too():
    class Plain:
        def score(self, observation, action):
            return jnp.sum(action)

        def critic_loss(self, batch, agent, key):
            return jnp.zeros(()), None

    agent, _ = updated(line_agent(critic=Plain(), optimiser=optax.sgd(0.1)), transitions(), jax.random.key(0))
    np.testing.assert_allclose(agent.policy.action, np.array([0.3, -0.4]) * 0.8 + 0.1, rtol=1e-6)


@pytest.mark.parametrize("missing", ["score", "critic_loss"])
def test_a_critic_that_lacks_a_method_is_refused_with_its_name(missing):
    methods = {name: lambda self: None for name in ("score", "critic_loss") if name != missing}
    part = type("Stranger", (), methods)()
    with pytest.raises(TypeError, match=rf"`critic` must be a Critic.*got Stranger, which lacks {missing}\."):
        fz.Agent(critic=part, policy=SteadyPolicy())


@pytest.mark.parametrize("missing", ["act", "policy_loss"])
def test_a_policy_that_lacks_a_method_is_refused_with_its_name(missing):
    methods = {name: lambda self: None for name in ("act", "policy_loss") if name != missing}
    part = type("Stranger", (), methods)()
    with pytest.raises(TypeError, match=rf"`policy` must be a Policy.*got Stranger, which lacks {missing}\."):
        fz.Agent(critic=fz.NullCritic(), policy=part)


# One update


def test_one_step_of_gradient_descent_on_each_loss_for_its_own_part():
    batch, agent = transitions(), line_agent(optimiser=optax.sgd(0.1))
    after, metrics = updated(agent, batch, jax.random.key(0))
    critic, policy, frozen = agent.critic, agent.policy, agent.frozen
    gradient = jax.grad(lambda critic: critic.critic_loss(batch, frozen, jax.random.key(1))[0])(critic)
    assert_trees_close(after.critic, jax.tree.map(lambda x, g: x - 0.1 * g, critic, gradient))
    gradient = jax.grad(lambda policy: policy.policy_loss(batch, frozen, jax.random.key(1))[0])(policy)
    assert_trees_close(after.policy, jax.tree.map(lambda x, g: x - 0.1 * g, policy, gradient))
    error = critic.critic_loss(batch, frozen, jax.random.key(1))[1]["error"]
    assert_close(metrics.critic["error"], error)


def test_neither_loss_trains_what_it_is_given():
    """Parts that never stop a gradient, and losses that grow with everything they see: each trains itself alone."""

    class Greedy(LineCritic):
        def critic_loss(self, batch, agent, key):
            others = jnp.sum(agent.target.critic.bias) + jnp.sum(agent.policy.action) + jnp.sum(agent.critic.bias)
            return jnp.sum(self.bias) + 10 * others, None

    class Grasping(ThriftyPolicy):
        def policy_loss(self, batch, agent, key):
            return jnp.sum(self.action) + 10 * (jnp.sum(agent.critic.bias) + jnp.sum(agent.policy.action)), None

    agent = line_agent(
        critic=Greedy(jnp.zeros(OBSERVATION + ACTION), jnp.zeros(())),
        policy=Grasping(jnp.zeros(ACTION)),
        optimiser=optax.sgd(1.0),
        tau=0.0,
    )
    after, _ = updated(agent, transitions(), jax.random.key(0))
    assert after.critic.bias == -1
    assert after.target.critic.bias == 0
    assert after.policy.action.tolist() == [-1, -1]


OF_THE_LOSS = {
    "a step of Polyak": optax.polyak_sgd(0.1),
    "a plateau": optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
    "L-BFGS without its line search": optax.lbfgs(0.1, linesearch=None),
}


@pytest.mark.parametrize("optimiser", OF_THE_LOSS)
def test_an_optimiser_may_need_the_loss(optimiser):
    optimiser, agent, batch = OF_THE_LOSS[optimiser], line_agent(), transitions()
    part = agent.critic
    value, gradient = jax.value_and_grad(lambda part: part.critic_loss(batch, agent.frozen, jax.random.key(0))[0])(part)
    with jax.numpy_dtype_promotion("standard"):
        steps, _ = optimiser.update(gradient, optimiser.init(part), part, value=value)
    rule = fz.AlternatingUpdate(optimiser, optax.sgd(0.1))
    after, _ = updated(line_agent(update_rule=rule), batch, jax.random.key(0))
    assert_trees_close(after.critic, optax.apply_updates(part, steps))


@pytest.mark.parametrize(
    "rule", [fz.JointUpdate(optax.lbfgs()), fz.AlternatingUpdate(optax.lbfgs()), fz.SequentialUpdate(optax.lbfgs())]
)
def test_a_line_search_is_refused(rule):
    with pytest.raises(
        ValueError, match=r"^`optimiser` must not require more than .* line searches cannot be used; .*value_fn"
    ):
        line_agent(update_rule=rule).update(transitions(), jax.random.key(0))


def test_adam_with_the_papers_rate_is_the_default():
    agent = line_agent()
    after, _ = updated(agent, transitions(), jax.random.key(0))
    for path, leaf in leaves_by_path((after.critic, after.policy)).items():
        moved = np.abs(leaf - leaves_by_path((agent.critic, agent.policy))[path])
        np.testing.assert_allclose(moved, 3e-4, rtol=1e-2)


PAPERS = optax.adam(3e-4)


@pytest.mark.parametrize(
    ("rule", "written_out"),
    [
        (fz.JointUpdate(), fz.JointUpdate(PAPERS)),
        (fz.AlternatingUpdate(), fz.AlternatingUpdate(PAPERS, PAPERS)),
        (fz.SequentialUpdate(), fz.SequentialUpdate(PAPERS)),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_every_rule_has_the_papers_adam_as_default(rule, written_out):
    agents = [
        updated(line_agent(update_rule=each), transitions(), jax.random.key(0))[0] for each in (rule, written_out)
    ]
    assert_trees_close(*((agent.critic, agent.policy) for agent in agents))


@pytest.mark.parametrize("rule", [fz.JointUpdate(), fz.AlternatingUpdate(policy_every=2)])
def test_updates_are_counted(rule):
    agent = line_agent(update_rule=rule)
    for number in range(3):
        assert agent.step == agent.frozen.step == number
        agent, _ = updated(agent, transitions(), jax.random.key(number))
    assert agent.step == 3 and agent.step.dtype == jnp.int32


# Alternating updates


def alternating_agent(**parts):
    rule = fz.AlternatingUpdate(optax.sgd(0.1), optax.sgd(0.05), **parts)
    return line_agent(update_rule=rule, target_update=fz.PolyakAveraging(critic=0.5, policy=0.25, every=2, of_new=True))


@pytest.mark.parametrize("period", [1, 2, 3])
def test_the_policy_steps_in_its_own_updates(period):
    agent = alternating_agent(policy_every=period)
    for number in range(1, 7):
        after, metrics = updated(agent, transitions(number), jax.random.key(number))
        assert np.any(after.critic.weight != agent.critic.weight)
        assert bool(np.any(after.policy.action != agent.policy.action)) is (number % period == 0)
        if period > 1:
            assert bool(metrics.actor.happened) is (number % period == 0)
        agent = after


class TellingPolicy(ThriftyPolicy):
    """The same, with its size as a metric."""

    def policy_loss(self, batch, agent, key):
        size = jnp.sum(self.action**2)
        return size, {"size": size}


@pytest.mark.parametrize("period", [1, 2])
@pytest.mark.parametrize("rule", [fz.JointUpdate, partial(fz.AlternatingUpdate, policy_steps=2)])
def test_metrics_of_the_policy_are_from_before_its_first_step_and_tell_which_updates_have_them(rule, period):
    agent = line_agent(policy=TellingPolicy(jnp.array([0.3, -0.4])), update_rule=rule(policy_every=period))
    for number in range(1, 4):
        before = agent.policy.action
        agent, metrics = updated(agent, transitions(number), jax.random.key(number))
        found = metrics.actor
        if period > 1:
            assert bool(found.happened) is (number % period == 0)
            found = found.metrics
        if number % period == 0:
            assert_close(found["size"], jnp.sum(before**2))


@pytest.mark.parametrize("period", [1, 2, 3])
def test_the_sum_of_the_losses_has_that_of_the_policy_in_its_own_updates(period):
    rule = fz.JointUpdate(optax.sgd(0.1), policy_every=period)
    agent = line_agent(policy=TellingPolicy(jnp.array([0.3, -0.4])), update_rule=rule)
    for number in range(1, 5):
        before = agent.policy.action
        agent, _ = updated(agent, transitions(number), jax.random.key(number))
        assert_close(agent.policy.action, before * (0.8 if number % period == 0 else 1.0))


def test_the_policy_steps_against_the_new_critic():
    batch, agent = transitions(), alternating_agent(policy_steps=2)
    after, _ = updated(agent, batch, jax.random.key(0))
    action = agent.policy.action
    for _ in range(2):
        action = action - 0.05 * (2 * action - after.critic.weight[OBSERVATION:])
    assert_close(after.policy.action, action)
    gradient = jax.grad(lambda critic: critic.critic_loss(batch, agent.frozen, jax.random.key(1))[0])(agent.critic)
    assert_trees_close(after.critic, jax.tree.map(lambda x, g: x - 0.1 * g, agent.critic, gradient))


@pytest.mark.parametrize("name", ["policy_every", "policy_steps"])
def test_an_alternating_update_without_steps_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        fz.AlternatingUpdate(**{name: 0})


@pytest.mark.parametrize("part", ["update_rule", "target_update"])
def test_a_rule_that_is_none_is_refused_by_name(part):
    with pytest.raises(TypeError, match=f"`{part}` must be a.*got object, which lacks init_"):
        fz.Agent(critic=line_critic(), policy=SteadyPolicy(), **{part: object()})


# The target


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_the_target_follows_the_critic_from_before_each_step(tau):
    agent = line_agent(optimiser=optax.sgd(0.1), tau=tau)
    for number in range(3):
        after, _ = updated(agent, transitions(number), jax.random.key(number))
        wanted = jax.tree.map(lambda old, new: (1 - tau) * old + tau * new, agent.target.critic, agent.critic)
        assert_trees_close(after.target.critic, wanted)
        assert after.critic.bias != agent.critic.bias
        agent = after


def test_at_first_the_target_is_a_copy_of_the_critic_and_no_alias():
    agent = line_agent()
    assert eqx.tree_equal(agent.target.critic, agent.critic)
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(agent) if isinstance(leaf, jax.Array)]
    assert len(set(buffers)) == len(buffers)


def test_a_target_that_is_not_kept_says_what_keeps_it():
    class Hopeful(LineCritic):
        def critic_loss(self, batch, agent, key):
            return jnp.sum(agent.target.policy.act(batch.observation[0], None, key)), None

    agent = line_agent(critic=Hopeful(jnp.zeros(OBSERVATION + ACTION), jnp.zeros(())))
    wanted = r"the agent has no target policy.*`agent\.target\.policy\.act`.*PolyakAveraging\(policy=0\.005\)"
    with pytest.raises(AttributeError, match=wanted):
        agent.update(transitions(), jax.random.key(0))
    with pytest.raises(
        AttributeError, match=r"no target critic.*agent\.target\.critic\.score.*PolyakAveraging\(critic="
    ):
        line_agent(tau=None).update(transitions(), jax.random.key(0))


@pytest.mark.parametrize("of_new", [False, True])
@pytest.mark.parametrize("period", [1, 2])
def test_both_targets_follow_with_their_own_tau_in_their_own_updates(period, of_new):
    rule = fz.PolyakAveraging(critic=0.5, policy=0.25, every=period, of_new=of_new)
    agent = line_agent(optimiser=optax.sgd(0.1), target_update=rule)
    for number in range(1, 5):
        after, _ = updated(agent, transitions(number), jax.random.key(number))
        online = after if of_new else agent
        for part, tau in (("critic", 0.5), ("policy", 0.25)):
            share = tau if number % period == 0 else 0.0
            old, new = getattr(agent.target, part), getattr(online, part)
            wanted = jax.tree.map(lambda old, new, share=share: (1 - share) * old + share * new, old, new)
            assert_trees_close(getattr(after.target, part), wanted)
        agent = after


@pytest.mark.parametrize("copy_after", [1, 2])
def test_the_target_is_the_new_critic_after_the_update_that_copies_it(copy_after):
    rule = fz.PolyakAveraging(critic=0.5, copy_after=copy_after)
    agent = line_agent(optimiser=optax.sgd(0.1), target_update=rule)
    for number in range(1, 4):
        agent, _ = updated(agent, transitions(number), jax.random.key(number))
        assert bool(eqx.tree_equal(agent.target.critic, agent.critic)) is (number == copy_after)


def test_a_target_that_is_missing_has_no_leaves():
    agent = line_agent(target_update=fz.PolyakAveraging(critic=None, policy=None))
    assert jax.tree.leaves(agent.target) == []


def test_a_period_below_one_is_refused():
    with pytest.raises(ValueError, match="`every` must be at least 1; got 0"):
        fz.PolyakAveraging(every=0)


@pytest.mark.parametrize("tau", [-0.1, 1.1, float("nan")])
def test_a_tau_outside_its_range_is_refused(tau):
    with pytest.raises(ValueError, match=rf"`critic` must be in \[0, 1\]; got {tau}"):
        line_agent(tau=tau)


# Compilation


@pytest.mark.parametrize("make", [line_agent, partial(alternating_agent, policy_every=2, policy_steps=2)])
def test_a_scan_of_updates_is_the_updates_one_by_one(make):
    agent, batch, key = make(), transitions(), jax.random.key(0)
    scanned, _ = trained(agent, batch, jax.random.clone(key), 5)
    for step_key in jax.random.split(key, 5):
        agent, _ = updated(agent, batch, step_key)
    assert_trees_close(scanned, agent)


def test_compilation_changes_nothing():
    agent, batch = line_agent(), transitions()
    eager, metrics = agent.update(batch, jax.random.key(0))
    compiled, compiled_metrics = updated(agent, batch, jax.random.key(0))
    assert_trees_close(compiled, eager)
    assert_trees_close(compiled_metrics, metrics)


@pytest.mark.slow
def test_seeds_trained_together_are_the_seeds_trained_one_by_one():
    batch, keys = transitions(), jax.random.split(jax.random.key(0), 3)
    agents = [line_agent(seed, tau=0.1 * seed, optimiser=ADAM) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *agents)
    together = jax.vmap(lambda agent, key: agent.update(batch, key)[0])(stacked, jax.random.clone(keys))
    for number, agent in enumerate(agents):
        alone, _ = updated(agent, batch, keys[number])
        assert_trees_close(jax.tree.map(operator.itemgetter(number), together), alone)


def test_a_part_that_uses_a_key_twice_is_found_out():
    """JAX's check, which the tests of recipes run under, does see into the parts."""

    class Careless(SteadyPolicy):
        def policy_loss(self, batch, agent, key):
            return jax.random.normal(key) + jax.random.uniform(key), None

    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        updated(line_agent(policy=Careless()), transitions(), jax.random.key(0))
