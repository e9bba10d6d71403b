r"""CODAC: IQN's critic with a conservative term, and FQL's one-step policy (arXiv 2107.06106).

$$\begin{aligned}
\text{critic:} \quad & \textstyle\sum_i \tfrac1{n'} \sum_j \rho_{\tau_i} \bigl( r + \gamma \operatorname{agg}_e
\bar Z_e(s', \mu(s', x'_0), \tau'_j) - Z_e(s, a, \tau_i) \bigr) \\
& + \lambda \Bigl( \log \textstyle\sum_k \exp \bigl( Z_e(s, a_k, \tau) - \log q(a_k \mid s) \bigr)
- Z_e(s, a, \tau) \Bigr) \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{one step:} \quad & \alpha \tfrac1d \lVert \mu(s, x_0) - \psi_1(x_0 \mid s) \rVert^2 - Q(s, \mu(s, x_0)),
\end{aligned}$$

where $\rho$ and $Q$ are defined as in the recipe `iqn`, and $\tau$ is one random level for each transition. Half of the
actions $a_k$ are drawn uniformly, and half from the behaviour flow; $q(a_k \mid s)$ is the density of the
distribution from which $a_k$ was drawn. All losses are averaged over the batch, and the critic loss also over the two
critics. One Adam optimiser minimises their sum. The method is a baseline in the paper of Value Flows
(arXiv 2510.07650).
"""

from dataclasses import dataclass

import jax
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, DistilledPolicyConfig, distilled_policy, published_presets, value_network
from recipes.iqn import QuantileConfig, quantile_critic
from recipes.published import codac as published


@dataclass(frozen=True, kw_only=True)
class CODACConfig(QuantileConfig, DistilledPolicyConfig):
    """CODAC's hyperparameters."""

    kappa: float = 0.95
    """Half the width of the quadratic part of the quantile loss, above 0."""
    actor_layer_norm: bool = True
    """Whether actors use layer norm."""
    conservative_weight: float = 0.1
    """Weight of the conservative term, at least 0."""
    conservative_actions: int = 10
    """Number of uniform actions, and of behaviour-flow actions, in the conservative term."""


def codac(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: CODACConfig, key: Key
) -> fz.Agent:
    """Builds the untrained CODAC agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    network = config.residual_network if config.use_resnets else value_network(config)
    return fz.Agent(
        critic=fz.ConservativeCritic(
            quantile_critic(config, observation_dim, config.chunk_length * action_dim, network=network, key=critic_key),
            weight=config.conservative_weight,
            num_actions=config.conservative_actions,
        ),
        policy=distilled_policy(config, observation_dim, action_dim, key=policy_key),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


RECIPE = Recipe(
    name="codac",
    build=codac,
    presets=published_presets(
        CODACConfig(),
        published.OFFLINE,
        quickstart=CODACConfig(
            **QUICKSTART, alpha=100.0, flow_steps=5, num_levels=8, num_target_levels=8, conservative_actions=4
        ),
        experiments="Value Flows",
        online_env="cube-double-play-singletask-v0",
    ),
    check=buildable(codac),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
