r"""IQL: a value function by expectile regression, and an advantage-weighted Gaussian policy (arXiv 2110.06169).

$$\begin{aligned}
\text{V:} \quad & \lvert \kappa - 1[u < 0] \rvert u^2, \quad u = \min_e \bar Q_e(s, a) - V(s) \\
\text{Q:} \quad & \textstyle\sum_e \bigl( Q_e(s, a) - r - \gamma V(s') \bigr)^2 \\
\text{policy:} \quad & -\min\bigl( e^{\alpha (\min_e Q_e(s, a) - V(s))}, 100 \bigr) \log \pi(a \mid s),
\end{aligned}$$

where all losses are averaged over the batch. One Adam optimiser minimises their sum. No loss evaluates the critic at
actions that are not in the data.
"""

from dataclasses import dataclass

import jax
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import (
    QUICKSTART,
    ActorCriticConfig,
    actor_network,
    published_presets,
    value_network,
    visual_preset,
)
from recipes.published import iql as published


@dataclass(frozen=True, kw_only=True)
class ExpectileConfig(ActorCriticConfig):
    """Settings of IQL's critic, which is also used by IFQL."""

    expectile: float = 0.9
    """The expectile that V estimates, in (0, 1)."""


@dataclass(frozen=True, kw_only=True)
class IQLConfig(ExpectileConfig):
    """IQL's hyperparameters, named as in the official code of FQL."""

    alpha: float = 10.0
    """Inverse temperature of the advantage weights: the main hyperparameter to tune for each environment."""


def iql_critic(config: ExpectileConfig, observation_dim: int, action_dim: int, key: Key) -> fz.IQLCritic:
    """Builds IQL's critic, with two Q-networks and a V-network."""
    q_key, v_key = jax.random.split(key)
    network = value_network(config)
    return fz.IQLCritic(
        fz.QEnsemble(observation_dim, action_dim, build=network, key=q_key),
        network(observation_dim, 1, key=v_key),
        discount=config.discount,
        expectile=config.expectile,
    )


def iql(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: IQLConfig, key: Key
) -> fz.Agent:
    """Builds the untrained IQL agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    network = actor_network(config, output_scale=0.01)
    return fz.Agent(
        critic=iql_critic(config, observation_dim, action_dim, critic_key),
        policy=fz.AWRPolicy(network(observation_dim, action_dim, key=policy_key), alpha=config.alpha),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


RECIPE = Recipe(
    name="iql",
    build=iql,
    presets=published_presets(IQLConfig(), published.OFFLINE, quickstart=IQLConfig(**QUICKSTART))
    | {"visual": visual_preset(published.VISUAL, IQLConfig())},
    check=buildable(iql),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
