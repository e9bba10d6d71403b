"""floq: Q-values as the ends of a learnt flow (arXiv 2509.06863)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import jax
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable, published_settings, require_choices, small_run
from floqzoo.training import run_recipe
from floqzoo.typing import Key


@dataclass(frozen=True, kw_only=True)
class FloqConfig:
    """floq's hyperparameters, spelt as in its code."""

    lr: float = 3e-4
    """Adam's learning rate."""
    batch_size: int = 256
    """Transitions in an update."""
    actor_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Hidden layers of the behaviour flow and of the one-step policy."""
    value_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Hidden layers of the distilled readout."""
    layer_norm: bool = True
    """Whether critics use layer norm."""
    actor_layer_norm: bool = False
    """Whether actors use layer norm."""
    discount: float = 0.99
    """Discount in [0, 1)."""
    tau: float = 0.005
    """Step of the target critic, in [0, 1]."""
    q_agg: Literal["mean", "min"] = "mean"
    """How the two flow critics become one in the target."""
    alpha: float = 10.0
    """Weight of the distillation of the policy: the number to tune for each environment."""
    critic_flow_steps: int = 8
    """K, the Euler steps of the flow critics; 4, 8 and 16 are worth a try."""
    actor_flow_steps: int = 10
    """Euler steps of the behaviour flow."""
    noise_samples: int = 8
    """Noise copies of each transition."""
    readout_samples: int | None = None
    """From how many of them the readout is learnt; None, the paper's way, is all, and fewer are faster."""
    integrate_together: bool = False
    """Whether the target's and the online flows are integrated as one ensemble: for accelerators."""
    noise_coverage: float = 0.1
    """Width of the noise interval as a share of the range of returns; 0.1 and 0.25 are worth a try."""
    reward_offset: float = 0.01
    """Margin of the value embedding's range, in units of reward."""
    use_prob_embed: bool = True
    """Whether the value is embedded as a smoothed histogram (HL-Gauss), or only normalised."""
    num_bins: int = 51
    """Edges of that histogram."""
    sigma: float = 16.0
    """Width of its Gaussian, in bins."""
    embed_time: Literal["cosine", "fourier", "raw"] = "cosine"
    """What the flow critics see of the time: cos(t) (the released code), 64 cosines (the paper), or t."""
    block_width: int = 512
    """Width of the flow critics."""
    block_depth: int = 4
    """Hidden layers of the flow critics, or of each block of residual ones."""
    use_resnets: bool = False
    """Whether the flow critics are residual networks."""
    num_transformations: int = 2
    """Residual blocks."""
    train_at_zero_only: bool = False
    """Whether the flow critics are trained at t = 0 only: the one-step ablation, with critic_flow_steps = 1."""
    normalize_q_loss: bool = False
    """Whether the policy's value term is divided by its mean size."""

    def __post_init__(self):
        require_choices(self)


def floq(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: FloqConfig, key: Key
) -> fz.Agent:
    """Builds the floq agent, untrained."""
    prior = fz.Uniform.from_rewards(reward_range, config.discount, noise_coverage=config.noise_coverage)
    field_key, readout_key, policy_key = jax.random.split(key, 3)
    make_field = partial(
        fz.ConditionalField,
        1,
        observation_dim + action_dim,
        build=velocity_network(config),
        time_embedding=TIME_EMBEDDINGS[config.embed_time],
        point_embedding=value_embedding(reward_range, config),
    )
    return fz.Agent(
        critic=fz.FlowCritic(
            fz.Ensemble.build(lambda key: make_field(key=key), 2, key=field_key),
            fz.QEnsemble(
                observation_dim,
                action_dim,
                build=partial(fz.MLP, hidden=config.value_hidden_dims, layer_norm=config.layer_norm),
                key=readout_key,
            ),
            prior,
            solver=fz.Euler(config.critic_flow_steps),
            discount=config.discount,
            copies=config.noise_samples,
            readout_copies=config.readout_samples,
            integrate_together=config.integrate_together,
            aggregation=fz.MinOverEnsemble() if config.q_agg == "min" else fz.MeanOverEnsemble(),
            times=fz.ZeroTime() if config.train_at_zero_only else fz.UniformTime(),
        ),
        policy=fz.DistilledFlowPolicy.build(
            observation_dim,
            action_dim,
            network=partial(fz.MLP, hidden=config.actor_hidden_dims, layer_norm=config.actor_layer_norm),
            flow_steps=config.actor_flow_steps,
            alpha=config.alpha,
            normalise_q=config.normalize_q_loss,
            key=policy_key,
        ),
        optimiser=optax.adam(config.lr),
        tau=config.tau,
    )


TIME_EMBEDDINGS = {"cosine": fz.CosineTime(), "fourier": fz.FourierTime(64), "raw": fz.RawTime()}


def velocity_network(config: FloqConfig) -> partial:
    """The network of a flow critic: plain or residual."""
    if config.use_resnets:
        return partial(
            fz.ResidualMLP,
            width=config.block_width,
            blocks=config.num_transformations,
            block_depth=config.block_depth,
            layer_norm=config.layer_norm,
        )
    return partial(fz.MLP, hidden=(config.block_width,) * config.block_depth, layer_norm=config.layer_norm)


def value_embedding(reward_range: tuple[float, float], config: FloqConfig) -> fz.HLGauss | fz.NormalisedValue:
    """The embedding of a value over the range of returns, with a margin."""
    low = (reward_range[0] - config.reward_offset) / (1 - config.discount)
    high = (reward_range[1] + config.reward_offset) / (1 - config.discount)
    if config.use_prob_embed:
        return fz.HLGauss(low, high, edges=config.num_bins, sigma=config.sigma)
    return fz.NormalisedValue(low, high)


DEFAULT = {
    "antmaze-large": FloqConfig(),
    "antmaze-giant": FloqConfig(discount=0.995, batch_size=512, q_agg="min"),
    "humanoidmaze-medium": FloqConfig(discount=0.995, alpha=30.0),
    "humanoidmaze-large": FloqConfig(discount=0.995, batch_size=512, alpha=20.0),
    "antsoccer-arena": FloqConfig(discount=0.995),
    "cube-single": FloqConfig(alpha=300.0, block_depth=2),
    "cube-double": FloqConfig(alpha=300.0, block_depth=2),
    "scene": FloqConfig(alpha=300.0),
    "puzzle-3x3": FloqConfig(alpha=1000.0),
    "puzzle-4x4": FloqConfig(alpha=1000.0),
}
BEST = DEFAULT | {
    "antmaze-giant": replace(DEFAULT["antmaze-giant"], critic_flow_steps=4),
    "puzzle-4x4": replace(DEFAULT["puzzle-4x4"], noise_coverage=0.25),
}
ONLINE = BEST | {
    "humanoidmaze-large": replace(DEFAULT["humanoidmaze-large"], critic_flow_steps=16),
    "antsoccer-arena": replace(DEFAULT["antsoccer-arena"], alpha=30.0),
}


def default(env_name: str | None) -> RunConfig:
    """The published settings of the environment (floq-def), 2M updates."""
    env_name = env_name or "cube-double-play-singletask-v0"
    agent = published_settings(env_name, DEFAULT, FloqConfig())
    return RunConfig(env_name=env_name, agent=agent, offline_steps=2_000_000)


def best(env_name: str | None) -> RunConfig:
    """The best published settings of the environment (floq-best), 2M updates."""
    env_name = env_name or "cube-double-play-singletask-v0"
    agent = published_settings(env_name, BEST, FloqConfig())
    return RunConfig(env_name=env_name, agent=agent, offline_steps=2_000_000)


def online(env_name: str | None) -> RunConfig:
    """The settings published for offline-to-online: 1M updates, then 2M steps in the environment."""
    env_name = env_name or "antsoccer-arena-navigate-singletask-v0"
    agent = published_settings(env_name, ONLINE, FloqConfig())
    return RunConfig(env_name=env_name, agent=agent, offline_steps=1_000_000, online_steps=2_000_000)


def fast(env_name: str | None) -> RunConfig:
    """The published settings, but the readout is learnt from one noise copy: 1.2 to 1.3 times the updates a second."""
    run = default(env_name)
    return replace(run, agent=replace(run.agent, readout_samples=1))


def quickstart(env_name: str | None) -> RunConfig:
    """Minutes on two cores: small networks, a shorter horizon, data collected on this machine."""
    small = FloqConfig(
        lr=1e-3,
        batch_size=192,
        actor_hidden_dims=(128, 128, 128),
        value_hidden_dims=(96, 96),
        discount=0.97,
        tau=0.02,
        alpha=100.0,
        critic_flow_steps=4,
        actor_flow_steps=5,
        noise_samples=2,
        block_width=96,
        block_depth=2,
    )
    return small_run(env_name, small)


RECIPE = Recipe(
    name="floq",
    build=floq,
    presets={"default": default, "best": best, "online": online, "fast": fast, "quickstart": quickstart},
    check=buildable(floq),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
