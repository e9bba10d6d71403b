r"""FQL: a one-step policy distilled from a behaviour flow, with a monolithic critic (arXiv 2502.02538).

$$\begin{aligned}
\text{critic:} \quad & \bigl( Q_e(s, a) - r - \gamma \operatorname{agg}_e \bar Q_e(s', \mu(s', x'_0)) \bigr)^2 \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{one step:} \quad & \alpha \tfrac1d \lVert \mu(s, x_0) - \psi_1(x_0 \mid s) \rVert^2
- \tfrac1E \textstyle\sum_e Q_e(s, \mu(s, x_0)),
\end{aligned}$$

where $\psi_1$ is the output of the behaviour flow, which integrates $v$ from noise to an action. All losses are
averaged over the batch, and the critic loss also over the critics. One Adam optimiser minimises their sum.

If `chunk_length` h is above 1, the method is QC-FQL (arXiv 2507.07969): an action is a chunk of h actions, and a reward
is the discounted sum of h rewards.
"""

from dataclasses import dataclass

import jax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable, small_run
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import (
    QUICKSTART,
    FreezingConfig,
    distilled_policy,
    published_run,
    value_network,
    visual_preset,
)
from recipes.published import fql as published
from recipes.published.qc import QC


@dataclass(frozen=True, kw_only=True)
class FQLConfig(FreezingConfig):
    """FQL's hyperparameters, named as in its official code."""

    ensemble_size: int = 2
    """E, the number of critics; 2 in the papers."""


def fql(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: FQLConfig, key: Key
) -> fz.Agent:
    """Builds the untrained FQL agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    network = config.residual_network if config.use_resnets else value_network(config)
    return fz.Agent(
        critic=fz.MonolithicCritic(
            fz.QEnsemble(
                observation_dim,
                config.chunk_length * action_dim,
                size=config.ensemble_size,
                build=network,
                key=critic_key,
            ),
            discount=config.discount,
            aggregation=config.aggregation,
        ),
        policy=distilled_policy(config, observation_dim, action_dim, key=policy_key),
        update_rule=fz.JointUpdate(config.optimiser),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


def default(env_name: str | None) -> RunConfig:
    """The published settings for the environment, with 1M updates."""
    return published_run(env_name, published.OFFLINE, FQLConfig())


def two_million(env_name: str | None) -> RunConfig:
    """FQL as the baseline in floq's paper: 2M updates."""
    return published_run(env_name, published.BASELINE_OF_FLOQ, FQLConfig(), offline_steps=2_000_000)


def ensemble(env_name: str | None) -> RunConfig:
    """The preset `2m` with as many critic parameters as floq."""
    return published_run(env_name, published.SAME_PARAMETERS, FQLConfig(ensemble_size=4), offline_steps=2_000_000)


def matched_flops(env_name: str | None) -> RunConfig:
    """The preset `2m` with as many FLOPs per update as floq."""
    return published_run(env_name, published.SAME_FLOPS, FQLConfig(ensemble_size=53), offline_steps=2_000_000)


def analysis(env_name: str | None) -> RunConfig:
    """The preset `2m` with the batch size of floq's analysis."""
    return published_run(env_name, published.WITH_FLOQS_BATCH, FQLConfig(), offline_steps=2_000_000)


def residual(env_name: str | None) -> RunConfig:
    """The preset `2m` with residual critics."""
    return published_run(env_name, published.RESIDUAL, FQLConfig(use_resnets=True), offline_steps=2_000_000)


def online(env_name: str | None) -> RunConfig:
    """Published settings for 1M updates, then 1M environment steps."""
    return published_run(
        env_name,
        published.ONLINE,
        FQLConfig(),
        otherwise="antsoccer-arena-navigate-singletask-v0",
        online_steps=1_000_000,
    )


def qc(env_name: str | None) -> RunConfig:
    """QC-FQL: chunks of 5 actions, alpha 100; 1M updates, 1M environment steps."""
    chunked = FQLConfig(chunk_length=5, alpha=100.0)
    return published_run(env_name, QC, chunked, online_steps=1_000_000, online_start=5_000)


def quickstart(env_name: str | None) -> RunConfig:
    """Trains small networks with a shorter horizon in minutes on two cores. Collects data if none are found."""
    return small_run(env_name, FQLConfig(**QUICKSTART, alpha=100.0, flow_steps=5))


RECIPE = Recipe(
    name="fql",
    build=fql,
    presets={
        "default": default,
        "2m": two_million,
        "ensemble": ensemble,
        "matched_flops": matched_flops,
        "residual": residual,
        "analysis": analysis,
        "online": online,
        "qc": qc,
        "visual": visual_preset(published.VISUAL, FQLConfig()),
        "quickstart": quickstart,
    },
    check=buildable(fql),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
