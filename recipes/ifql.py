r"""IFQL: IQL's critic, and the best of N actions of a behaviour flow (IDQL, arXiv 2304.10573, as in arXiv 2502.02538).

$$\begin{aligned}
\text{V:} \quad & \lvert \kappa - 1[u < 0] \rvert u^2, \quad u = \min_e \bar Q_e(s, a) - V(s) \\
\text{Q:} \quad & \textstyle\sum_e \bigl( Q_e(s, a) - r - \gamma V(s') \bigr)^2 \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{policy:} \quad & \operatorname{arg\,max}_{a_i} \min_e Q_e(s, a_i), \quad a_1, \dots, a_N \sim \pi_{\text{BC}}(s)
\end{aligned}$$

All losses are averaged over the batch. One Adam optimiser minimises their sum.
"""

from dataclasses import dataclass

import jax
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, best_of_n, published_presets, visual_preset
from recipes.iql import ExpectileConfig, iql_critic
from recipes.published import ifql as published


@dataclass(frozen=True, kw_only=True)
class IFQLConfig(ExpectileConfig):
    """IFQL's hyperparameters, named as in the official code of FQL."""

    num_samples: int = 32
    """N, the number of candidate actions."""
    flow_steps: int = 10
    """Euler steps of the behaviour flow."""


def ifql(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: IFQLConfig, key: Key
) -> fz.Agent:
    """Builds the untrained IFQL agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    return fz.Agent(
        critic=iql_critic(config, observation_dim, action_dim, critic_key),
        policy=best_of_n(config, observation_dim, action_dim, key=policy_key),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


RECIPE = Recipe(
    name="ifql",
    build=ifql,
    presets=published_presets(
        IFQLConfig(), published.OFFLINE, online=published.ONLINE, quickstart=IFQLConfig(**QUICKSTART, flow_steps=5)
    )
    | {"visual": visual_preset(published.VISUAL, IFQLConfig())},
    check=buildable(ifql),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
