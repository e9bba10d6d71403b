r"""floq: Q-values as the outputs of a flow (arXiv 2509.06863).

The flow of the velocity field $v_\theta(t, z \mid s, a)$ transforms noise $z_0 \sim U[\ell, u]$ into a value in K Euler
steps. With $m$ noise samples per transition and TD targets
$y = r + \gamma \, \frac1m \sum_i \bar z_1(s', a'_i, z'_i)$, the losses are

$$\begin{aligned}
\text{flow:} \quad & \sum_{j=1}^m \bigl( v_\theta(t_j, (1 - t_j) z_j + t_j y \mid s, a) - (y - z_j) \bigr)^2 \\
\text{distillation:} \quad & \Bigl( Q_\omega(s, a) - \tfrac1m \textstyle\sum_j z_1(s, a, z_j) \Bigr)^2 \\
\text{policy:} \quad & \mathcal L_{\text{flow BC}} + \alpha \tfrac1d \lVert \mu(s, x_0) - \psi_1(x_0 \mid s) \rVert^2
- Q_\omega(s, \mu(s, x_0)),
\end{aligned}$$

where $\psi_1$ is the output of the behaviour flow. All losses are averaged over the batch, and the flow loss also over
the two critics. One Adam optimiser minimises their sum.

If `chunk_length` h is above 1, the method is chunked floq: as in QC (arXiv 2507.07969), an action is a chunk of h
actions, and a reward is the discounted sum of h rewards.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import jax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable, small_run
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import (
    QUICKSTART,
    FreezingConfig,
    distilled_policy,
    encoded,
    published_run,
    value_network,
)
from recipes.published import floq as published


@dataclass(frozen=True, kw_only=True)
class FloqConfig(FreezingConfig):
    """floq's hyperparameters, named as in its official code."""

    critic_flow_steps: int = 8
    """K, the number of Euler steps of the flow critics; recommended: 4, 8, 16."""
    noise_samples: int = 8
    """Number of noise samples for each transition."""
    distillation_samples: int | None = None
    """Number of noise samples that train the distilled critic; None for all, as in the paper. Fewer are faster."""
    noise_coverage: float = 0.1
    """Width of the noise interval as a fraction of the range of returns; recommended: 0.1, 0.25."""
    reward_offset: float = 0.01
    """Margin of the value embedding's range, in units of reward."""
    use_prob_embed: bool = True
    """Whether values are embedded as smoothed histograms (HL-Gauss) or only normalised."""
    num_bins: int = 51
    """Number of bin edges of the HL-Gauss value embedding."""
    sigma: float = 16.0
    """Width of HL-Gauss's Gaussian, in bins."""
    embed_time: Literal["cosine", "fourier", "raw"] = "cosine"
    """The time embedding of the flow critics: cos(t) (the official code), 64 cosines (the paper), or t."""
    backup: Literal["expected", "distributional"] = "expected"
    """TD target of a noise sample: the mean over noise samples (floq), or a single sample."""
    train_at_zero_only: bool = False
    """Whether flow critics are trained only at t = 0: the one-step ablation, with critic_flow_steps = 1."""


def floq(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: FloqConfig, key: Key
) -> fz.Agent:
    """Builds the untrained floq agent."""
    chunk_dim = config.chunk_length * action_dim
    prior = fz.UniformPrior.from_rewards(reward_range, config.discount, noise_coverage=config.noise_coverage)
    field_key, distilled_key, policy_key = jax.random.split(key, 3)
    plain = partial(fz.MLP, hidden=(config.block_width,) * config.block_depth, layer_norm=config.layer_norm)
    make_field = partial(
        fz.ConditionalField,
        1,
        observation_dim + chunk_dim,
        build=config.residual_network if config.use_resnets else encoded(config, plain),
        time_embedding=TIME_EMBEDDINGS[config.embed_time],
        point_embedding=value_embedding(reward_range, config),
    )
    critic = fz.FlowCritic(
        fz.Ensemble.build(lambda key: make_field(key=key), 2, key=field_key),
        fz.QEnsemble(observation_dim, chunk_dim, build=value_network(config), key=distilled_key),
        prior,
        solver=fz.Euler(config.critic_flow_steps),
        discount=config.discount,
        num_noise_samples=config.noise_samples,
        num_distillation_samples=config.distillation_samples,
        aggregation=config.aggregation,
        backup=BACKUPS[config.backup],
        times=fz.ZeroTime() if config.train_at_zero_only else fz.UniformTime(),
    )
    return fz.Agent(
        critic=critic,
        policy=distilled_policy(config, observation_dim, action_dim, key=policy_key),
        update_rule=fz.JointUpdate(config.optimiser),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


BACKUPS = {"expected": fz.ExpectedBackup(), "distributional": fz.DistributionalBackup()}
TIME_EMBEDDINGS = {"cosine": fz.CosineTime(), "fourier": fz.FourierTime(64), "raw": fz.RawTime()}


def value_embedding(reward_range: tuple[float, float], config: FloqConfig) -> fz.HLGauss | fz.NormalisedValue:
    """Returns the embedding of values, whose range is the range of returns extended by a margin.

    **Raises** `ValueError` if the margin is negative, and any error that the embedding raises.
    """
    if not config.reward_offset >= 0:
        raise ValueError(f"`reward_offset` must be at least 0; got {config.reward_offset}.")
    low = (reward_range[0] - config.reward_offset) / (1 - config.discount)
    high = (reward_range[1] + config.reward_offset) / (1 - config.discount)
    if config.use_prob_embed:
        return fz.HLGauss(low, high, edges=config.num_bins, sigma=config.sigma)
    return fz.NormalisedValue(low, high)


def default(env_name: str | None) -> RunConfig:
    """The published settings for the environment (floq-def); 2M updates."""
    return published_run(env_name, published.DEFAULT, FloqConfig(), offline_steps=2_000_000)


def best(env_name: str | None) -> RunConfig:
    """The best published settings for the environment (floq-best); 2M updates."""
    return published_run(env_name, published.BEST, FloqConfig(), offline_steps=2_000_000)


def online(env_name: str | None) -> RunConfig:
    """Published settings for 1M updates, then 2M environment steps."""
    return published_run(
        env_name,
        published.ONLINE,
        FloqConfig(),
        otherwise="antsoccer-arena-navigate-singletask-v0",
        offline_steps=1_000_000,
        online_steps=2_000_000,
    )


def analysis(env_name: str | None) -> RunConfig:
    """The settings of floq's analysis (arXiv 2603.04333); 2M updates."""
    return published_run(env_name, published.ANALYSIS, FloqConfig(), offline_steps=2_000_000)


def fast(env_name: str | None) -> RunConfig:
    """The published settings, with the distilled critic trained on one noise sample: 1.2 to 1.3 times as fast."""
    run = default(env_name)
    return replace(run, agent=replace(run.agent, distillation_samples=1))


def chunked(env_name: str | None) -> RunConfig:
    """The published settings with chunks of 5 actions, not tuned for them."""
    run = default(env_name)
    return replace(run, agent=replace(run.agent, chunk_length=5))


def quickstart(env_name: str | None) -> RunConfig:
    """Trains small networks with a shorter horizon in minutes on two cores. Collects data if none are found."""
    small = FloqConfig(
        **QUICKSTART,
        alpha=100.0,
        critic_flow_steps=4,
        flow_steps=5,
        noise_samples=2,
        block_width=96,
        block_depth=2,
    )
    return small_run(env_name, small)


RECIPE = Recipe(
    name="floq",
    build=floq,
    presets={
        "default": default,
        "best": best,
        "online": online,
        "analysis": analysis,
        "fast": fast,
        "chunked": chunked,
        "quickstart": quickstart,
    },
    check=buildable(floq),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
