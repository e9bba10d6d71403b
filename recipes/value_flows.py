r"""Value Flows: the return distribution as a flow, and the best of N actions of a behaviour flow (arXiv 2510.07650).

The flow of the velocity field $v_\theta(t, z \mid s, a)$ transforms noise $\epsilon \sim N(0, 1)$ into a return in K
Euler steps, and clips $z$ to $[r_{\min}, r_{\max}] / (1 - \gamma)$ in each step. If $\bar z_t$ is the state at time $t$
of the target flow that starts from $\epsilon$ at $(s', a')$, the losses and the policy are

$$\begin{aligned}
\text{BCFM:} \quad & \bigl( v(t, (1 - t) \epsilon + t R \mid s, a) - (R - \epsilon) \bigr)^2,
\quad R = r + \gamma \bar z_1 \\
\text{DCFM:} \quad & \bigl( v(t, r + \gamma \bar z_t \mid s, a) - \bar v(t, \bar z_t \mid s', a') \bigr)^2 \\
\text{critic:} \quad & \bigl( \sigma(-T / \text{std}) + \tfrac12 \bigr)
(\lambda_B \, \text{BCFM} + \lambda_D \, \text{DCFM}),
\quad \text{std} = \lvert \partial z_1(s, a) / \partial \epsilon \rvert \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{policy:} \quad & \operatorname{arg\,max}_{a_i} Q(s, a_i), \quad a_1, \dots, a_N \sim \pi_{\text{BC}}(s), \quad
Q(s, a) = \epsilon + v(0, \epsilon \mid s, a),
\end{aligned}$$

where $\sigma$ is the sigmoid, $T$ is the temperature of the confidence weight, and $a'$ is always the best of N
actions. All losses are averaged over the batch, and BCFM and DCFM are summed over the two critics. One Adam optimiser
minimises the sum of the losses. In online training, the agent acts with a one-step policy, which is trained together
with the behaviour flow, as in FQL, with the loss
$\alpha \frac1d \lVert \mu(s, x_0) - \psi_1(x_0 \mid s) \rVert^2 - Q(s, \mu(s, x_0))$.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import optax

import floqzoo as fz
from floqzoo.protocols import Policy
from floqzoo.runs import Recipe, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import (
    QUICKSTART,
    BestOfNConfig,
    DistilledPolicyConfig,
    aggregation,
    best_of_n,
    distilled_policy,
    published_presets,
    value_network,
)
from recipes.published import value_flows as published


@dataclass(frozen=True, kw_only=True)
class ValueFlowsConfig(BestOfNConfig, DistilledPolicyConfig):  # In this order actors have layer norm by default.
    """Value Flows' hyperparameters, named as in its official code."""

    flow_steps: int = 10
    """Euler steps of the return flows and of the behaviour flow."""
    q_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the two critics in the score and in the confidence weight."""
    ret_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the two critics in targets."""
    bcfm_lambda: float = 1.0
    """Weight of BCFM, at least 0."""
    dcfm_lambda: float = 1.0
    """Weight of DCFM, at least 0."""
    confidence_weight_temp: float = 0.3
    """Temperature of the confidence weight, above 0, in units of reward; must be tuned for each environment."""
    num_score_samples: int = 4
    """Number of fixed noise samples in each score."""
    acting: Literal["best-of-n", "one-step"] = "best-of-n"
    """The policy that acts: best-of-N (offline), or the one-step policy (online), trained only if it is selected."""


def value_flows(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: ValueFlowsConfig, key: Key
) -> fz.Agent:
    """Builds the untrained Value Flows agent."""
    critic_key, policy_key = jax.random.split(key)
    chunk_dim = config.chunk_length * action_dim
    network = config.residual_network if config.use_resnets else value_network(config)
    field = partial(fz.ConditionalField, 1, observation_dim + chunk_dim, build=network)
    return fz.Agent(
        critic=fz.ReturnFlowCritic(
            fz.Ensemble.build(lambda key: field(key=key), 2, key=critic_key),
            fz.ClippedEuler.from_rewards(reward_range, config.discount, config.flow_steps),
            discount=config.discount,
            bcfm_weight=config.bcfm_lambda,
            dcfm_weight=config.dcfm_lambda,
            temperature=config.confidence_weight_temp,
            aggregation=config.aggregation,
            return_aggregation=aggregation(config.ret_agg),
            num_score_samples=config.num_score_samples,
            next_action=fz.BestOfNNextAction(config.num_samples),
        ),
        policy=acting_policy(config, observation_dim, action_dim, key=policy_key),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


def acting_policy(config: ValueFlowsConfig, observation_dim: int, action_dim: int, *, key: Key) -> Policy:
    """Builds the policy that `acting` selects. Both policies contain a behaviour flow, which proposes next actions."""
    if config.acting == "one-step":
        return distilled_policy(config, observation_dim, action_dim, key=key)
    return config.chunked(best_of_n(config, observation_dim, config.chunk_length * action_dim, key=key))


RECIPE = Recipe(
    name="value_flows",
    build=value_flows,
    presets=published_presets(
        ValueFlowsConfig(),
        published.OFFLINE,
        online=published.ONLINE,
        online_defaults=ValueFlowsConfig(acting="one-step"),
        quickstart=ValueFlowsConfig(**QUICKSTART, flow_steps=5, num_samples=8, num_score_samples=2),
        experiments="Value Flows",
        online_env="cube-double-play-singletask-v0",
    ),
    check=buildable(value_flows),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
