"""Laws of update rules and target updates, and additional laws of floqzoo's own classes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from floqzoo.hyperparameter import Hyperparameter, State, partition_trainable
from floqzoo.phased_update import PhasedUpdate
from floqzoo.protocols import TargetUpdate, UpdateRule
from floqzoo.records import ActorCritic, FrozenAgent, Stateful, Transition, named_metrics
from floqzoo.testing.closeness import assert_close, compiled
from floqzoo.testing.examples import Example
from floqzoo.typing import Action, Key, Observation, Scalar
from floqzoo.update_rules import AlternatingUpdate, JointUpdate, PolyakAveraging, SequentialUpdate


class CountingCritic(eqx.Module):
    """A critic with Q = w · a + b that is regressed onto rewards.

    It counts the evaluations of its loss in a `State`, and scales the loss by a `Hyperparameter`.
    """

    weight: Any
    bias: Any
    losses: State
    fixed: Hyperparameter

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q of the action, which is the same in every state."""
        del observation
        return self.weight @ action + self.bias

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Stateful]:
        """Returns the mean squared error times `fixed`, and a `Stateful` with the incremented count."""
        del agent, key
        q = jax.vmap(self.score)(batch.observation, batch.action)
        loss = self.fixed.value * jnp.mean((q - batch.reward) ** 2)
        return loss, Stateful(loss, eqx.tree_at(lambda critic: critic.losses, self, State(self.losses.value + 1)))


class ConstantPolicy(eqx.Module):
    """A policy that always takes the same action, trained to maximise Q minus the action's squared norm."""

    action: Any

    def act(self, observation: Observation, critic: Any, key: Key) -> Action:
        """Returns the action."""
        del observation, critic, key
        return self.action

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Scalar]:
        """Returns the squared norm of the action minus the mean score, both as the loss and as its metric."""
        del key
        score = jnp.mean(jax.vmap(agent.critic.score, (0, None))(batch.observation, self.action))
        loss = jnp.sum(self.action**2) - score
        return loss, loss


class DrawingCritic(eqx.Module):
    """A critic whose loss draws a random number and stores it."""

    critic: CountingCritic
    drawn: State = eqx.field(default_factory=lambda: State(jnp.zeros(())))

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the score of the wrapped critic."""
        return self.critic.score(observation, action)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Stateful]:
        """Returns the bias times a random number, and a `Stateful` that stores this number."""
        number = jax.random.normal(key)
        loss = number * self.critic.bias
        return loss, Stateful(loss, eqx.tree_at(lambda critic: critic.drawn, self, State(number)))


class DrawingPolicy(eqx.Module):
    """A policy whose loss draws a random number and stores it."""

    policy: ConstantPolicy
    drawn: State = eqx.field(default_factory=lambda: State(jnp.zeros(())))

    def act(self, observation: Observation, critic: Any, key: Key) -> Action:
        """Returns the action of the wrapped policy."""
        return self.policy.act(observation, critic, key)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Stateful]:
        """Returns a random number times the sum of the action's coordinates, and a `Stateful` that stores the number."""
        number = jax.random.normal(key)
        loss = number * jnp.sum(self.policy.action)
        return loss, Stateful(loss, eqx.tree_at(lambda policy: policy.drawn, self, State(number)))


def an_update_can_be_scanned(rule: UpdateRule, example: Example) -> None:
    """An update preserves the structure, static fields, shapes and dtypes of parts and optimiser states, and all
    parameters remain finite."""
    parts, optimisers, _ = _updated(rule, example, steps=2)
    assert _form(parts) == _form(example_parts(example)), f"{_form(parts)}"
    assert _form(optimisers) == _form(rule.init_optimisers(example_parts(example))), f"{_form(optimisers)}"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(parts))


def an_update_trains_both_parts(rule: UpdateRule, example: Example) -> None:
    """After two updates, every parameter of the critic and the policy has changed."""
    parts, _, _ = _updated(rule, example, steps=2)
    before, after = (jax.tree.leaves(partition_trainable(tree)[0]) for tree in (example_parts(example), parts))
    assert all(np.any(old != new) for old, new in zip(before, after, strict=True)), f"{before} became {after}"


def an_update_keeps_what_is_not_trained(rule: UpdateRule, example: Example) -> None:
    """An update does not change a `Hyperparameter`, and sets a `State` to the new value that the loss returns.

    Here, the `State` counts the evaluations of the loss, so it increases by one in each update.
    """
    parts, _, _ = _updated(rule, example, steps=2)
    assert parts.critic.losses.value == 2, f"{parts.critic.losses.value} losses in two updates"
    assert_close(parts.critic.fixed.value, example_parts(example).critic.fixed.value, roundings=0)


def losses_draw_independently(rule: UpdateRule, example: Example) -> None:
    """The losses of the critic and the policy draw different random numbers, which depend on the key of the update."""
    parts = example_parts(example)
    drawing = ActorCritic(DrawingCritic(parts.critic), DrawingPolicy(parts.policy))
    drawn = []
    for key in jax.random.split(example.key):
        after, optimisers = drawing, rule.init_optimisers(drawing)
        for step in range(2):  # a rule may train the policy in every second update only
            after, optimisers, _ = compiled(
                _update,
                rule,
                after,
                optimisers,
                jnp.asarray(step, jnp.int32),
                example.batch,
                jax.random.fold_in(key, step),
            )
        drawn += [after.critic.drawn.value, after.policy.drawn.value]
    assert len(np.unique(drawn)) == 4, f"draws {drawn}, of critic and policy, for two keys"


def a_scan_of_updates_is_the_updates_one_by_one(rule: UpdateRule, example: Example) -> None:
    """`jax.lax.scan` over step indices gives the same result as applying the updates one by one."""
    parts, optimisers, _ = _updated(rule, example, steps=4)
    scanned = compiled(
        _scanned, rule, example_parts(example), jnp.arange(4, dtype=jnp.int32), example.batch, example.key
    )
    for found, wanted in zip(jax.tree.leaves(scanned), jax.tree.leaves((parts, optimisers)), strict=True):
        assert_close(*(jnp.asarray(leaf).astype(example.action.dtype) for leaf in (found, wanted)))


def a_joint_update_is_one_step_of_optax(rule: JointUpdate, example: Example) -> None:
    """Four updates equal four steps of the optimiser, each with the gradients of both losses and the parameters of both
    parts.

    In an update without the policy's loss, the policy's gradient is 0.
    """
    parts, _, _ = _updated(rule, example, steps=4)
    wanted = compiled(_joint_by_hand, rule, _parameters(example_parts(example)), example.batch)
    _assert_trees_close(_parameters(parts), wanted)
    for step in range(4):
        _, _, metrics = _updated(rule, example, steps=step + 1)
        happened = (step + 1) % rule.policy_every == 0
        assert rule.policy_every == 1 or metrics.actor.happened == happened, f"{metrics.actor} in update {step + 1}"


def alternating_steps_are_those_of_optax(rule: AlternatingUpdate, example: Example) -> None:
    """Four updates equal four steps of the critic's optimiser, each followed by the steps of the policy's optimiser if
    the policy is due for training."""
    parts, _, metrics = _updated(rule, example, steps=4)
    wanted = compiled(_alternating_by_hand, rule, _parameters(example_parts(example)), example.batch)
    _assert_trees_close(_parameters(parts), wanted)
    for step in range(4):
        _, _, metrics = _updated(rule, example, steps=step + 1)
        happened = (step + 1) % rule.policy_every == 0
        assert rule.policy_every == 1 or metrics.actor.happened == happened, f"{metrics.actor} in update {step + 1}"


def phases_are_their_rules_in_turn(rule: PhasedUpdate, example: Example) -> None:
    """Each of four updates has the same result as an update by the current phase's rule, and the optimiser state is
    carried over from phase to phase.

    The metrics are those of the current rule; `happened` is False for the metrics of the other rules.
    """
    wanted = example_parts(example)
    state = rule.init_optimisers(wanted)
    for step in range(4):
        number = jnp.asarray(step, jnp.int32)
        started = sum(start <= step for start in rule.phase_starts.values())
        current = rule.phases[started - 1].update_rule
        wanted, state, theirs = compiled(_update, current, wanted, state, number, example.batch, example.key)
        parts, optimisers, metrics = _updated(rule, example, steps=step + 1)
        _assert_trees_close(_floating((parts, optimisers)), _floating((wanted, state)))
        theirs, found = named_metrics(theirs), named_metrics(metrics)
        assert set(theirs) <= set(found), f"metrics {set(found)} without {set(theirs) - set(found)}"
        for name, metric in found.items():
            occurs = name in theirs and theirs[name].happened in (None, True)
            assert (metric.happened in (None, True)) == occurs, f"{name} in update {step + 1}"
            if occurs:
                assert_close(metric.value, theirs[name].value)


def sequential_steps_are_those_of_optax(rule: SequentialUpdate, example: Example) -> None:
    """Four updates equal eight steps of one optimiser, which alternate between the critic's gradient and the policy's
    gradient; the gradient of the other part is 0."""
    parts, _, _ = _updated(rule, example, steps=4)
    wanted = compiled(_sequential_by_hand, rule.optimiser, _parameters(example_parts(example)), example.batch)
    _assert_trees_close(_parameters(parts), wanted)


def targets_start_as_copies(update: TargetUpdate, example: Example) -> None:
    """If a part has a target, the initial target equals the part."""
    parts = example_parts(example)
    target = update.init_targets(parts)
    for ours, its in ((target.critic, parts.critic), (target.policy, parts.policy)):
        if jax.tree.leaves(ours):
            assert eqx.tree_equal(ours, its), f"{ours} instead of {its}"


def targets_lie_between(update: TargetUpdate, example: Example) -> None:
    """A target's new parameters lie between its old ones and the online parameters; the target keeps its structure."""
    before = example_parts(example)
    after = jax.tree.map(lambda leaf: leaf + 1, before)
    target = update.init_targets(jax.tree.map(lambda leaf: leaf - 1, before))
    for step in range(2):
        followed = compiled(moved, update, target, before, after, jnp.asarray(step, jnp.int32))
        assert _form(followed) == _form(target)
        trainable = [jax.tree.leaves(partition_trainable(tree)[0]) for tree in (target, followed)]
        for old, new in zip(*trainable, strict=True):
            assert np.all((new >= old) & (new <= old + 2)), f"{old} became {new}"
        target = followed


def targets_move_by_their_tau(update: PolyakAveraging, example: Example) -> None:
    r"""A target's parameters $\bar\theta$ become $(1 - \tau) \bar\theta + \tau \theta$ in every `every`-th update, and
    do not change in other updates.

    $\theta$ are the online parameters before the optimiser step, or after it if `of_new` is set. In update number
    `copy_after`, the target's parameters are set to the online parameters after the optimiser step. Each `State` is
    copied from the online part in the same updates, and the target's `Hyperparameter`s do not change.
    """
    before = example_parts(example)
    after = jax.tree.map(lambda leaf: leaf + 1, before)
    online = after if update.of_new else before
    target = update.init_targets(jax.tree.map(lambda leaf: leaf - 2, before))
    for step in range(max(2 * update.every, update.copy_after or 0)):
        followed = compiled(moved, update, target, before, after, jnp.asarray(step, jnp.int32))
        happens, copies = (step + 1) % update.every == 0, step + 1 == update.copy_after
        source = after if copies else online if happens else target
        for name in ("critic", "policy"):
            tau, old = getattr(update, name), getattr(target, name)
            if tau is None:
                assert not jax.tree.leaves(getattr(followed, name)), f"a target {name} without a tau"
                continue
            share = float(tau.value) if happens else 0.0
            theta = _parameters(getattr(online, name))
            if copies:
                share, theta = 1.0, _parameters(getattr(after, name))
            wanted = jax.tree.map(
                lambda bar, new, share=share: (1 - share) * bar + share * new, _parameters(old), theta
            )
            _assert_trees_close(_parameters(getattr(followed, name)), wanted)
        assert followed.critic.losses.value == source.critic.losses.value, f"state {followed.critic.losses}"
        assert followed.critic.fixed.value == target.critic.fixed.value, f"hyperparameter {followed.critic.fixed}"
        target = followed


def example_parts(example: Example) -> ActorCritic:
    """Returns a `CountingCritic` and a `ConstantPolicy` for an example."""
    number = jnp.asarray(1.5, example.action.dtype)
    critic = CountingCritic(example.action + 0.25, 0 * number, State(jnp.zeros((), jnp.int32)), Hyperparameter(number))
    return ActorCritic(critic, ConstantPolicy(example.action + 1))


def _updated(rule: UpdateRule, example: Example, steps: int) -> tuple:
    parts, metrics = example_parts(example), None
    optimisers = rule.init_optimisers(parts)
    for step in range(steps):
        number = jnp.asarray(step, jnp.int32)
        parts, optimisers, metrics = compiled(_update, rule, parts, optimisers, number, example.batch, example.key)
    return parts, optimisers, metrics


def _update(rule: UpdateRule, parts: ActorCritic, optimisers: Any, step: Any, batch: Transition, key: Any) -> tuple:
    agent = FrozenAgent(parts.critic, parts.policy, parts, step)
    return rule.update_parts(parts, optimisers, agent, batch, key)


def moved(update: TargetUpdate, target: Any, before: Any, after: Any, step: Any) -> Any:
    """Returns the targets after one update."""
    return update.update_targets(target, before, after, step)


def _scanned(rule: UpdateRule, parts: ActorCritic, steps: Any, batch: Transition, key: Any) -> tuple:
    arrays, rest = eqx.partition((parts, rule.init_optimisers(parts)), eqx.is_array)

    def one(arrays: Any, step: Any) -> tuple:
        parts, optimisers = eqx.combine(arrays, rest)
        parts, optimisers, _ = _update(rule, parts, optimisers, step, batch, jax.random.clone(key))
        return eqx.filter((parts, optimisers), eqx.is_array), None

    return jax.lax.scan(one, arrays, steps)[0]


def _parameters(part: Any) -> Any:
    """The parameters of critic, policy or both as plain dictionaries."""
    if isinstance(part, ActorCritic):
        return (_parameters(part.critic), _parameters(part.policy))
    names = ("weight", "bias") if isinstance(part, CountingCritic) else ("action",)
    return {name: getattr(part, name) for name in names}


def _critic_loss(parameters: Any, batch: Transition) -> Scalar:
    q = batch.action @ parameters["weight"] + parameters["bias"]
    return 1.5 * jnp.mean((q - batch.reward) ** 2)


def _policy_loss(parameters: Any, critic: Any) -> Scalar:
    action = parameters["action"]
    return jnp.sum(action**2) - action @ critic["weight"] - critic["bias"]


def _optax_step(optimiser: Any, loss: tuple, state: Any, parameters: Any) -> tuple:
    value, gradient = loss
    with jax.numpy_dtype_promotion("standard"):
        steps, state = optax.with_extra_args_support(optimiser).update(gradient, state, parameters, value=value)
    return optax.apply_updates(parameters, steps), state


def _joint_by_hand(rule: JointUpdate, parameters: Any, batch: Transition) -> Any:
    state = rule.optimiser.init(parameters)
    for number in range(1, 5):
        critic, policy = parameters
        value, slope = jax.value_and_grad(_policy_loss)(policy, critic)
        if number % rule.policy_every:
            value, slope = jax.tree.map(jnp.zeros_like, (value, slope))
        critic_value, critic_slope = jax.value_and_grad(_critic_loss)(critic, batch)
        loss = critic_value + value, (critic_slope, slope)
        parameters, state = _optax_step(rule.optimiser, loss, state, parameters)
    return parameters


def _alternating_by_hand(rule: AlternatingUpdate, parameters: Any, batch: Transition) -> Any:
    critic, policy = parameters
    critic_state, policy_state = rule.critic_optimiser.init(critic), rule.policy_optimiser.init(policy)
    for number in range(1, 5):
        loss = jax.value_and_grad(_critic_loss)(critic, batch)
        critic, critic_state = _optax_step(rule.critic_optimiser, loss, critic_state, critic)
        for _ in range(rule.policy_steps if number % rule.policy_every == 0 else 0):
            loss = jax.value_and_grad(_policy_loss)(policy, critic)
            policy, policy_state = _optax_step(rule.policy_optimiser, loss, policy_state, policy)
    return critic, policy


def _sequential_by_hand(optimiser: Any, parameters: Any, batch: Transition) -> Any:
    state = optimiser.init(parameters)
    for _ in range(4):
        critic, policy = parameters
        value, slope = jax.value_and_grad(_critic_loss)(critic, batch)
        loss = value, (slope, jax.tree.map(jnp.zeros_like, policy))
        parameters, state = _optax_step(optimiser, loss, state, parameters)
        # The policy has moved already, and the critic of its loss has not.
        value, slope = jax.value_and_grad(_policy_loss)(parameters[1], critic)
        loss = value, (jax.tree.map(jnp.zeros_like, critic), slope)
        parameters, state = _optax_step(optimiser, loss, state, parameters)
    return parameters


def _floating(tree: Any) -> Any:
    return eqx.filter(tree, eqx.is_inexact_array)


def _assert_trees_close(found: Any, wanted: Any) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert_close(one, other)


def _form(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.asarray(leaf).dtype), tree)


update_rule_laws = (
    an_update_can_be_scanned,
    an_update_trains_both_parts,
    an_update_keeps_what_is_not_trained,
    losses_draw_independently,
    a_scan_of_updates_is_the_updates_one_by_one,
)

joint_update_laws = (a_joint_update_is_one_step_of_optax,)

alternating_update_laws = (alternating_steps_are_those_of_optax,)

sequential_update_laws = (sequential_steps_are_those_of_optax,)

target_update_laws = (targets_start_as_copies, targets_lie_between)

phased_update_laws = (phases_are_their_rules_in_turn,)

polyak_laws = (targets_move_by_their_tau,)
