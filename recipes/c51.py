r"""C51: returns on fixed atoms, and the best of N actions of a behaviour flow (arXiv 1707.06887).

$$\begin{aligned}
\text{critic:} \quad & -\textstyle\sum_i m_i \log p_{e,i}(s, a), \quad
m = \Pi \bigl( r + \gamma z, \tfrac1E \sum_e \bar p_e(s', a') \bigr) \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{policy:} \quad & \operatorname{arg\,max}_{a_k} \operatorname{agg}_e \textstyle\sum_i z_i \, p_{e,i}(s, a_k), \quad
a_1, \dots, a_N \sim \pi_{\text{BC}}(s),
\end{aligned}$$

where $p_{e,i}$ is the probability of atom $z_i$ according to critic $e$, $\Pi$ projects onto the atoms, and $a'$ is
selected in the same way as when acting. Both losses are averaged over the batch, and the critic loss also over the two
critics. One Adam optimiser minimises their sum. The method is a baseline in the paper of Value Flows
(arXiv 2510.07650).
"""

from dataclasses import dataclass
from typing import Literal

import jax
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, BestOfNConfig, best_of_n, published_presets, value_network
from recipes.published import c51 as published


@dataclass(frozen=True, kw_only=True)
class C51Config(BestOfNConfig):
    """C51's hyperparameters."""

    q_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the two critics in the score; the target is the mixture of their distributions."""
    num_atoms: int = 51
    """Number of atoms of the support, from the minimum to the maximum discounted return."""


def c51(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: C51Config, key: Key
) -> fz.Agent:
    """Builds the untrained C51 agent."""
    critic_key, policy_key = jax.random.split(key)
    support = fz.UniformSupport.from_rewards(reward_range, config.discount, config.num_atoms)
    network = value_network(config)
    return fz.Agent(
        critic=fz.CategoricalCritic(
            fz.Ensemble.build(
                lambda key: network(observation_dim + action_dim, support.num_atoms, key=key), 2, key=critic_key
            ),
            support,
            discount=config.discount,
            aggregation=config.aggregation,
        ),
        policy=best_of_n(config, observation_dim, action_dim, key=policy_key),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


RECIPE = Recipe(
    name="c51",
    build=c51,
    presets=published_presets(
        C51Config(),
        published.OFFLINE,
        quickstart=C51Config(**QUICKSTART, flow_steps=5, num_samples=8),
        experiments="Value Flows",
        online_env="cube-double-play-singletask-v0",
    ),
    check=buildable(c51),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
