"""The one agent and the one update that serve every recipe."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from floqzoo.hyperparameter import frozen
from floqzoo.networks.precision import with_cast_weights
from floqzoo.protocols import Critic, Policy, TargetUpdate, UpdateRule, require_protocol
from floqzoo.records import ActorCritic, FrozenAgent, Transition, UpdateMetrics
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Key, Observation
from floqzoo.update_rules import JointUpdate, PolyakAveraging


class Agent(eqx.Module):
    r"""A critic and a policy with their targets, trained by an update rule.

    An update computes `critic_loss` and `policy_loss`, each of which sees the whole agent as constants
    ([`FrozenAgent`][floqzoo.records.FrozenAgent]); the update rule turns their gradients into optimiser steps, and the
    target rule moves the target networks.

    - `critic`: Any [`Critic`][floqzoo.protocols.Critic].
    - `policy`: Any [`Policy`][floqzoo.protocols.Policy].
    - `update_rule`: Any [`UpdateRule`][floqzoo.protocols.UpdateRule]; one Adam step on the sum of both losses by default.
    - `target_update`: Any [`TargetUpdate`][floqzoo.protocols.TargetUpdate]; a target critic with a tau of 0.005 by default.

    Attributes: `target`, the target networks; `optimisers`, the state of the update rule; `step`, the number of updates.

    **Raises** `TypeError` if a part does not satisfy its protocol, naming the part and the methods that it lacks.
    """

    critic: Critic
    policy: Policy
    target: ActorCritic
    optimisers: PyTree
    step: Int[Array, ""]
    update_rule: UpdateRule
    target_update: TargetUpdate

    def __init__(
        self,
        *,
        critic: Critic | Any,
        policy: Policy | Any,
        update_rule: UpdateRule | Any = JointUpdate(),
        target_update: TargetUpdate | Any = PolyakAveraging(),
    ):
        # Hence `| Any`: these errors say more than that of the type checker.
        require_protocol("critic", critic, Critic)
        require_protocol("policy", policy, Policy)
        require_protocol("update_rule", update_rule, UpdateRule)
        require_protocol("target_update", target_update, TargetUpdate)
        self.critic, self.policy = critic, policy
        self.update_rule, self.target_update = update_rule, target_update
        self.target = target_update.init_targets(self.parts)
        self.optimisers = update_rule.init_optimisers(self.parts)
        self.step = jnp.zeros((), jnp.int32)

    @property
    def parts(self) -> ActorCritic:
        """Critic and policy, which is all that acting needs."""
        return ActorCritic(self.critic, self.policy)

    @property
    def frozen(self) -> FrozenAgent:
        """The agent as losses see it."""
        critic, policy, target = with_cast_weights(frozen((self.critic, self.policy, self.target)))
        return FrozenAgent(critic, policy, target, self.step)

    def act(self, observation: Observation, key: Key) -> Action:
        """An action of the policy, each coordinate in [-1, 1]."""
        return self.policy.act(observation, self.critic, key)

    def explore(self, observation: Observation, key: Key) -> Action:
        """An action to explore with; see [`Exploring`][floqzoo.protocols.Exploring]."""
        return self.parts.explore(observation, key)

    def update(self, batch: Transition, key: Key) -> tuple["Agent", UpdateMetrics]:
        """One update on one batch: the agent after it, and the metrics of the batch before it.

        A pure function; compile it, alone or inside a scan.
        """
        parts, optimisers, metrics = self.update_rule.update_parts(self.parts, self.optimisers, self.frozen, batch, key)
        with update_step("target_update"):
            target = self.target_update.update_targets(self.target, self.parts, parts, self.step)
        agent = eqx.tree_at(
            lambda agent: (agent.critic, agent.policy, agent.target, agent.optimisers, agent.step),
            self,
            (parts.critic, parts.policy, target, optimisers, self.step + 1),
            is_leaf=lambda node: node is None,
        )
        return agent, metrics
