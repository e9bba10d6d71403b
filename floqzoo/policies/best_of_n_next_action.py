"""Next actions chosen by best-of-N sampling from the behaviour policy, independently of how the agent acts."""

import equinox as eqx
from jaxtyping import Float

from floqzoo.critics.next_action import PolicyNextAction
from floqzoo.policies.best_of_n_policy import BestOfNPolicy
from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Array, Key


class BestOfNNextAction(eqx.Module):
    r"""Selects the best of $N$ actions $a_i$ of the behaviour policy, $a' = \operatorname{arg\,max}_{a_i} Q(s', a_i)$.

    $Q$ is the score of the online critic. The behaviour policy is `agent.policy.behaviour`, for example the flow inside
    a `DistilledFlowPolicy` or a `BestOfNPolicy`. If the policy has no [`behaviour`][floqzoo.protocols.HasBehaviour],
    the $N$ actions are drawn from the policy itself.

    - `num_samples`: $N$, at least 1; 16 in Value Flows' experiments.

    **Raises** `ValueError` if `num_samples` is below 1.

    Source: the official code of Value Flows (arXiv 2510.07650).
    """

    num_samples: int = eqx.field(static=True, default=16)

    def __check_init__(self):
        if self.num_samples < 1:
            raise ValueError(f"`num_samples` must be at least 1; got {self.num_samples}.")

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """Returns the best action at each next observation.

        **Raises** `ValueError` if the policy's actions have a different shape from the actions in the data.
        """
        behaviour = getattr(agent.policy, "behaviour", agent.policy)
        policy = BestOfNPolicy(behaviour, self.num_samples)
        return PolicyNextAction().next_actions(batch, FrozenAgent(agent.critic, policy, agent.target, agent.step), key)
