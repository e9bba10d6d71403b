r"""InFOM: intention-conditioned successor measures, pre-trained without rewards (arXiv 2506.08902).

Pre-training uses no rewards, and has the losses

$$\begin{aligned}
\text{intention:} \quad & z \sim q(z \mid s', a'), \quad
\tfrac\lambda{d_z} D_{\text{KL}} \bigl( q(z \mid s', a') \,\big\|\, N(0, I) \bigr) \\
\text{occupancy:} \quad & (1 - \gamma) \tfrac1d \lVert v(t, (1 - t) x_0 + t s \mid s, a, z) - (s - x_0) \rVert^2
+ \gamma \tfrac1d \lVert v(t, \hat x_t \mid s, a, \text{sg}(z)) - \bar v(t, \hat x_t \mid s', a', z) \rVert^2 \\
& \hat x_t = (1 - t) \hat x_0 + t \bar\psi_1(\hat x_0 \mid s', a', z) \\
\text{cloning:} \quad & -\log \pi(a \mid s)
\end{aligned}$$

Before fine-tuning, the target flow is replaced by a copy of the flow. Fine-tuning has the first two losses, and

$$\begin{aligned}
\text{reward:} \quad & (\hat r(s) - r)^2 \\
\text{critic:} \quad & \lvert \kappa - 1[u < 0] \rvert u^2, \quad
u = \tfrac1{1 - \gamma} \tfrac1N \textstyle\sum_i \hat r\bigl(\psi_1(x_0^i \mid s, a, z)\bigr) - Q_e(s, a),
\quad z \sim N(0, I) \\
\text{policy:} \quad & -\min_e Q_e(s, f(s)) - \alpha \log \pi(a \mid s), \quad \pi = N(f(s), I),
\quad \text{in every fourth update}
\end{aligned}$$

All losses are averaged over the batch, and the critic loss also over the two critics. An Adam optimiser minimises
their sum. All N futures of a transition share one z, as in the official code since May 2026. The published scores were
obtained with an earlier version of the code, which drew a separate z for each future.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import optax

import floqzoo as fz
from floqzoo.learner import NStep
from floqzoo.runs import Recipe, RunConfig, buildable, convert_settings, standard_batches
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import aggregation, published_run
from recipes.published import infom as published


@dataclass(frozen=True, kw_only=True)
class InFOMConfig:
    """InFOM's hyperparameters, named as in its official code."""

    pretraining_steps: int = 1_000_000
    """Number of updates without rewards; the other updates of the run fine-tune."""
    lr: float = 3e-4
    """Adam's learning rate."""
    batch_size: int = 256
    """Transitions per update."""
    latent_dim: int = 512
    """Number of coordinates of an intention z."""
    kl_weight: float = 0.05
    """Weight of the KL divergence of intentions from the prior; must be tuned for each environment."""
    intention_gradient: Literal["current", "both"] = "current"
    """The occupancy terms that train the encoder: only the current state's (as published), or also the bootstrap."""
    expectile: float = 0.95
    """Expectile over intentions, in (0, 1); must be tuned for each environment."""
    alpha: float = 30.0
    """Weight of behaviour cloning in fine-tuning; must be tuned for each environment."""
    discount: float = 0.99
    """Discount in [0, 1)."""
    tau: float = 0.005
    """Polyak averaging coefficient of the target flow, in [0, 1]."""
    num_flow_goals: int = 16
    """Number of futures per value."""
    num_flow_steps: int = 10
    """Euler steps of the flow."""
    actor_freq: int = 4
    """Period of the policy's loss in fine-tuning, in updates."""
    q_agg: Literal["min", "mean"] = "min"
    """Aggregation of the two critics in the policy's loss."""
    value_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of the flow and of the critics."""
    value_layer_norm: bool = False
    """Whether the flow and the critics use layer norm."""
    intention_encoder_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of the intention encoder, which uses layer norm."""
    reward_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of the reward model, which uses layer norm."""
    actor_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of the policy's network."""

    def __post_init__(self):
        convert_settings(self)
        if self.pretraining_steps < 0:
            raise ValueError(f"`pretraining_steps` must be at least 0; got {self.pretraining_steps}.")


def infom(
    *,
    observation_dim: int,
    action_dim: int,
    reward_range: tuple[float, float],
    config: InFOMConfig,
    key: Key,
    low: Any = None,
    high: Any = None,
) -> fz.Agent:
    """Builds the untrained InFOM agent.

    Futures are clipped to [`low`, `high`], in the units of the flow; the default is [-1, 1].
    """
    del reward_range
    q_key, flow_key, encoder_key, reward_key, policy_key = jax.random.split(key, 5)
    value_network = partial(fz.MLP, hidden=config.value_hidden_dims, layer_norm=config.value_layer_norm)
    encoder = fz.MLP(
        observation_dim + action_dim,
        2 * config.latent_dim,
        hidden=config.intention_encoder_hidden_dims,
        layer_norm=True,
        key=encoder_key,
    )
    reward = fz.MLP(observation_dim, 1, hidden=config.reward_hidden_dims, layer_norm=True, key=reward_key)
    conditions = observation_dim + action_dim + config.latent_dim
    solver = fz.ClippedEuler(
        config.num_flow_steps,
        low=-np.ones(observation_dim) if low is None else low,
        high=np.ones(observation_dim) if high is None else high,
    )
    measure = fz.FlowSuccessor(
        fz.Flow(
            fz.ConditionalField(observation_dim, conditions, build=value_network, key=flow_key),
            observation_dim,
            solver=solver,
        ),
        fz.StraightTD2Target(),
        discount=config.discount,
        next_action=fz.DataNextAction(),
        from_current=True,
        bootstrap_trains_conditions=config.intention_gradient == "both",
    )
    policy_network = partial(fz.MLP, hidden=config.actor_hidden_dims, output_scale=0.01)
    adam = optax.adam(config.lr)
    return fz.Agent(
        critic=fz.IntentionCritic(
            fz.QEnsemble(observation_dim, action_dim, build=value_network, key=q_key),
            fz.IntentionSuccessor(measure, fz.IntentionEncoder(encoder, config.latent_dim), config.kl_weight),
            fz.LearntReward(reward),
            expectile=config.expectile,
            num_futures=config.num_flow_goals,
            aggregation=aggregation(config.q_agg),
        ),
        policy=fz.DDPGBCPolicy(policy_network(observation_dim, action_dim, key=policy_key), config.alpha),
        update_rule=fz.PhasedUpdate(
            fz.Phase(
                "pretraining",
                fz.JointUpdate(
                    adam,
                    critic_loss=fz.IntentionCritic.pretraining_loss,
                    policy_loss=fz.DDPGBCPolicy.cloning_loss,
                ),
                config.pretraining_steps,
            ),
            fz.Phase("finetuning", fz.JointUpdate(adam, policy_every=config.actor_freq)),
        ),
        target_update=fz.PolyakAveraging(critic=config.tau, copy_after=config.pretraining_steps or None),
    )


def with_next_actions(config: InFOMConfig) -> NStep:
    """Returns a reader of transitions that also reads the data's next actions."""
    return NStep(1, config.discount, next_action=True)


def range_of_data(task: Any, config: RunConfig) -> Mapping[str, Any]:
    """Returns the arguments `low` and `high` of `infom`, which are computed from the data.

    They are the bounds of each coordinate of the observations, slightly widened, in the units of the flow.
    """
    states = np.asarray(task.dataset.observations)
    low, high = states.min(axis=0), states.max(axis=0)
    if config.normalize_observations:
        normaliser = fz.Normaliser.from_observations(states)
        low, high = np.asarray(normaliser.normalise(low)), np.asarray(normaliser.normalise(high))
    return {"low": low - 1e-5 * (1 + np.abs(low)), "high": high + 1e-5 * (1 + np.abs(high))}


def check(config: RunConfig) -> None:
    """Checks the settings of a run.

    **Raises** `ValueError` if the run trains online, or if its pre-training phase is longer than the run, and any error
    that `infom` raises for the settings.
    """
    if config.online_steps:
        raise ValueError(
            f"`online_steps` must be 0 for infom, which trains on the dataset only; got {config.online_steps}."
        )
    if not config.start_from and config.agent.pretraining_steps > config.offline_steps:
        raise ValueError(
            f"`agent.pretraining_steps` must be at most `offline_steps`, {config.offline_steps}, which counts the updates of "
            f"both phases; got {config.agent.pretraining_steps}."
        )
    buildable(infom)(config)


def default(env_name: str | None) -> RunConfig:
    """The settings published for the environment: 1M updates without rewards, then 500k with rewards."""
    return published_run(
        env_name,
        published.OFFLINE,
        InFOMConfig(),
        otherwise="cube-single-play-singletask-v0",
        normalize_observations=True,
        offline_steps=1_500_000,
        eval_interval=50_000,
    )


def quickstart(env_name: str | None) -> RunConfig:
    """Trains small networks on a maze in minutes on two cores. Collects data if none are found."""
    small = (96, 96)
    config = InFOMConfig(
        pretraining_steps=15_000,
        lr=1e-3,
        batch_size=128,
        latent_dim=8,
        alpha=0.3,
        tau=0.01,
        num_flow_goals=8,
        num_flow_steps=4,
        value_hidden_dims=small,
        intention_encoder_hidden_dims=small,
        reward_hidden_dims=small,
        actor_hidden_dims=small,
    )
    return RunConfig(
        env_name=env_name or "pointmaze-medium-navigate-singletask-v0",
        agent=config,
        normalize_observations=True,
        run_group="quickstart",
        offline_steps=30_000,
        log_interval=1_000,
        eval_interval=15_000,
        save_interval=15_000,
        eval_episodes=20,
        collect_episodes=100,
    )


RECIPE = Recipe(
    name="infom",
    build=infom,
    presets={"default": default, "quickstart": quickstart},
    check=check,
    batch_source=partial(standard_batches, reader=with_next_actions),
    from_data=range_of_data,
)

if __name__ == "__main__":
    run_recipe(RECIPE)
