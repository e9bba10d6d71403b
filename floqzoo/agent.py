"""The one agent and the one update that serve every recipe."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from floqzoo.hyperparameter import Hyperparameter, Number, frozen, hyperparameter, partition_trainable, require
from floqzoo.protocols import Critic, Policy, require_socket
from floqzoo.records import Transition, UpdateMetrics
from floqzoo.typing import Key


class Agent(eqx.Module):
    r"""A critic, its target and a policy, trained together by one optimiser.

    One update minimises `critic_loss + policy_loss` over the parameters of both. The critic's loss sees the target
    critic and the policy as constants, the policy's loss sees the critic as a constant, so each loss trains its own
    part. Then the target follows, with the critic's parameters from *before* the step, as in fql's and floq's code:
    $\bar\theta \leftarrow (1 - \tau) \bar\theta + \tau \theta_{\text{old}}$.

    - `critic`: Any [`Critic`][floqzoo.protocols.Critic].
    - `policy`: Any [`Policy`][floqzoo.protocols.Policy].
    - `optimiser`: Any optax transformation; Adam with 3e-4 by default, as in the papers.
    - `tau`: The step of the target, $\tau$ in [0, 1]; 0.005 in the papers.

    **Raises** `TypeError` if a part does not fit its socket, naming the part and what it lacks; `ValueError` if tau
    is out of its range.
    """

    critic: Critic
    target_critic: Critic
    policy: Policy
    optimiser_state: PyTree
    tau: Hyperparameter
    optimiser: optax.GradientTransformation = eqx.field(static=True)

    def __init__(
        self,
        *,
        critic: Critic | Any,
        policy: Policy | Any,
        optimiser: optax.GradientTransformation | None = None,
        tau: Number = 0.005,
    ):
        # Hence `| Any`: these errors say more than that of the type checker.
        require_socket("critic", critic, Critic)
        require_socket("policy", policy, Policy)
        self.critic = critic
        # A copy, not an alias: the state is donated to the compiled update, and no buffer may be donated twice.
        self.target_critic = jax.tree.map(lambda leaf: jnp.array(leaf) if eqx.is_array(leaf) else leaf, critic)
        self.policy = policy
        self.optimiser = optax.adam(3e-4) if optimiser is None else optimiser
        self.optimiser_state = self.optimiser.init(partition_trainable((critic, policy))[0])
        self.tau = hyperparameter(tau)
        require("tau", self.tau, lambda value: (value >= 0) & (value <= 1), "in [0, 1]")

    def update(self, batch: Transition, key: Key) -> tuple["Agent", UpdateMetrics]:
        """One gradient step on one batch: the agent after it, and the metrics of the batch before it.

        A pure function; compile it, alone or inside a scan.
        """
        critic_key, policy_key = jax.random.split(key)
        parameters, rest = partition_trainable((self.critic, self.policy))

        def loss(parameters):
            critic, policy = eqx.combine(parameters, rest)
            critic_loss, critic_metrics = critic.critic_loss(batch, self.target_critic, frozen(policy), critic_key)
            policy_loss, policy_metrics = policy.policy_loss(batch, frozen(critic), policy_key)
            return critic_loss + policy_loss, UpdateMetrics(critic_metrics, policy_metrics)

        gradients, metrics = jax.grad(loss, has_aux=True)(parameters)
        # optax mixes dtypes, which a program that asks for strict promotion would refuse.
        with jax.numpy_dtype_promotion("standard"):
            steps, optimiser_state = self.optimiser.update(gradients, self.optimiser_state, parameters)
        stepped: PyTree = optax.apply_updates(parameters, steps)
        critic, policy = eqx.combine(stepped, rest)
        agent = eqx.tree_at(
            lambda agent: (agent.critic, agent.target_critic, agent.policy, agent.optimiser_state),
            self,
            (critic, polyak_step(self.target_critic, self.critic, self.tau), policy, optimiser_state),
            is_leaf=lambda node: node is None,
        )
        return agent, metrics


def polyak_step(target: PyTree, online: PyTree, tau: Hyperparameter) -> PyTree:
    r"""$(1 - \tau) \bar\theta + \tau \theta$ on trainable parameters; all else stays the target's."""
    target_parameters, rest = partition_trainable(target)
    online_parameters, _ = partition_trainable(online)

    def step(old, new):
        return old + tau.value.astype(old.dtype) * (new - old)

    return eqx.combine(jax.tree.map(step, target_parameters, online_parameters), rest)
