"""Records: the typed containers in which parts pass data to each other, instead of dictionaries and tuples."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Real

from floqzoo.hyperparameter import Hyperparameter, hyperparameter
from floqzoo.typing import Action, Array, Key, Metrics, Observation, Point


class PathPoint(eqx.Module):
    """A point on a path or trajectory, and the velocity there."""

    x: Point
    velocity: Point


class Trajectory(eqx.Module):
    """The states of a solve in order, from the initial to the final state."""

    t: Float[Array, " times"]
    x: Float[Array, "times dim"]


class FlowDraw(eqx.Module):
    """A sample drawn from a flow, and its log-density."""

    x: Point
    log_prob: Float[Array, ""]


class ActionDraw(eqx.Module):
    """An action from a policy, with each coordinate in [-1, 1], and the log-density of the draw before clipping."""

    action: Float[Array, "*batch action"]
    log_prob: Float[Array, "*batch"]


class FutureKind(eqx.Module):
    r"""Says which futures a successor measure contains.

    - `discount`: The discount $\gamma$ of the measure, in [0, 1).
    - `of_data`: Whether the futures are those of the policy that generated the data, instead of the agent's policy.
    - `from_current`: Whether the futures start at the current state, instead of the next one.
    """

    discount: Hyperparameter = eqx.field(converter=hyperparameter)
    of_data: bool = eqx.field(static=True, default=False)
    from_current: bool = eqx.field(static=True, default=False)


class StepCount(eqx.Module):
    """A number of solver steps, which is a power of two.

    - `value`: The number of steps: a Python integer, or an array if it is drawn at random during an update.
    - `at_most`: A static upper bound on `value`; for a fixed number of steps, it equals `value`.
    """

    value: int | Int[Array, ""]
    at_most: int = eqx.field(static=True)

    @staticmethod
    def known(value: int) -> "StepCount":
        """Returns the `StepCount` for a number of steps that is fixed rather than drawn at random."""
        return StepCount(value, value)


class Transition(eqx.Module):
    r"""One or more steps of an environment, $(s, a, s')$, or a batch of such transitions along a leading axis.

    - `action`: $a$; for an action chunk of $h$ steps, the flat vector $(a_0, \dots, a_{h-1})$.
    - `reward`: $r$, in units of reward; for an n-step return, $\sum_{k<n} \gamma^k r_k$.
    - `discount`: In [0, 1]: 0 if the episode terminated, else $\gamma^{n-1}$, which is 1 for a single step. A critic
      multiplies it by its own $\gamma$ once: $y = r + \gamma \cdot \text{discount} \cdot Q(s', a')$.
    - `next_observation`: $s'$; for an n-step return, the observation after its last step.
    - `next_action`: The recorded action at $s'$, if the batch source provides it.
    - `future`: A sample of the successor measure of $(s', a')$, if the batch source provides it.
    - `valid`: For an action chunk, 1 for each step within the episode, and 0 for each step of padding after its end,
      which losses ignore. If it is None, every step counts.
    """

    observation: Real[Array, "*batch observation"]
    action: Float[Array, "*batch action"]
    reward: Float[Array, "*batch"]
    discount: Float[Array, "*batch"]
    next_observation: Real[Array, "*batch observation"]
    next_action: Float[Array, "*batch action"] | None = None
    future: Real[Array, "*batch observation"] | None = None
    valid: Float[Array, "*batch steps"] | None = None

    def counted(self, losses: Float[Array, "*members batch"]) -> Float[Array, "*members batch"]:
        """Sets the losses of chunks that contain padding to 0; returns the losses unchanged if `valid` is None."""
        return losses if self.valid is None else losses * jnp.broadcast_to(self.valid[:, -1], losses.shape)

    @property
    def action_weights(self) -> Float[Array, "*batch action"] | None:
        """A weight for each coordinate of `action`: 1 if it counts, 0 if it is padding. None if `valid` is None."""
        if self.valid is None:
            return None
        return jnp.repeat(self.valid, self.action.shape[-1] // self.valid.shape[-1], axis=-1)

    def with_observations(self, function: Callable[[Array], Array]) -> "Transition":
        """Returns the transitions with `function` applied to each array of observations: `observation`,
        `next_observation` and, if present, `future`."""
        present = {name: value for name in _OBSERVATIONS if (value := getattr(self, name)) is not None}
        return replace(self, **{name: function(value) for name, value in present.items()})

    def require(self, name: str, who: str) -> Array:
        """Returns the value of the optional field `name`.

        **Raises** `ValueError` if the field is None; the message names `who` as the part that needs it.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{who} needs `{name}` in its batches; choose a batch source that provides it.")
        return value


_OBSERVATIONS = ("observation", "next_observation", "future")


class ActorCritic(eqx.Module):
    """A critic and a policy, or a pair of values that belong to them, such as their optimiser states.

    - `normaliser`: The [`Normaliser`][floqzoo.networks.Normaliser] that is applied to observations before the critic
      and the policy receive them; None leaves observations unchanged.
    """

    critic: Any
    policy: Any
    normaliser: Any = None

    def normalised(self, observation: Observation) -> Observation:
        """Converts an observation of the environment to the input of the critic and the policy, by normalising it if
        there is a normaliser."""
        return observation if self.normaliser is None else self.normaliser.normalise(observation)

    def act(self, observation: Observation, key: Key) -> Action:
        """Draws an action from the policy; each coordinate of the action is in [-1, 1]."""
        return self.policy.act(self.normalised(observation), self.critic, key)

    def explore(self, observation: Observation, key: Key) -> Action:
        """Draws an action for exploration with the policy's method `explore`, or with `act` if it has no `explore`."""
        act = getattr(self.policy, "explore", self.policy.act)
        return act(self.normalised(observation), self.critic, key)


class FrozenAgent(eqx.Module):
    """The agent in the form in which the losses receive it: a constant, through which no gradient passes.

    - `critic`, `policy`: The parts before the update, except that the policy loss of an
      [`AlternatingUpdate`][floqzoo.update_rules.AlternatingUpdate] receives the critic from after its step.
    - `target`: The target networks of the critic and the policy.
    - `step`: The number of updates before the current one.
    """

    critic: Any
    policy: Any
    target: ActorCritic
    step: Int[Array, ""]

    def act(self, observation: Observation, key: Key) -> Action:
        """Draws an action with each coordinate in [-1, 1] from the policy; `observation` must already be normalised."""
        return self.policy.act(observation, self.critic, key)

    def with_policies(self, change: Callable[[Any], Any]) -> "FrozenAgent":
        """Returns the agent with `change` applied to its policy and its target policy.

        A policy that wraps another policy uses this to pass the agent on to the wrapped policy's loss.
        """
        target = ActorCritic(self.target.critic, change(self.target.policy))
        return FrozenAgent(self.critic, change(self.policy), target, self.step)


class Stateful(eqx.Module):
    """The metrics of a loss together with the part's new state; returned by the loss of a part that has state.

    - `metrics`: The metrics, which the loss of a part without state returns directly.
    - `part`: The part with its new state. The update copies all its arrays that are not trained by gradients, i.e. each
      `State` and `Hyperparameter`, into the agent.
    """

    metrics: Metrics
    part: Any


class Occasional(eqx.Module):
    """Metrics of an event that happens only in some updates; they are averaged over these updates.

    - `metrics`: The values of the metrics; arbitrary finite numbers if the event did not happen.
    - `happened`: Whether the event happened in this update.
    """

    metrics: Metrics
    happened: Bool[Array, ""]


class UpdateMetrics(eqx.Module):
    """The metrics of one update: a record of scalars from the critic, and a record from the policy (`actor`).

    Each metric is logged under its path of fields, such as `critic/q_mean` or `actor/bc_flow_loss`, as in the official
    code of FQL.
    """

    critic: Metrics
    actor: Metrics


class NamedMetric(NamedTuple):
    """The value of a metric, and whether it was measured in this update (None if every update measures it)."""

    value: Array
    happened: Bool[Array, ""] | None


def named_metrics(metrics: Metrics) -> dict[str, NamedMetric]:
    """Returns the metrics as a dictionary, in which each name is a path of fields such as `critic/q_mean`."""

    def is_occasional(node: Any) -> bool:
        return isinstance(node, Occasional)

    nodes, _ = jax.tree_util.tree_flatten_with_path(metrics, is_leaf=is_occasional)
    named = {}
    for path, node in nodes:
        record, happened = (node.metrics, node.happened) if is_occasional(node) else (node, None)
        for further, leaf in jax.tree_util.tree_flatten_with_path(record)[0]:
            named[jax.tree_util.keystr((*path, *further), simple=True, separator="/")] = NamedMetric(leaf, happened)
    return named
