"""EVOR's critic: flows over the returns of the behaviour policy, and a score that is a KL-regularised optimum."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.next_action import DataNextAction
from floqzoo.critics.return_flow_critic import ReturnFlowCritic
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, optional_hyperparameter, require
from floqzoo.protocols import NextAction
from floqzoo.typing import Action, Array, Observation, Scalar


class EVORCritic(ReturnFlowCritic):
    r"""A `ReturnFlowCritic` of the behaviour policy, whose score is the KL-regularised optimum over all policies.

    The score is

    $$Q^*(s, a) = \operatorname{agg}_e \tau_R \log \tfrac1n \textstyle\sum_{j=1}^n
    \exp \bigl( \psi^e_1(\epsilon_j \mid s, a) / \tau_R \bigr),$$

    where the return $\psi^e_1(\epsilon_j \mid s, a)$ is the output of the flow of member $e$ for the noise sample
    $\epsilon_j$. If transitions are deterministic, the log-mean-exp tends for $n \to \infty$ to the maximum over
    policies of $\mathbb E[\text{return}] - \tau_R \operatorname{KL}$, where $\operatorname{KL}$ is the KL divergence of
    the policy's trajectories from those of the behaviour policy. $Q^*$ lies between the mean of the returns ($\tau_R
    \to \infty$) and their maximum ($\tau_R \to 0$). For a normally distributed return, the limit for $n \to \infty$ is
    mean + variance / ($2 \tau_R$). If transitions are random, $Q^*$ is too high, as if the policy could choose their
    outcomes.

    The $\epsilon_j$ are fixed quantiles of the prior. Each of them passes through all $K$ solver steps, because a
    single step would yield only the mean of the return. Computing a score therefore takes $n K$ evaluations of each
    field. The loss of the critic does not depend on $Q^*$, so $\tau_R$ and $n$ may be changed in a trained critic.

    By default, the critic is trained like a `ReturnFlowCritic` with only the BCFM loss and no confidence weight:
    `dcfm_weight` and `temperature` are None. You may set both.

    - `return_temperature`: $\tau_R$, above 0, in units of reward.
    - `num_score_samples`: $n$, at least 1.
    - `next_action`: The source of the next action $a'$, an action of the behaviour policy. By default, it is taken from
      the data; `BestOfNNextAction(1)` draws it from the behaviour flow of the policy.
    - Further fields: as in [`ReturnFlowCritic`][floqzoo.critics.ReturnFlowCritic]. `aggregation` is applied to the
      members' values of $Q^*$.

    **Raises** `ValueError` if a number is out of range.

    Source: EVOR (arXiv 2510.08218), which learns the distribution of returns by flow matching with distributional
    backups, and takes the log-mean-exp. We could not read the official code. The form of the loss, which is that of
    Value Flows (arXiv 2510.07650), the next action, the fixed noise, the aggregation and all default values are our
    choices.
    """

    dcfm_weight: Hyperparameter | None = eqx.field(converter=optional_hyperparameter, default=None)
    temperature: Hyperparameter | None = eqx.field(converter=optional_hyperparameter, default=None)
    num_score_samples: int = eqx.field(static=True, default=8)
    next_action: NextAction | Any = DataNextAction()
    return_temperature: Hyperparameter = eqx.field(converter=hyperparameter, default=10.0)

    def __check_init__(self):
        number = self.return_temperature
        require("return_temperature", number, lambda value: np.isfinite(value) & (value > 0), "above 0 and finite")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns $Q^*$, aggregated over members, in units of reward."""
        returns = jax.vmap(lambda noise: self.returns(observation, action, noise))(self.fixed_noise())
        return self.aggregation.aggregate(log_mean_exp(returns, self.return_temperature.value))


def log_mean_exp(values: Float[Array, "samples *rest"], temperature: Any) -> Float[Array, "*rest"]:
    r"""Returns $\tau \log \frac1n \sum_j \exp(x_j / \tau)$ for the $n$ `values` $x_j$ along the first axis and the
    `temperature` $\tau > 0$."""
    # The maximum is subtracted before the division, so that a small temperature cannot cause an overflow.
    largest = jax.lax.stop_gradient(jnp.max(values, axis=0, keepdims=True))
    return largest[0] + temperature * jnp.log(jnp.mean(jnp.exp((values - largest) / temperature), axis=0))
