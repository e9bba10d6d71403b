"""Measures a flow critic on a batch: its outputs, features, and the curvature of its trajectories."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from floqzoo.critics.flow_diagnostics import (
    batch_curvature,
    batch_features,
    can_change_steps,
    effective_rank,
    q_by_steps,
)
from floqzoo.protocols import FlowValued
from floqzoo.records import Transition
from floqzoo.typing import Array, Key


class CriticInside(eqx.Module):
    """Measurements of a flow critic.

    - `ends`: The output of each member's flow for each transition and noise sample.
    - `curvature`: The curvature of each trajectory.
    - `features`: The input of each member's last linear layer, at one flow time for each transition.
    - `ranks`: The effective rank of each member's features.
    - `q_by_steps`: Q of each transition for each number of solver steps; None if the solver's number of steps cannot be
      changed.
    """

    ends: Float[np.ndarray, "members batch noise"]
    curvature: Float[np.ndarray, "batch members noise"]
    features: Float[np.ndarray, "members batch width"]
    ranks: Int[np.ndarray, " members"]
    q_by_steps: Float[np.ndarray, "choices batch"] | None


def critic_inside(
    critic: FlowValued | Any,
    batch: Transition,
    key: Key,
    *,
    steps: Sequence[int] = (1, 2, 4, 8),
    num_noise_samples: int = 8,
) -> CriticInside:
    """Measures a flow critic on a batch of transitions.

    - `steps`: The numbers of solver steps for `q_by_steps`.
    - `num_noise_samples`: The number of noise samples per transition.

    **Raises** `AttributeError` if the critic's velocity fields lack the method `last_features`, or their network lacks
    `features`.
    """
    arrays = _compiled(critic, batch, key, tuple(steps), num_noise_samples)
    return CriticInside(*jax.tree.map(np.asarray, arrays))


@eqx.filter_jit
def mean_values(
    critic: FlowValued | Any,
    observations: Float[Array, "rows observation"],
    actions: Float[Array, "rows action"],
    noise: Float[Array, "noise 1"],
) -> Float[Array, " rows"]:
    """Computes Q of each row as the mean output over members and noise samples; all rows share the noise samples."""

    def at(row):
        observation, action = row
        return jnp.mean(jax.vmap(lambda start: critic.returns(observation, action, start))(noise))

    return jax.lax.map(at, (observations, actions), batch_size=256)


@eqx.filter_jit
def _compiled(
    critic: FlowValued | Any, batch: Transition, key: Key, steps: tuple[int, ...], num_noise_samples: int
) -> tuple:
    size = batch.reward.shape[0]
    noise_key, time_key = jax.random.split(key)
    noise = critic.prior.sample(noise_key, (size, num_noise_samples, 1))
    features = batch_features(critic, batch, noise[:, 0], critic.times.sample_times(time_key, (size,)))
    return (
        critic.batch_returns(batch, noise),
        batch_curvature(critic, batch, noise),
        features,
        jax.vmap(effective_rank)(features),
        q_by_steps(critic, batch, noise, steps) if can_change_steps(critic.solver) else None,
    )
