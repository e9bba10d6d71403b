"""The agent, which all recipes build, and its update."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Int, PyTree

from floqzoo.hyperparameter import frozen
from floqzoo.networks.normaliser import Normaliser
from floqzoo.networks.precision import with_cast_weights
from floqzoo.protocols import Critic, HasPhases, Policy, TargetUpdate, UpdateRule, require_protocol
from floqzoo.records import ActorCritic, FrozenAgent, Transition, UpdateMetrics
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation
from floqzoo.update_rules import JointUpdate, PolyakAveraging


class Agent(eqx.Module):
    r"""A critic and a policy with their target networks, trained by an update rule.

    An update computes `critic_loss` and `policy_loss`, both of which receive the whole agent as a constant, a
    [`FrozenAgent`][floqzoo.records.FrozenAgent]. The update rule then makes optimiser steps from their gradients, and
    `target_update` updates the target networks.

    - `critic`: Any [`Critic`][floqzoo.protocols.Critic].
    - `policy`: Any [`Policy`][floqzoo.protocols.Policy].
    - `update_rule`: Any [`UpdateRule`][floqzoo.protocols.UpdateRule]; by default one Adam step on the sum of both
      losses.
    - `target_update`: Any [`TargetUpdate`][floqzoo.protocols.TargetUpdate]; by default Polyak averaging of the critic
      with $\tau = 0.005$, and no target policy.
    - `normaliser`: Normalises the observations that `act`, `explore` and `update` receive, so that the critic and the
      policy only ever see normalised observations; see `normalised`. None, the default, leaves observations unchanged.

    Attributes: `target`, the target networks; `optimisers`, the state of the update rule; `step`, the number of updates
    so far.

    **Raises** `TypeError` if a part does not satisfy its protocol; the message lists the missing methods.
    """

    critic: Critic
    policy: Policy
    target: ActorCritic
    optimisers: PyTree
    step: Int[Array, ""]
    update_rule: UpdateRule
    target_update: TargetUpdate
    normaliser: Normaliser | None

    def __init__(
        self,
        *,
        critic: Critic | Any,
        policy: Policy | Any,
        update_rule: UpdateRule | Any = JointUpdate(),
        target_update: TargetUpdate | Any = PolyakAveraging(),
        normaliser: Normaliser | None = None,
    ):
        # `| Any`, since these errors are more informative than those of the type checker.
        require_protocol("critic", critic, Critic)
        require_protocol("policy", policy, Policy)
        require_protocol("update_rule", update_rule, UpdateRule)
        require_protocol("target_update", target_update, TargetUpdate)
        self.critic, self.policy = critic, policy
        self.update_rule, self.target_update, self.normaliser = update_rule, target_update, normaliser
        self.target = target_update.init_targets(ActorCritic(critic, policy))
        self.optimisers = update_rule.init_optimisers(ActorCritic(critic, policy))
        self.step = jnp.zeros((), jnp.int32)

    @property
    def parts(self) -> ActorCritic:
        """The critic, the policy and the normaliser, which are all that is needed to act."""
        return ActorCritic(self.critic, self.policy, self.normaliser)

    @property
    def phase_starts(self) -> Mapping[str, int]:
        """The number of updates before each training phase starts, by phase name; empty if there are no phases."""
        return self.update_rule.phase_starts if isinstance(self.update_rule, HasPhases) else {}

    @property
    def frozen(self) -> FrozenAgent:
        """The agent in the form in which the losses receive it: a constant, through which no gradient passes."""
        critic, policy, target = with_cast_weights(frozen((self.critic, self.policy, self.target)))
        return FrozenAgent(critic, policy, target, self.step)

    def act(self, observation: Observation, key: Key) -> Action:
        """Draws an action from the policy; each coordinate of the action is in [-1, 1]."""
        return self.parts.act(observation, key)

    def normalised(self, observation: Observation) -> Observation:
        """Converts an observation of the environment to the input of `critic` and `policy`, by normalising it if the
        agent has a normaliser."""
        return self.parts.normalised(observation)

    def explore(self, observation: Observation, key: Key) -> Action:
        """Draws an action for exploration; see [`Exploring`][floqzoo.protocols.Exploring]."""
        return self.parts.explore(observation, key)

    def update(self, batch: Transition, key: Key) -> tuple["Agent", UpdateMetrics]:
        """Performs one update on a batch; returns the new agent, and the metrics of the losses on the batch.

        This is a pure function, so it can be compiled as it is or inside a scan.
        """
        if self.normaliser is not None:
            batch = batch.with_observations(jax.vmap(self.normaliser.normalise))
        before = ActorCritic(self.critic, self.policy)
        parts, optimisers, metrics = self.update_rule.update_parts(before, self.optimisers, self.frozen, batch, key)
        with update_step("target_update"):
            target = self.target_update.update_targets(self.target, before, parts, self.step)
        agent = eqx.tree_at(
            lambda agent: (agent.critic, agent.policy, agent.target, agent.optimisers, agent.step),
            self,
            (parts.critic, parts.policy, target, optimisers, self.step + 1),
            is_leaf=lambda node: node is None,
        )
        return agent, metrics
