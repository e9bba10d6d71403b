"""Settings and parts of agents that several recipes share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import optax

import floqzoo as fz
from floqzoo.policies.chunked_policy import require_chunks
from floqzoo.protocols import Network, Policy
from floqzoo.runs import Preset, RunConfig, convert_settings, published_settings, small_run
from floqzoo.typing import Key


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The pixel encoder's setting, named as in the official code of FQL."""

    encoder: Literal["impala_small"] | None = None
    """On pixel tasks, the encoder of each network; None for vector observations."""

    def __post_init__(self):
        convert_settings(self)


@dataclass(frozen=True, kw_only=True)
class CloningConfig(EncoderConfig):
    """Settings of behaviour cloning, named as in the official code of FQL."""

    lr: float = 3e-4
    """Adam's learning rate."""
    batch_size: int = 256
    """Transitions per update."""
    actor_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of the policy's network."""
    actor_layer_norm: bool = False
    """Whether the network uses layer norm."""


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(EncoderConfig):
    """Settings of all actor-critic methods, named as in the official code of FQL."""

    lr: float = 3e-4
    """Adam's learning rate."""
    batch_size: int = 256
    """Transitions per update."""
    actor_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of the policy's networks."""
    value_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of monolithic value networks."""
    layer_norm: bool = True
    """Whether critics use layer norm."""
    actor_layer_norm: bool = False
    """Whether actors use layer norm."""
    discount: float = 0.99
    """Discount in [0, 1)."""
    tau: float = 0.005
    """Polyak averaging coefficient of the target networks, in [0, 1]."""
    n_step: int = 1
    """Number of steps of the n-step returns in TD targets, at least 1."""

    def __post_init__(self):
        super().__post_init__()
        if self.n_step < 1:
            raise ValueError(f"`n_step` must be at least 1; got {self.n_step}.")


@dataclass(frozen=True, kw_only=True)
class ChunkedConfig(ActorCriticConfig):
    """Settings of methods that can act in chunks."""

    chunk_length: int = 1
    """Number of steps of an action chunk; 1 for single actions, 5 in QC."""
    execution_horizon: int | None = None
    """Number of steps of a chunk that are executed before the next one is drawn; None for all."""

    def __post_init__(self):
        super().__post_init__()
        require_chunks(self.chunk_length, self.execution_horizon)
        if self.n_step > 1 and self.chunk_length > 1:
            raise ValueError(
                f"`n_step` must be 1 with `chunk_length` {self.chunk_length}, since a chunk's return has as many steps as "
                f"the chunk; got {self.n_step}."
            )

    def chunked(self, policy: Policy) -> Policy:
        """Wraps a policy over flat chunks in a `ChunkedPolicy`; returns it unchanged if `chunk_length` is 1."""
        if self.chunk_length == 1:
            return policy
        return fz.ChunkedPolicy(policy, self.chunk_length, self.execution_horizon)


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig(ActorCriticConfig):
    """Settings of methods with an ensemble of critics, whose values are aggregated."""

    q_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the critics in the target."""

    @property
    def aggregation(self) -> fz.MinOverEnsemble | fz.MeanOverEnsemble:
        """The aggregation that `q_agg` selects."""
        return aggregation(self.q_agg)


@dataclass(frozen=True, kw_only=True)
class BestOfNConfig(EnsembleConfig):
    """Settings of distributional methods whose policy is best-of-N sampling."""

    actor_layer_norm: bool = True
    """Whether actors use layer norm."""
    num_samples: int = 16
    """N, the number of candidate actions."""
    flow_steps: int = 10
    """Euler steps of the behaviour flow."""


@dataclass(frozen=True, kw_only=True)
class DistilledPolicyConfig(EnsembleConfig, ChunkedConfig):
    """Settings of the methods that use FQL's policy, including floq."""

    alpha: float = 10.0
    """Weight of the policy's distillation: the main hyperparameter to tune for each environment."""
    flow_steps: int = 10
    """Euler steps of the behaviour flow."""
    normalize_q_loss: bool = False
    """Whether the Q term of the policy's loss is divided by the mean absolute Q."""
    use_resnets: bool = False
    """Whether critics are residual networks."""
    block_width: int = 512
    """Width of residual critics, and of all flow critics."""
    block_depth: int = 4
    """Layers in each block of a residual critic, or hidden layers of a plain flow critic."""
    num_transformations: int = 2
    """Number of residual blocks in a residual critic."""
    target_noise_magnitude: float = 0.0
    """Standard deviation of Gaussian noise in TD targets, in units of reward."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.target_noise_magnitude < math.inf:
            raise ValueError(
                f"`target_noise_magnitude` must be at least 0 and finite; got {self.target_noise_magnitude}."
            )

    @property
    def residual_network(self) -> Callable[..., Network]:
        """A function that builds residual networks with these settings."""
        network = partial(
            fz.ResidualMLP,
            width=self.block_width,
            blocks=self.num_transformations,
            block_depth=self.block_depth,
            layer_norm=self.layer_norm,
        )
        return encoded(self, network)


@dataclass(frozen=True, kw_only=True)
class FreezingConfig(DistilledPolicyConfig):
    """Settings of floq and FQL, whose critics' features can be frozen during training."""

    features_frozen_after: int | None = None
    """Number of updates after which only the last layers of the critic's networks are trained; None for never."""

    def __post_init__(self):
        super().__post_init__()
        if self.features_frozen_after is None:
            return
        if self.features_frozen_after < 0:
            raise ValueError(f"`features_frozen_after` must be at least 0; got {self.features_frozen_after}.")
        if self.use_resnets:
            raise ValueError("`use_resnets` must be False if `features_frozen_after` is set; got True.")

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Adam, without steps of frozen features. floq's distilled critic is never frozen."""
        adam = optax.adam(self.lr)
        if self.features_frozen_after is None:
            return adam
        return fz.freeze_features_after(self.features_frozen_after, adam, except_for=("distilled",))


def aggregation(name: Literal["mean", "min"]) -> fz.MinOverEnsemble | fz.MeanOverEnsemble:
    """Returns the aggregation over ensemble members that `name` selects."""
    return fz.MinOverEnsemble() if name == "min" else fz.MeanOverEnsemble()


def encoded(config: EncoderConfig, network: Callable[..., Network]) -> Callable[..., Network]:
    """Returns a function that builds the same networks as `network`, with a pixel encoder if the settings have one."""
    if config.encoder is None:
        return network
    return partial(fz.PixelNetwork, build=network, encoder=fz.impala_small)


def value_network(config: ActorCriticConfig) -> Callable[..., Network]:
    """Returns a function that builds monolithic value networks with these settings."""
    return encoded(config, partial(fz.MLP, hidden=config.value_hidden_dims, layer_norm=config.layer_norm))


def actor_network(config: ActorCriticConfig | CloningConfig, **changes: Any) -> Callable[..., Network]:
    """Returns a function that builds policy networks with these settings; `changes` are passed to `MLP`."""
    network = partial(fz.MLP, hidden=config.actor_hidden_dims, layer_norm=config.actor_layer_norm, **changes)
    return encoded(config, network)


def refuse_encoder(config: EncoderConfig, method: str) -> None:
    """Checks that no encoder is set for a method that cannot learn from pixels.

    **Raises** `ValueError` if the settings have an encoder.
    """
    if config.encoder is not None:
        raise ValueError(f"`encoder` must be None for {method}, which takes no pixels; got {config.encoder!r}.")


def distilled_policy(config: DistilledPolicyConfig, observation_dim: int, action_dim: int, *, key: Key) -> Policy:
    """Builds FQL's policy, which draws single actions or, if `chunk_length` is above 1, action chunks."""
    policy = fz.DistilledFlowPolicy.build(
        observation_dim,
        config.chunk_length * action_dim,
        network=actor_network(config),
        flow_steps=config.flow_steps,
        alpha=config.alpha,
        normalise_q=config.normalize_q_loss,
        key=key,
    )
    return config.chunked(policy)


def behaviour_flow(config: Any, observation_dim: int, action_dim: int, *, key: Key) -> fz.BehaviourFlow:
    """Builds a behaviour flow with the settings of a method.

    - `config`: The settings of the method, which must include `flow_steps`.
    """
    return fz.BehaviourFlow.build(
        observation_dim, action_dim, network=actor_network(config), flow_steps=config.flow_steps, key=key
    )


def best_of_n(config: Any, observation_dim: int, action_dim: int, *, key: Key) -> fz.BestOfNPolicy:
    """Builds a policy that selects the best of N actions of a behaviour flow.

    - `config`: The settings of the method, which must include `num_samples` and `flow_steps`.
    """
    return fz.BestOfNPolicy(behaviour_flow(config, observation_dim, action_dim, key=key), config.num_samples)


def published_run(
    env_name: str | None,
    table: Mapping[str, Mapping[str, Any]],
    defaults: Any,
    *,
    otherwise: str = "cube-double-play-singletask-v0",
    **run: Any,
) -> RunConfig:
    """Returns the settings of a run, in which the agent has the settings published for the environment.

    - `env_name`: The name of the environment; None for `otherwise`.
    - `table`, `defaults`: As in `published_settings`.
    - `run`: Other fields of the `RunConfig`.
    """
    env_name = env_name or otherwise
    return RunConfig(env_name=env_name, agent=published_settings(env_name, table, defaults), **run)


def visual_preset(table: Mapping[str, Mapping[str, Any]], defaults: Any) -> Preset:
    """Returns the preset `visual` of a baseline, for pixel tasks as in the experiments of FQL.

    - `table`: The published settings by environment.
    - `defaults`: The settings of the method.
    """

    def visual(env_name: str | None) -> RunConfig:
        """The published settings for pixels: impala_small, 3 frames, random crops; 500k updates."""
        return published_run(
            env_name,
            table,
            replace(defaults, encoder="impala_small"),
            otherwise="visual-cube-single-play-singletask-task1-v0",
            offline_steps=500_000,
            frame_stack=3,
            p_aug=0.5,
        )

    return visual


def published_presets(
    defaults: Any,
    offline: Mapping[str, Mapping[str, Any]],
    *,
    quickstart: Any,
    online: Mapping[str, Mapping[str, Any]] | None = None,
    online_defaults: Any = None,
    experiments: str = "FQL",
    online_env: str = "antsoccer-arena-navigate-singletask-v0",
) -> dict[str, Preset]:
    """Returns the presets `default`, `online` and `quickstart` of a method that is a baseline in a paper's experiments.

    - `defaults`: The default settings of the method.
    - `offline`, `online`: The published settings by environment, for the presets `default` and `online`. If `online` is
      None, `offline` is used for both.
    - `online_defaults`: The default settings of the method for the preset `online`; None for `defaults`.
    - `quickstart`: The settings of the method for the preset `quickstart`.
    - `experiments`: The method whose paper describes the experiments.
    - `online_env`: The default environment of the preset `online`.
    """

    def default(env_name: str | None) -> RunConfig:
        return published_run(env_name, offline, defaults)

    default.__doc__ = (
        f"The settings published for the environment in the experiments of {experiments}, with 1M updates."
    )

    def offline_to_online(env_name: str | None) -> RunConfig:
        """Offline-to-online training with published settings: 1M updates, then 1M environment steps."""
        return published_run(
            env_name,
            offline if online is None else online,
            defaults if online_defaults is None else online_defaults,
            otherwise=online_env,
            online_steps=1_000_000,
        )

    def small(env_name: str | None) -> RunConfig:
        """Trains small networks with a shorter horizon in minutes on two cores. Collects data if none are found."""
        return small_run(env_name, quickstart)

    return {"default": default, "online": offline_to_online, "quickstart": small}


QUICKSTART: Mapping[str, Any] = {
    "lr": 1e-3,
    "batch_size": 192,
    "actor_hidden_dims": (128, 128, 128),
    "value_hidden_dims": (96, 96),
    "discount": 0.97,
    "tau": 0.02,
}
"""Settings for small networks and a shorter horizon, with which a run takes minutes on two cores."""
