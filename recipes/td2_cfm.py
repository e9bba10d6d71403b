r"""TD²-CFM: successor measures as flows, learnt by temporal differences (arXiv 2503.09817).

$$\mathbb E \, (1 - \gamma) \tfrac1d \lVert v_\theta(t, x_t \mid s, a) - (s' - x_0) \rVert^2
+ \gamma \tfrac1d \lVert v_\theta(t, \hat x_t \mid s, a) - v_{\bar\theta}(t, \hat x_t \mid s', a') \rVert^2,$$

where $x_t = (1 - t) x_0 + t s'$, and $\hat x_t$ is the point that the target flow of $(s', a')$ reaches at time $t$ from
another noise sample. The other methods differ in the second term; see `floqzoo/successor/targets.py`.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import optax

import floqzoo as fz
from floqzoo.learner import GeometricFuture
from floqzoo.networks import Normaliser
from floqzoo.protocols import Policy, RewardModel
from floqzoo.runs import Recipe, RunConfig, convert_settings, standard_batches, trained_policy
from floqzoo.studies.successor_recipe import (
    parts_from_data,
    report_seed,
    run_successor_recipe,
    successor_check,
)
from floqzoo.successor import (
    METHODS,
    DataNextAction,
    FamilySuccessor,
    LatentPolicy,
    LearntReward,
    PolicyNextAction,
    SuccessorCritic,
)
from floqzoo.typing import Key


@dataclass(frozen=True, kw_only=True)
class TD2Config:
    """TD-Flow's hyperparameters; our own choices are marked."""

    method: Literal["mc-cfm", "td-cfm", "td-cfm-c", "td2-cfm", "td-dd", "td2-dd"] = "td2-cfm"
    """The target and the model: flows by Monte Carlo, TD, coupled TD or TD², or diffusions by TD or TD²."""
    measure_of: Literal["behaviour", "clone", "trained", "family"] = "behaviour"
    """The policy of the measure: the behaviour policy, its clone, a finished run's, or all policies of an FB run."""
    policy_run: str = ""
    """The folder of the finished run that trained the policy or policies."""
    curved: bool = False
    """Whether the path of a flow is trigonometric (curved) instead of linear."""
    lr: float = 1e-4
    """AdamW's learning rate (our choice)."""
    weight_decay: float = 1e-3
    """AdamW's weight decay."""
    batch_size: int = 1024
    """Transitions per update."""
    discount: float = 0.99
    """Discount in [0, 1)."""
    tau: float = 0.001
    """Polyak averaging coefficient of the target measure, in [0, 1]."""
    flow_steps: int = 10
    """Midpoint steps per flow solve, including solves to t < 1."""
    diffusion_steps: int = 20
    """DDIM steps of a diffusion."""
    network: Literal["unet", "mlp"] = "unet"
    """The network: the paper's U-Net of dense layers, or an MLP."""
    widths: tuple[int, ...] = (512, 256, 128)
    """Widths of the levels of the U-Net (our choice)."""
    embedding: int = 256
    """Size of the embeddings of time and condition (our choice)."""
    hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of the MLP, of the reward model and of the cloned policy (our choice)."""
    count: int = 128
    """Number of sampled futures in the estimate of a value."""

    def __post_init__(self):
        convert_settings(self)
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"`weight_decay` must be at least 0 and finite; got {self.weight_decay}.")
        if (self.measure_of in ("trained", "family")) != bool(self.policy_run):
            raise ValueError(
                "`policy_run` must be the folder of a run if `measure_of` is 'trained' or 'family', and empty otherwise; got "
                f"{self.policy_run!r} with `measure_of` {self.measure_of!r}."
            )


def td2_cfm(
    *,
    observation_dim: int,
    action_dim: int,
    reward_range: tuple[float, float],
    config: TD2Config,
    key: Key,
    normaliser: Normaliser | None = None,
    policy: Policy | None = None,
    reward: RewardModel | None = None,
) -> fz.Agent:
    """Builds the untrained agent, whose critic computes values from a successor measure.

    - `normaliser`: The normaliser of states; None for one that is not fitted to data.
    - `policy`: The policy of the measure; None to load it from `policy_run` or, if `policy_run` is empty, to train a
      policy that clones the data.
    - `reward`: The reward model; None to learn one.
    """
    del reward_range
    field_key, reward_key, policy_key = jax.random.split(key, 3)
    network = partial(fz.MLP, hidden=config.hidden_dims)
    if policy is None:
        policy = make_policy(config, observation_dim, action_dim, policy_key)
    family = family_of(policy) if config.measure_of == "family" else None
    latent = jnp.zeros(0) if family is None else jnp.asarray(family.parts.policy.latent.value)
    measure = make_measure(
        config,
        velocity_field(config, observation_dim, observation_dim + action_dim + len(latent), field_key),
        observation_dim,
        discount=config.discount,
        normaliser=Normaliser.unfitted(observation_dim) if normaliser is None else normaliser,
        next_action=DataNextAction() if config.measure_of == "behaviour" else PolicyNextAction(),
    )
    if family is not None:
        measure = FamilySuccessor(measure, family, latent)
    return fz.Agent(
        critic=SuccessorCritic(
            measure,
            LearntReward(network(observation_dim, 1, key=reward_key)) if reward is None else reward,
            num_samples=config.count,
        ),
        policy=policy,
        update_rule=fz.JointUpdate(optax.adamw(config.lr, weight_decay=config.weight_decay)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


def with_futures(config: TD2Config) -> GeometricFuture:
    """Returns a reader of transitions that also reads next actions and future states."""
    return GeometricFuture(config.discount)


def make_policy(config: TD2Config, observation_dim: int, action_dim: int, key: Key) -> Policy:
    """Loads the policy of the run `policy_run`; if that is empty, builds an untrained policy that clones the data."""
    if config.policy_run:
        return trained_policy(config.policy_run, observation_dim=observation_dim, action_dim=action_dim)
    network = partial(fz.MLP, hidden=config.hidden_dims)
    return fz.BehaviourFlow.build(observation_dim, action_dim, network=network, key=key)


def family_of(policy: Policy) -> fz.FixedPolicy:
    """Checks that a policy is a family of policies, one for each z, and returns it.

    **Raises** `ValueError` if the policy is not such a family.
    """
    if isinstance(policy, fz.FixedPolicy) and isinstance(policy.parts.policy, LatentPolicy):
        return policy
    own = policy.parts.policy if isinstance(policy, fz.FixedPolicy) else policy
    raise ValueError(
        "`policy_run` must be a run of fb if `measure_of` is 'family', since fb has a policy for each z; the policy is a "
        f"{type(own).__name__}."
    )


def make_measure(config: TD2Config, field, dim: int, **parts):
    """Builds the successor measure for the method `config.method`.

    - `field`: The velocity field of a flow, or the noise model of a diffusion.
    - `dim`: The number of state coordinates.
    - `parts`: Other arguments of the measure.
    """
    if config.method.endswith("-dd"):
        return METHODS[config.method](field, dim, steps=config.diffusion_steps, **parts)
    path = fz.TrigonometricPath() if config.curved else fz.LinearPath()
    return METHODS[config.method](field, dim, path=path, solver=fz.Midpoint(config.flow_steps), **parts)


def velocity_field(config: TD2Config, dim: int, condition: int, key: Key):
    """Builds the network that predicts the velocity of a flow, or the noise of a diffusion.

    - `dim`: The number of state coordinates.
    - `condition`: The number of coordinates of the condition.
    """
    if config.network == "mlp":
        network = partial(fz.MLP, hidden=config.hidden_dims)
        return fz.ConditionalField(dim, condition, build=network, time_embedding=fz.FourierTime(8), key=key)
    return fz.UNetField(dim, condition, widths=config.widths, embedding=config.embedding, key=key)


def default(env_name: str | None) -> RunConfig:
    """The behaviour policy's measure on an OGBench task, with the published settings; 3M updates."""
    env_name = env_name or "pointmaze-medium-navigate-singletask-v0"
    return RunConfig(env_name=env_name, agent=TD2Config(), offline_steps=3_000_000, eval_episodes=0)


def maze(env_name: str | None) -> RunConfig:
    """The behaviour policy's measure in a maze, from 100 locally collected episodes; suitable for two cores."""
    config = TD2Config(lr=1e-3, batch_size=256, tau=0.02, network="mlp", hidden_dims=(256, 256, 256), discount=0.98)
    return RunConfig(
        env_name=env_name or "pointmaze-medium-navigate-singletask-v0",
        agent=config,
        offline_steps=20_000,
        log_interval=1_000,
        eval_episodes=0,
        collect_episodes=100,
    )


def quickstart(env_name: str | None) -> RunConfig:
    """Compares all methods with the exact measure of an analytic task, in a few minutes on two cores."""
    config = TD2Config(
        lr=1e-3, batch_size=256, tau=0.02, network="mlp", hidden_dims=(64, 64, 64), discount=0.9, measure_of="clone"
    )
    return RunConfig(env_name=env_name or "linear-gaussian", agent=config, offline_steps=6_000, log_interval=500)


RECIPE = Recipe(
    name="td2_cfm",
    build=td2_cfm,
    presets={"default": default, "maze": maze, "quickstart": quickstart},
    check=successor_check(td2_cfm),
    batch_source=partial(standard_batches, reader=with_futures),
    from_data=parts_from_data,
    report=report_seed,
)

if __name__ == "__main__":
    run_successor_recipe(RECIPE)
