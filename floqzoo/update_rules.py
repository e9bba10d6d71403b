"""Update rules, which perform the optimiser steps of an update, and rules that update the target networks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.tree_util import GetAttrKey, SequenceKey
from jaxtyping import Bool, Int, PyTree

from floqzoo.hyperparameter import (
    Hyperparameter,
    Number,
    State,
    frozen,
    optional_hyperparameter,
    partition_trainable,
    require,
)
from floqzoo.networks.precision import with_cast_weights
from floqzoo.records import ActorCritic, FrozenAgent, Occasional, Stateful, Transition, UpdateMetrics
from floqzoo.scopes import update_step
from floqzoo.typing import Array, Key, Metrics, Scalar


Loss = Callable[[Any], tuple[Scalar, Any]]
PartLoss = Callable[[Any, Transition, FrozenAgent, Key], tuple[Scalar, Any]]


def _critic_loss(critic: Any, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
    return critic.critic_loss(batch, agent, key)


def _policy_loss(policy: Any, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
    return policy.policy_loss(batch, agent, key)


class JointUpdate(eqx.Module):
    """An update rule that takes one optimiser step on the sum of the critic loss and the policy loss.

    The step changes the parameters of both parts. Each loss treats the other part as a constant, so the critic loss
    trains only the critic, and the policy loss only the policy.

    - `optimiser`: An optax transformation, Adam with a learning rate of 3e-4 by default. A transformation that takes
      the loss as `value`, such as `reduce_on_plateau`, receives it; line searches, which evaluate the loss at other
      parameters, are not supported.
    - `policy_every`: At least 1. The policy loss is included in every `policy_every`-th update, counted from 1. In the
      other updates the gradient of the policy is 0, but an optimiser such as Adam still changes the policy's parameters
      because of its moments. Metrics of the policy are averaged over the updates that include its loss.
    - `critic_loss`, `policy_loss`: Loss functions, called as `loss(part, batch, agent, key)`; by default
      `part.critic_loss` and `part.policy_loss`. For pre-training, pass another loss, such as
      `MyCritic.pretraining_loss`.

    **Raises** `ValueError` if `policy_every` is below 1.

    Source: the official code of FQL (arXiv 2502.02538) and floq (arXiv 2509.06863); for `policy_every`, the official
    code of InFOM (arXiv 2506.08902).
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True, default_factory=lambda: optax.adam(3e-4))
    policy_every: int = eqx.field(static=True, default=1)
    critic_loss: PartLoss = eqx.field(static=True, default=_critic_loss)
    policy_loss: PartLoss = eqx.field(static=True, default=_policy_loss)

    def __check_init__(self):
        if self.policy_every < 1:
            raise ValueError(f"`policy_every` must be at least 1; got {self.policy_every}.")

    def init_optimisers(self, parts: ActorCritic) -> PyTree:
        """Returns the initial state of the optimiser."""
        return self.optimiser.init(partition_trainable((parts.critic, parts.policy))[0])

    def update_parts(
        self, parts: ActorCritic, optimisers: PyTree, agent: FrozenAgent, batch: Transition, key: Key
    ) -> tuple[ActorCritic, PyTree, UpdateMetrics]:
        """Takes one step; returns the new parts and optimiser state, and the metrics of both losses before the step."""
        critic_key, policy_key = jax.random.split(key)

        def loss(parts):
            critic, policy = parts
            with update_step("critic"):
                critic_loss, critic_metrics = self.critic_loss(critic, batch, agent, critic_key)
            with update_step("policy"):
                policy_loss, policy_metrics = self._occasional_policy_loss(policy, batch, agent, policy_key)
            return critic_loss + policy_loss, (critic_metrics, policy_metrics)

        both, optimisers, metrics = gradient_step(loss, (parts.critic, parts.policy), self.optimiser, optimisers)
        critic_metrics, policy_metrics = metrics
        if self.policy_every > 1:
            policy_metrics = Occasional(policy_metrics, self._has_policy_loss(agent))
        return ActorCritic(*both), optimisers, UpdateMetrics(critic_metrics, policy_metrics)

    def _has_policy_loss(self, agent: FrozenAgent) -> Bool[Array, ""]:
        return (agent.step + 1) % self.policy_every == 0

    def _occasional_policy_loss(
        self, policy: Any, batch: Transition, agent: FrozenAgent, key: Key
    ) -> tuple[Scalar, Metrics | Stateful]:
        """The loss of the policy and its metrics; in an update without this loss, zeros and the unchanged state."""

        def loss() -> tuple[Scalar, Metrics | Stateful]:
            return self.policy_loss(policy, batch, agent, key)

        if self.policy_every == 1:
            return loss()

        def no_loss() -> PyTree:
            zero, metrics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), form)
            if isinstance(metrics, Stateful):
                metrics = Stateful(metrics.metrics, eqx.filter(policy, eqx.is_array))
            return zero, metrics

        form = jax.eval_shape(lambda: eqx.filter(loss(), eqx.is_array))
        return jax.lax.cond(self._has_policy_loss(agent), lambda: eqx.filter(loss(), eqx.is_array), no_loss)


class AlternatingUpdate(eqx.Module):
    r"""An update rule that takes a critic step in each update, and policy steps in every `policy_every`-th update.

    The policy steps follow the critic step and use the new critic. Updates are counted from 1, so with `policy_every`
    = 2 the policy is trained in updates 2, 4, 6, ... Metrics of the policy are averaged over these updates only.

    - `critic_optimiser`, `policy_optimiser`: optax transformations; Adam with a learning rate of 3e-4 by default.
    - `policy_every`: At least 1. The policy is trained in every `policy_every`-th update.
    - `policy_steps`: The number of policy steps in each update that trains the policy, at least 1; each step uses a
      separate key.

    **Raises** `ValueError` if `policy_every` or `policy_steps` is below 1.

    Source: TD3 (arXiv 1802.09477), algorithm 1.
    """

    critic_optimiser: optax.GradientTransformation = eqx.field(static=True, default_factory=lambda: optax.adam(3e-4))
    policy_optimiser: optax.GradientTransformation = eqx.field(static=True, default_factory=lambda: optax.adam(3e-4))
    policy_every: int = eqx.field(static=True, default=1)
    policy_steps: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        for name in ("policy_every", "policy_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}.")

    def init_optimisers(self, parts: ActorCritic) -> ActorCritic:
        """Returns the initial state of each optimiser."""
        return ActorCritic(
            self.critic_optimiser.init(partition_trainable(parts.critic)[0]),
            self.policy_optimiser.init(partition_trainable(parts.policy)[0]),
        )

    def update_parts(
        self, parts: ActorCritic, optimisers: ActorCritic, agent: FrozenAgent, batch: Transition, key: Key
    ) -> tuple[ActorCritic, ActorCritic, UpdateMetrics]:
        """Takes the steps; returns the new parts, the new optimiser states, and the metrics of each loss before its
        first step."""
        critic_key, policy_key = jax.random.split(key)
        critic, critic_state, critic_metrics = gradient_step(
            update_step("critic")(lambda critic: critic.critic_loss(batch, agent, critic_key)),
            parts.critic,
            self.critic_optimiser,
            optimisers.critic,
        )
        agent = eqx.tree_at(lambda agent: agent.critic, agent, with_cast_weights(frozen(critic)))

        def policy_steps(policy, state):
            first_metrics = None
            for step_key in jax.random.split(policy_key, self.policy_steps):
                policy, state, metrics = gradient_step(
                    update_step("policy")(lambda policy, step_key=step_key: policy.policy_loss(batch, agent, step_key)),
                    policy,
                    self.policy_optimiser,
                    state,
                )
                first_metrics = metrics if first_metrics is None else first_metrics
            return policy, state, first_metrics

        policy, policy_state = parts.policy, optimisers.policy
        if self.policy_every == 1:
            policy, policy_state, policy_metrics = policy_steps(policy, policy_state)
        else:
            happens = (agent.step + 1) % self.policy_every == 0
            arrays, rest = eqx.partition((policy, policy_state), eqx.is_array)
            form = jax.eval_shape(lambda: eqx.filter(policy_steps(policy, policy_state)[2], eqx.is_array))

            def steps(arrays):
                policy, state, metrics = policy_steps(*eqx.combine(arrays, rest))
                return eqx.filter((policy, state), eqx.is_array), metrics

            def no_steps(arrays):
                return arrays, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), form)

            arrays, metrics = jax.lax.cond(happens, steps, no_steps, arrays)
            policy, policy_state = eqx.combine(arrays, rest)
            policy_metrics = Occasional(metrics, happens)
        return (
            ActorCritic(critic, policy),
            ActorCritic(critic_state, policy_state),
            UpdateMetrics(critic_metrics, policy_metrics),
        )


def optimiser_per_field(**optimisers: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns an optimiser for a part with several networks; it trains each field of the part with its own optimiser.

        fz.AlternatingUpdate(fz.optimiser_per_field(forward=optax.adam(1e-4), backward=optax.adam(1e-6)))

    - `optimisers`: An optimiser for each field with trainable parameters, by the field's name. If one is missing, an
      error is raised on first use.
    """

    def field_of(path: Any, leaf: Any) -> str:
        del leaf
        return path[0].name

    return optax.partition({**optimisers}, lambda part: jax.tree_util.tree_map_with_path(field_of, part))


def freeze_features_after(
    num_updates: int, optimiser: optax.GradientTransformation, *, except_for: tuple[str, ...] = ()
) -> optax.GradientTransformation:
    """Wraps the optimiser of a critic so that, after a number of updates, it changes only the last layers of networks.

    The last layer of a network is the last item of its field `layers`, as in an [`MLP`][floqzoo.networks.MLP].

    - `num_updates`: The number of updates after which the features are frozen, at least 0.
    - `optimiser`: An optax transformation for a critic or, as in `JointUpdate`, for a critic and a policy; the policy is
      never frozen. It receives all gradients to the end.
    - `except_for`: The fields of the critic whose networks are never frozen.

    **Raises** `ValueError` if `num_updates` is negative, or on first use if no network of the critic has `layers`.

    Source: the experiment on plasticity in arXiv 2603.04333. Which layers of floq and FQL it freezes is not published,
    so training only the last linear layer is our choice.
    """
    if num_updates < 0:
        raise ValueError(f"`num_updates` must be at least 0; got {num_updates}.")
    optimiser = optax.with_extra_args_support(optimiser)

    def init(params: PyTree) -> tuple[Int[Array, ""], PyTree]:
        return jnp.zeros((), int), optimiser.init(params)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any) -> tuple[PyTree, Any]:
        count, inner = state
        updates, inner = optimiser.update(updates, inner, params, **extra)
        critic = [path for path, _ in jax.tree_util.tree_leaves_with_path(updates) if path[0] != SequenceKey(1)]
        layers = dict(sorted(layer for path in critic if (layer := _layer_of(path))))  # of equal keys, the last is kept
        if not layers:
            raise ValueError("the features of the critic cannot be frozen: none of its networks has a field `layers`.")
        last = set(layers.items())

        def kept(path: Any, step: Array) -> Array:
            excepted = path[0] == SequenceKey(1) or any(GetAttrKey(name) in path for name in except_for)
            return step if excepted or _layer_of(path) in last else jnp.where(count < num_updates, step, 0)

        return jax.tree_util.tree_map_with_path(kept, updates), (count + 1, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _layer_of(path: Any) -> tuple[str, int] | None:
    """The path of the network whose field `layers` has a leaf, and the index of its layer; None for other leaves."""
    for at, key in enumerate(path):
        if key == GetAttrKey("layers"):
            return jax.tree_util.keystr(path[:at]), path[at + 1].idx
    return None


class SequentialUpdate(eqx.Module):
    r"""An update rule that takes a critic step and then a policy step, with one optimiser for both parts.

    Both losses use the agent from before the update. In each step the gradient of the other part is 0, but an optimiser
    such as Adam still changes that part because of its moments. If the gradient of a part is a constant $g$ in every
    second step and 0 otherwise, Adam's mean gradient is $g / 2$ and its root mean square is $|g| / \sqrt 2$. The two
    steps of an update together are therefore $\sqrt 2$ times as long as a step of a separate Adam optimiser. Clipping
    of the gradient norm applies to each loss separately.

    - `optimiser`: An optax transformation, Adam with a learning rate of 3e-4 by default. A transformation that takes
      the loss as `value`, such as `reduce_on_plateau`, receives it; line searches, which evaluate the loss at other
      parameters, are not supported.

    Source: the official code of SORL (arXiv 2505.22866).
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True, default_factory=lambda: optax.adam(3e-4))

    def init_optimisers(self, parts: ActorCritic) -> PyTree:
        """Returns the initial state of the optimiser."""
        return self.optimiser.init(partition_trainable((parts.critic, parts.policy))[0])

    def update_parts(
        self, parts: ActorCritic, optimisers: PyTree, agent: FrozenAgent, batch: Transition, key: Key
    ) -> tuple[ActorCritic, PyTree, UpdateMetrics]:
        """Takes both steps; returns the new parts, the new optimiser state, and the metrics of both losses."""
        critic_key, policy_key = jax.random.split(key)

        def critic_loss(both):
            with update_step("critic"):
                loss, metrics = both[0].critic_loss(batch, agent, critic_key)
            return loss, (metrics, None)

        def policy_loss(both):
            with update_step("policy"):
                loss, metrics = both[1].policy_loss(batch, agent, policy_key)
            return loss, (None, metrics)

        both = (parts.critic, parts.policy)
        both, optimisers, metrics = gradient_step(critic_loss, both, self.optimiser, optimisers)
        both, optimisers, policy_metrics = gradient_step(policy_loss, both, self.optimiser, optimisers)
        return ActorCritic(*both), optimisers, UpdateMetrics(metrics[0], policy_metrics[1])


def gradient_step(
    loss: Loss, part: PyTree, optimiser: optax.GradientTransformation, state: PyTree
) -> tuple[PyTree, PyTree, Metrics]:
    """Takes one optimiser step on the loss of a part, or of a tuple of parts.

    Returns the part and the optimiser state after the step, and the metrics of the loss before the step.

    - `loss`: A function from the part to the loss and its metrics (a tuple of metrics for a tuple of parts). A part
      with state returns [`Stateful`][floqzoo.records.Stateful] instead of metrics.
    - `optimiser`: An optax transformation. If it takes extra arguments, it receives the loss as `value` and the
      gradient as `grad`.
    - `state`: The state of the optimiser.

    **Raises** `ValueError` if the optimiser requires further arguments, such as the loss function for a line search.
    """
    parameters, rest = partition_trainable(part)

    def of_parameters(parameters):
        value, metrics = loss(eqx.combine(parameters, rest))
        if isinstance(part, tuple):
            pairs = [_split_state(*pair) for pair in zip(metrics, rest, strict=True)]
            metrics, new_rest = zip(*pairs, strict=True)
        else:
            metrics, new_rest = _split_state(metrics, rest)
        return value, (metrics, eqx.filter(new_rest, eqx.is_array))

    (value, (metrics, new_arrays)), gradients = jax.value_and_grad(of_parameters, has_aux=True)(parameters)
    # optax mixes dtypes, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"), update_step("optimiser"):
        steps, state = _optimiser_steps(optimiser, gradients, state, parameters, value)
        stepped = optax.apply_updates(parameters, steps)
    return eqx.combine(stepped, new_arrays, rest), state, metrics


def _optimiser_steps(
    optimiser: optax.GradientTransformation, gradients: PyTree, state: PyTree, parameters: PyTree, value: Scalar
) -> tuple[PyTree, PyTree]:
    update = optax.with_extra_args_support(optimiser).update
    try:
        return update(gradients, state, parameters, value=value, grad=gradients)
    except TypeError as error:
        if "required keyword-only argument" not in str(error):
            raise
        raise ValueError(
            "`optimiser` must not require more than gradients, parameters, the loss (`value`) and its gradient (`grad`), so "
            f"line searches cannot be used; {error}."
        ) from None


def _split_state(metrics: Metrics | Stateful, rest: PyTree) -> tuple[Metrics, PyTree]:
    """The metrics of a loss, and the untrained arrays of its part, updated if the loss returned a new state."""
    if isinstance(metrics, Stateful):
        return metrics.metrics, partition_trainable(metrics.part)[1]
    return metrics, rest


class PolyakAveraging(eqx.Module):
    r"""Updates the target networks by Polyak averaging: $\bar\theta \leftarrow (1 - \tau) \bar\theta + \tau \theta$.

    Here $\theta$ are the parameters of the online network, and $\bar\theta$ those of its target network. Each `State`
    is copied from the online network in the same updates; the `Hyperparameter`s of the target network are not changed.

    - `critic`: $\tau$ of the target critic, in [0, 1]; 0.005 by default, as in FQL and floq. If it is None, there is no
      target critic.
    - `policy`: $\tau$ of the target policy, in [0, 1]. If it is None, the default, there is no target policy.
    - `every`: At least 1. The targets are averaged in every `every`-th update, counted from 1.
    - `of_new`: Whether $\theta$ are the parameters after the optimiser step. By default they are the parameters before
      the step, as in the official code of FQL and floq.
    - `copy_after`: If set, the new online parameters are copied to the targets a single time, after this many updates, as
      InFOM does between its phases. None, the default, means that they are never copied.

    **Raises** `ValueError` if `critic` or `policy` is outside [0, 1], or `every` or `copy_after` is below 1.
    """

    critic: Hyperparameter | None = eqx.field(converter=optional_hyperparameter, default=0.005)
    policy: Hyperparameter | None = eqx.field(converter=optional_hyperparameter, default=None)
    every: int = eqx.field(static=True, default=1)
    of_new: bool = eqx.field(static=True, default=False)
    copy_after: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        for name in ("critic", "policy"):
            if getattr(self, name) is not None:
                require(name, getattr(self, name), lambda tau: (tau >= 0) & (tau <= 1), "in [0, 1]")
        if self.every < 1:
            raise ValueError(f"`every` must be at least 1; got {self.every}.")
        if self.copy_after is not None and self.copy_after < 1:
            raise ValueError(f"`copy_after` must be at least 1, or None; got {self.copy_after}.")

    def init_targets(self, parts: ActorCritic) -> ActorCritic:
        """Returns a copy of each part that has a target network, and a `NoTarget` in place of a part without one."""
        return ActorCritic(
            NoTarget("critic") if self.critic is None else copied(parts.critic),
            NoTarget("policy") if self.policy is None else copied(parts.policy),
        )

    def update_targets(
        self, target: ActorCritic, before: ActorCritic, after: ActorCritic, step: Int[Array, ""]
    ) -> ActorCritic:
        """Returns the target networks after update `step` (counted from 0), which changed the parts from `before` to
        `after`."""
        online = after if self.of_new else before
        happens = (step + 1) % self.every == 0

        def averaged(target: Any, online: Any, new: Any, tau: Hyperparameter | None) -> Any:
            if tau is None:
                return target
            moved = polyak_step(target, online, tau.value)
            if self.every > 1:
                moved = _where(happens, moved, target)
            if self.copy_after is not None:
                copies = step + 1 == self.copy_after
                moved = _where(copies, _followed(target, new, lambda old, new: new), moved)
            return moved

        return ActorCritic(
            averaged(target.critic, online.critic, after.critic, self.critic),
            averaged(target.policy, online.policy, after.policy, self.policy),
        )


class NoTarget(eqx.Module):
    """A placeholder for a target network that the agent does not have; using it raises an error."""

    part: str = eqx.field(static=True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"the agent has no target {self.part}, but a loss uses `agent.target.{self.part}.{name}`; set its "
            f"`target_update`, such as PolyakAveraging({self.part}=0.005)."
        )


def polyak_step(target: PyTree, online: PyTree, tau: Number) -> PyTree:
    r"""Returns a target network after one step of Polyak averaging.

    Its trainable parameters become $(1 - \tau) \bar\theta + \tau \theta$, where $\bar\theta$ are the parameters of
    `target` and $\theta$ those of `online`. Each `State` is copied from `online`.
    """
    step = jnp.asarray(tau)
    return _followed(target, online, lambda old, new: old + step.astype(old.dtype) * (new - old))


def _followed(target: PyTree, online: PyTree, parameter: Callable[[Array, Array], Array]) -> PyTree:
    """The target with `parameter(old, new)` as each trainable parameter, and each `State` of `online`."""
    target_parameters, rest = partition_trainable(target)
    online_parameters, online_rest = partition_trainable(online)

    def is_state(node: Any) -> bool:
        return isinstance(node, State)

    rest = jax.tree.map(lambda old, new: new if is_state(new) else old, rest, online_rest, is_leaf=is_state)
    return eqx.combine(jax.tree.map(parameter, target_parameters, online_parameters), rest)


def _where(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    """The arrays of `new` if the condition holds, and otherwise those of `old`."""
    new_arrays, rest = eqx.partition(new, eqx.is_array)
    return eqx.combine(jax.tree.map(partial(jnp.where, condition), new_arrays, eqx.filter(old, eqx.is_array)), rest)


def copied(tree: PyTree) -> PyTree:
    """Returns a copy of a tree that shares no array buffers with the original.

    This is needed because the compiled update donates its arrays, and a buffer cannot be donated twice.
    """
    return jax.tree.map(lambda leaf: jnp.array(leaf) if eqx.is_array(leaf) else leaf, tree)
