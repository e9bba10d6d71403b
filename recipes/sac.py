r"""SAC, soft actor-critic (arXiv 1812.05905), and RLPD, SAC with half of each batch from the data (arXiv 2302.02948).

$$\begin{aligned}
\text{critic:} \quad & \bigl( Q_e(s, a) - r - \gamma \operatorname{agg}_e \bar Q_e(s', a') \bigr)^2,
\quad a' \sim \pi(\cdot \mid s') \\
\text{policy:} \quad & \beta \log \pi(a \mid s) - \tfrac1E \textstyle\sum_e Q_e(s, a),
\quad a \sim \pi(\cdot \mid s) \\
\text{temperature:} \quad & \beta \, (\mathcal H - \bar{\mathcal H}), \quad \mathcal H = -\mathbb E \log \pi(a \mid s),
\quad \bar{\mathcal H} = -m d,
\end{aligned}$$

where $\beta$ is the temperature, $m$ the setting `target_entropy_multiplier`, and $d$ the number of action coordinates.
All losses are averaged over the batch, and the critic loss also over the critics. One Adam optimiser minimises their
sum. By default, the TD target has no entropy bonus, as in the official code of FQL. All presets train online from
the first step, because in offline training only `bc_alpha` would keep the policy close to the data.
"""

from dataclasses import dataclass, replace
from typing import Literal

import jax
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable, small_run
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, EnsembleConfig, actor_network, aggregation, published_run, value_network
from recipes.published import sac as published


@dataclass(frozen=True, kw_only=True)
class SACConfig(EnsembleConfig):
    """SAC's hyperparameters, named as in the official code of FQL where it has them."""

    q_agg: Literal["mean", "min"] = "min"
    """Aggregation of the critics in the target. The default of FQL's code is min, but FQL's paper mentions min only
    for adroit, so it is unclear which one its RLPD experiments on OGBench used."""
    actor_q_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the critics that the policy maximises: mean in FQL's code, min in SAC's paper."""
    num_qs: int = 2
    """Number of critics: 2 in FQL's code, 10 in RLPD's paper and in QC's code."""
    target_entropy_multiplier: float = 0.5
    """m: the target entropy is -m times the number of action coordinates. 0.5 in FQL's code, 1 in SAC's paper."""
    backup_entropy: bool = False
    """Whether the TD target includes the entropy bonus, as in SAC's paper but not in FQL's code."""
    bc_alpha: float = 0.0
    """Weight of behaviour cloning by maximum likelihood; the published weights belong to another agent (QAM)."""


def sac(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: SACConfig, key: Key
) -> fz.Agent:
    """Builds the untrained SAC agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    networks = fz.QEnsemble(
        observation_dim, action_dim, size=config.num_qs, build=value_network(config), key=critic_key
    )
    network = actor_network(config, output_scale=0.01)(observation_dim, 2 * action_dim, key=policy_key)
    return fz.Agent(
        critic=fz.SACCritic(
            networks,
            discount=config.discount,
            aggregation=config.aggregation,
            score_aggregation=aggregation(config.actor_q_agg),
            entropy_backup=config.backup_entropy,
        ),
        policy=fz.TanhGaussianPolicy(
            network,
            entropy_multiplier=config.target_entropy_multiplier,
            alpha_bc=config.bc_alpha,
        ),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


def rlpd(env_name: str | None) -> RunConfig:
    """RLPD in the experiments of FQL: 1M environment steps from scratch, half of each batch from the dataset."""
    return published_run(
        env_name,
        published.ONLINE,
        SACConfig(),
        otherwise="scene-play-singletask-v0",
        offline_steps=0,
        online_steps=1_000_000,
        balanced_sampling=True,
    )


def default(env_name: str | None) -> RunConfig:
    """1M environment steps from scratch, with a replay buffer initialised with the dataset."""
    return replace(rlpd(env_name), balanced_sampling=False)


def quickstart(env_name: str | None) -> RunConfig:
    """RLPD with small networks: 15,000 environment steps on cube-single. Collects data if none are found."""
    return replace(
        small_run(env_name, SACConfig(**QUICKSTART)),
        offline_steps=0,
        online_steps=15_000,
        eval_interval=5_000,
        save_interval=5_000,
        balanced_sampling=True,
    )


RECIPE = Recipe(
    name="sac",
    build=sac,
    presets={"default": default, "rlpd": rlpd, "quickstart": quickstart},
    check=buildable(sac),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
