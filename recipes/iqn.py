r"""IQN: the quantile function of the return, and the best of N actions of a behaviour flow (arXiv 1806.06923).

$$\begin{aligned}
\text{critic:} \quad & \textstyle\sum_i \tfrac1{n'} \sum_j \rho_{\tau_i} \bigl( r + \gamma \operatorname{agg}_e
\bar Z_e(s', a', \tau'_j) - Z_e(s, a, \tau_i) \bigr) \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{policy:} \quad & \operatorname{arg\,max}_{a_i} Q(s, a_i), \quad a_1, \dots, a_N \sim \pi_{\text{BC}}(s),
\end{aligned}$$

where $Z_e(s, a, \tau)$ is the quantile of the return at level $\tau$ according to critic $e$, $\rho$ is the Huber
quantile loss, $Q$ is the mean of $Z$ over levels and critics, and $a'$ is selected in the same way as when acting. In
each update, random levels $\tau_i$ and $n'$ random levels $\tau'_j$ are drawn for each transition. Both losses are
averaged over the batch, and the critic loss also over the two critics. One Adam optimiser minimises their sum. The
method is a baseline in the paper of Value Flows (arXiv 2510.07650).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import optax

import floqzoo as fz
from floqzoo.protocols import Network
from floqzoo.runs import Recipe, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import (
    QUICKSTART,
    BestOfNConfig,
    EnsembleConfig,
    best_of_n,
    published_presets,
    refuse_encoder,
    value_network,
)
from recipes.published import iqn as published


@dataclass(frozen=True, kw_only=True)
class QuantileConfig(EnsembleConfig):
    """Settings of methods with a quantile critic."""

    kappa: float = 0.9
    """Half the width of the quadratic part of the quantile loss, above 0; must be tuned for each environment."""
    num_levels: int = 16
    """Number of quantile levels of the critic in each update, and in the mean that gives its score."""
    num_target_levels: int = 16
    """Number of quantile levels of the target in each update."""
    num_cosines: int = 64
    """Number of cosine features per quantile level."""

    def __post_init__(self):
        super().__post_init__()
        refuse_encoder(self, "a quantile critic")


@dataclass(frozen=True, kw_only=True)
class IQNConfig(BestOfNConfig, QuantileConfig):  # In this order the layer norm of BestOfNConfig is the default.
    """IQN's hyperparameters."""


def quantile_critic(
    config: QuantileConfig, observation_dim: int, action_dim: int, *, network: Callable[..., Network], key: Key
) -> fz.QuantileCritic:
    """Builds IQN's critic."""
    features_key, networks_key = jax.random.split(key)
    features = fz.LevelProduct(
        observation_dim + action_dim,
        config.value_hidden_dims[0],
        embedding=fz.FourierTime(config.num_cosines),
        key=features_key,
    )
    return fz.QuantileCritic(
        fz.QuantileEnsemble(features, build=network, key=networks_key),
        discount=config.discount,
        loss=fz.HuberQuantileLoss(config.kappa),
        num_levels=config.num_levels,
        num_target_levels=config.num_target_levels,
        aggregation=config.aggregation,
    )


def iqn(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: IQNConfig, key: Key
) -> fz.Agent:
    """Builds the untrained IQN agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    return fz.Agent(
        critic=quantile_critic(config, observation_dim, action_dim, network=value_network(config), key=critic_key),
        policy=best_of_n(config, observation_dim, action_dim, key=policy_key),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


RECIPE = Recipe(
    name="iqn",
    build=iqn,
    presets=published_presets(
        IQNConfig(),
        published.OFFLINE,
        online=published.ONLINE,
        quickstart=IQNConfig(**QUICKSTART, flow_steps=5, num_samples=8, num_levels=8, num_target_levels=8),
        experiments="Value Flows",
        online_env="cube-double-play-singletask-v0",
    ),
    check=buildable(iqn),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
