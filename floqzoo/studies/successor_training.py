"""Trains successor measures with several discounts and seeds in one compiled program."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from floqzoo.agent import Agent
from floqzoo.learner.seeds import agent_of
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.mlp import MLP
from floqzoo.networks.normaliser import Normaliser
from floqzoo.networks.time_embedding import FourierTime
from floqzoo.protocols import Policy, SuccessorMeasure
from floqzoo.studies.members import train_members
from floqzoo.studies.positive_settings import require_positive
from floqzoo.successor.successor_critic import SuccessorCritic
from floqzoo.tasks.linear_gaussian import LinearGaussian
from floqzoo.tasks.quadratic_reward import QuadraticReward
from floqzoo.typing import Array, Observation, Scalar
from floqzoo.update_rules import JointUpdate, PolyakAveraging


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Training settings of a study. The values published by TD-Flow are in brackets; studies are smaller."""

    hidden: tuple[int, ...] = (64, 64, 64)
    """Hidden layers of the velocity field (a U-Net-style MLP of unpublished size)."""
    updates: int = 10_000
    """Number of updates (3M)."""
    batch_size: int = 256
    """Transitions per update (1024)."""
    lr: float = 1e-3
    """AdamW's learning rate (not published)."""
    weight_decay: float = 1e-3
    """AdamW's weight decay (0.001)."""
    tau: float = 0.05
    """Polyak averaging coefficient of the target network (0.001). The relevant quantity is tau * updates / H, the
    number of backups in units of the horizon H: 5 at a horizon of 100 (30)."""

    def __post_init__(self):
        require_positive(self)


REWARD = QuadraticReward(-np.eye(2), np.array([1.0, 0.0]))
r"""The reward of the studies, $-\lVert s \rVert^2 + s_1$, which is highest at the state $s = (0.5, 0)$."""


def train_on_chain(
    method: Callable[..., SuccessorMeasure],
    discounts: Float[Array | np.ndarray, " members"],
    seeds: list[int],
    settings: TrainingSettings,
    progress: Callable[[int], None] | None = None,
    *,
    further_conditions: int = 0,
) -> list[Any]:
    """Trains several measures in one compiled program, and returns their target networks.

    - `method`: A function that builds a measure from a velocity field and the number of coordinates of a state, such as
      those in `floqzoo.successor.METHODS`.
    - `discounts`, `seeds`: One discount and one seed for each measure.
    - `further_conditions`: The number of inputs of the field in addition to the observation and the action.
    """
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    gammas = jnp.asarray(discounts, dtype=float)
    agents = eqx.filter_vmap(partial(chain_agent, method, settings, further_conditions))(gammas, keys)
    chains = eqx.filter_vmap(LinearGaussian.spiral)(gammas)
    agents, _ = train_members(
        agents,
        chains,
        jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys),
        updates=settings.updates,
        batch_size=settings.batch_size,
        progress=progress,
    )
    return [agent_of(agents, index).target.critic.measure for index in range(len(seeds))]


def chain_agent(
    method: Callable[..., SuccessorMeasure],
    settings: TrainingSettings,
    further_conditions: int,
    discount: Float[Array, ""],
    key: jax.Array,
) -> Agent:
    """Builds an untrained agent whose critic is based on a successor measure of the chain's own policy."""
    chain = LinearGaussian.spiral(discount)
    return measure_agent(
        method,
        settings,
        chain.observation_dim,
        chain.observation_dim + chain.action_dim + further_conditions,
        chain.policy,
        REWARD,
        key,
        discount=discount,
        normaliser=Normaliser(0.0, 1.0),
    )


def measure_agent(
    method: Callable[..., SuccessorMeasure],
    settings: TrainingSettings,
    dim: int,
    condition: int,
    policy: Policy,
    reward: Callable[[Observation], Scalar],
    key: jax.Array,
    **parts: Any,
) -> Agent:
    """Builds an untrained agent whose critic is based on a successor measure of the given policy.

    - `method`: A function that builds a measure, as in `train_on_chain`.
    - `dim`: The number of coordinates of a state.
    - `condition`: The number of coordinates of the condition, that is of the state, the action and any further input.
    - `reward`: A function from a state to its reward, which does not affect the measure.
    - `parts`: Further arguments of `method`, such as the discount and the normaliser.
    """
    field = ConditionalField(
        dim, condition, build=partial(MLP, hidden=settings.hidden), time_embedding=FourierTime(8), key=key
    )
    return Agent(
        critic=SuccessorCritic(method(field, dim, **parts), reward),
        policy=policy,
        update_rule=JointUpdate(optax.adamw(settings.lr, weight_decay=settings.weight_decay)),
        target_update=PolyakAveraging(critic=settings.tau),
    )
