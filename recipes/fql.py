"""FQL: a one-step policy distilled from a behaviour flow, with a monolithic critic (arXiv 2502.02538)."""

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
class FQLConfig:
    """FQL's hyperparameters, spelt as in its code."""

    lr: float = 3e-4
    """Adam's learning rate."""
    batch_size: int = 256
    """Transitions in an update."""
    actor_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Hidden layers of the behaviour flow and of the one-step policy."""
    value_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Hidden layers of a critic."""
    layer_norm: bool = True
    """Whether critics use layer norm."""
    actor_layer_norm: bool = False
    """Whether actors use layer norm."""
    discount: float = 0.99
    """Discount in [0, 1)."""
    tau: float = 0.005
    """Step of the target critic, in [0, 1]."""
    q_agg: Literal["mean", "min"] = "mean"
    """How the two critics become one in the target."""
    alpha: float = 10.0
    """Weight of the distillation: the one number to tune for each environment."""
    flow_steps: int = 10
    """Euler steps of the behaviour flow."""
    normalize_q_loss: bool = False
    """Whether the policy's value term is divided by its mean size."""
    use_resnets: bool = False
    """Whether critics are residual networks (the FQL-ResNet baseline of floq's code)."""
    block_width: int = 512
    """Width of a residual critic."""
    block_depth: int = 4
    """Layers in each residual block."""
    num_transformations: int = 2
    """Residual blocks."""

    def __post_init__(self):
        require_choices(self)


def fql(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: FQLConfig, key: Key
) -> fz.Agent:
    """Builds the FQL agent, untrained."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    network = partial(fz.MLP, hidden=config.value_hidden_dims, layer_norm=config.layer_norm)
    if config.use_resnets:
        network = partial(
            fz.ResidualMLP,
            width=config.block_width,
            blocks=config.num_transformations,
            block_depth=config.block_depth,
            layer_norm=config.layer_norm,
        )
    return fz.Agent(
        critic=fz.MonolithicCritic(
            fz.QEnsemble(observation_dim, action_dim, build=network, key=critic_key),
            discount=config.discount,
            aggregation=fz.MinOverEnsemble() if config.q_agg == "min" else fz.MeanOverEnsemble(),
        ),
        policy=fz.DistilledFlowPolicy.build(
            observation_dim,
            action_dim,
            network=partial(fz.MLP, hidden=config.actor_hidden_dims, layer_norm=config.actor_layer_norm),
            flow_steps=config.flow_steps,
            alpha=config.alpha,
            normalise_q=config.normalize_q_loss,
            key=policy_key,
        ),
        optimiser=optax.adam(config.lr),
        tau=config.tau,
    )


PUBLISHED = {
    "antmaze-large": FQLConfig(q_agg="min"),
    "antmaze-giant": FQLConfig(discount=0.995, q_agg="min"),
    "humanoidmaze-medium": FQLConfig(discount=0.995, alpha=30.0),
    "humanoidmaze-large": FQLConfig(discount=0.995, alpha=30.0),
    "antsoccer-arena": FQLConfig(discount=0.995),
    "cube-single": FQLConfig(alpha=300.0),
    "cube-double": FQLConfig(alpha=300.0),
    "scene": FQLConfig(alpha=300.0),
    "puzzle-3x3": FQLConfig(alpha=1000.0),
    "puzzle-4x4": FQLConfig(alpha=1000.0),
}
BASELINE_OF_FLOQ = PUBLISHED | {"humanoidmaze-large": replace(PUBLISHED["humanoidmaze-large"], batch_size=512)}

ONLINE = PUBLISHED | {
    "humanoidmaze-medium": replace(PUBLISHED["humanoidmaze-medium"], alpha=100.0),
    "humanoidmaze-large": replace(BASELINE_OF_FLOQ["humanoidmaze-large"], alpha=40.0),
    "antsoccer-arena": replace(PUBLISHED["antsoccer-arena"], alpha=30.0),
}


def default(env_name: str | None) -> RunConfig:
    """The published settings of the environment, 1M updates."""
    env_name = env_name or "cube-double-play-singletask-v0"
    return RunConfig(env_name=env_name, agent=published_settings(env_name, PUBLISHED, FQLConfig()))


def two_million(env_name: str | None) -> RunConfig:
    """FQL as floq's paper compares itself with it: 2M updates."""
    env_name = env_name or "cube-double-play-singletask-v0"
    agent = published_settings(env_name, BASELINE_OF_FLOQ, FQLConfig())
    return RunConfig(env_name=env_name, agent=agent, offline_steps=2_000_000)


def online(env_name: str | None) -> RunConfig:
    """The settings published for offline-to-online: 1M updates, then 1M steps in the environment."""
    env_name = env_name or "antsoccer-arena-navigate-singletask-v0"
    agent = published_settings(env_name, ONLINE, FQLConfig())
    return RunConfig(env_name=env_name, agent=agent, offline_steps=1_000_000, online_steps=1_000_000)


def quickstart(env_name: str | None) -> RunConfig:
    """Minutes on two cores: small networks, a shorter horizon, data collected on this machine."""
    small = FQLConfig(
        lr=1e-3,
        batch_size=192,
        actor_hidden_dims=(128, 128, 128),
        value_hidden_dims=(96, 96),
        discount=0.97,
        tau=0.02,
        alpha=100.0,
        flow_steps=5,
    )
    return small_run(env_name, small)


RECIPE = Recipe(
    name="fql",
    build=fql,
    presets={"default": default, "2m": two_million, "online": online, "quickstart": quickstart},
    check=buildable(fql),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
