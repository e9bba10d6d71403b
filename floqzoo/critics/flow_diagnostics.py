"""Diagnostics of flow critics, computed from their trajectories, noise and features."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from floqzoo.flow.curvature import path_curvature
from floqzoo.protocols import FlowValued, HasFeatures, ODESolver
from floqzoo.records import Transition
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class FlowDiagnostics(eqx.Module):
    r"""Diagnostics of a flow critic, averaged over a batch and the members.

    - `q`: The output of the flows, averaged over noise samples, in units of reward.
    - `q_noise_variance`: The variance of the output over noise samples. It is 0 for a flow that fits a single target
      perfectly.
    - `path_curvature`: The mean squared deviation of the velocity from a constant velocity,
      $\int_0^1 (\dot z_t - (z_1 - z_0))^2 dt$, in squared units of reward. If it is 0, one Euler step is exact.
    - `q_one_step`: `q` computed with one solver step instead of the critic's own number of steps; None if the solver's
      number of steps cannot be changed (see `can_change_steps`).
    - `feature_norm`: The Euclidean norm of the features, which are the input of the last linear layer; None if the
      fields cannot return them (see `has_features`).
    - `effective_rank`: The effective rank of the features over the batch, at most the number of features; see the
      function `effective_rank`. None if `feature_norm` is None.
    """

    q: Scalar
    q_noise_variance: Scalar
    path_curvature: Scalar
    q_one_step: Scalar | None
    feature_norm: Scalar | None
    effective_rank: Scalar | None


def flow_diagnostics(
    critic: FlowValued | Any, batch: Transition, key: Key, *, num_noise_samples: int = 8
) -> FlowDiagnostics:
    """Computes the diagnostics of a flow critic on a batch.

    This is a pure function, so it can be compiled and mapped over seeds.

    - `critic`: A critic whose values are the outputs of flows, such as a `FlowCritic` or a `ReturnFlowCritic`.
    - `num_noise_samples`: The number of noise samples for each transition, at least 2.

    **Raises** `ValueError` if `num_noise_samples` is below 2.
    """
    if num_noise_samples < 2:
        raise ValueError(f"`num_noise_samples` must be at least 2; got {num_noise_samples}.")
    noise_key, time_key = jax.random.split(key)
    noise = critic.prior.sample(noise_key, (batch.reward.shape[0], num_noise_samples, 1))
    times = critic.times.sample_times(time_key, (batch.reward.shape[0],))
    ends = critic.batch_returns(batch, noise)
    features = batch_features(critic, batch, noise[:, 0], times) if has_features(critic) else None
    return FlowDiagnostics(
        q=jnp.mean(ends),
        q_noise_variance=jnp.mean(jnp.var(ends, axis=2)),
        path_curvature=jnp.mean(batch_curvature(critic, batch, noise)),
        q_one_step=jnp.mean(with_steps(critic, 1).batch_returns(batch, noise))
        if can_change_steps(critic.solver)
        else None,
        feature_norm=None if features is None else jnp.mean(jnp.linalg.norm(features, axis=2)),
        effective_rank=None
        if features is None
        else jnp.mean(jax.vmap(effective_rank)(features).astype(features.dtype)),
    )


def has_features(critic: FlowValued | Any) -> bool:
    """Returns whether the velocity fields of a critic can return the input of their last linear layer."""
    field: Any = critic.fields.members
    return isinstance(field, HasFeatures) and hasattr(getattr(field, "network", field), "features")


class ValuePaths(eqx.Module):
    """The trajectories of a flow critic from noise to value, for one observation and action.

    - `t`: The times at which the solver returns states.
    - `z`: The state of each member's flow at these times, for each noise sample.
    """

    t: Float[Array, " times"]
    z: Float[Array, "members samples times"]


def value_paths(
    critic: FlowValued | Any, observation: Observation, action: Action, noise: Float[Array, "samples 1"]
) -> ValuePaths:
    """Returns the trajectory $z_t$ of each member's flow for each noise sample, at the times of the critic's solver."""
    paths = _paths(critic, observation, action, noise)
    return ValuePaths(paths.t[0, 0], paths.x[..., 0])


def batch_curvature(
    critic: FlowValued | Any, batch: Transition, noise: Float[Array, "batch samples 1"]
) -> Float[Array, "batch members samples"]:
    """Returns the curvature of each trajectory (see `path_curvature`), which is always 0 for a single solver step."""

    def of_example(observation, action, noise_samples):
        return jax.vmap(jax.vmap(path_curvature))(_paths(critic, observation, action, noise_samples))

    return jax.vmap(of_example)(batch.observation, batch.action, noise)


def batch_features(
    critic: FlowValued | Any, batch: Transition, noise: Float[Array, "batch 1"], times: Float[Array, " batch"]
) -> Float[Array, "members batch width"]:
    """Returns the input of the last linear layer of each velocity field, at one point on a trajectory per transition.

    - `noise`, `times`: For each transition, the noise sample from which the trajectory starts, and the time of the
      point on the trajectory.

    **Raises** `AttributeError` if the fields lack the method `last_features`, or their network lacks `features`.
    """

    def of_member(field):
        flow = critic.flow(field)

        def of_example(observation, action, start, t):
            code = flow.encode(observation, action)
            return field.last_features(t, flow.push_forward(start, code, 0.0, t), code)

        return jax.vmap(of_example)(batch.observation, batch.action, noise, times)

    features = critic.fields.each(of_member)
    # The features of a bfloat16 network are cast, since singular values need float32.
    return features.astype(jnp.promote_types(features.dtype, jnp.float32))


def effective_rank(features: Float[Array, "rows width"], delta: float = 0.01) -> Int[Array, ""]:
    r"""Returns the effective rank of a matrix, $\min \{k : \sum_{i \le k} \sigma_i \ge (1 - \delta) \sum_i \sigma_i\}$.

    Here $\sigma_1 \ge \sigma_2 \ge \dots$ are the singular values of the matrix `features`, which has one row per
    example. The effective rank is at most the rank of the matrix.

    Source: srank in implicit under-parameterisation (arXiv 2010.14498), with the same $\delta$.
    """
    share = jnp.cumsum(jnp.linalg.svd(features, compute_uv=False))
    return 1 + jnp.sum(share < (1 - delta) * share[-1])


def q_by_steps(
    critic: FlowValued | Any, batch: Transition, noise: Float[Array, "batch samples 1"], steps: Sequence[int]
) -> Float[Array, "choices batch"]:
    r"""Returns $Q$ of each transition for each number of solver steps in `steps`.

    $Q$ is averaged over members and noise samples.

    **Raises** `ValueError` if the number of steps of the critic's solver cannot be changed (see `can_change_steps`).
    """
    return jnp.stack([jnp.mean(with_steps(critic, count).batch_returns(batch, noise), axis=(0, 2)) for count in steps])


def with_steps(critic: Any, steps: int) -> Any:
    """Returns a copy of the critic whose solver takes `steps` steps.

    **Raises** `ValueError` if the number of steps of the critic's solver cannot be changed (see `can_change_steps`).
    """
    solver: Any = critic.solver
    if not can_change_steps(solver):
        raise ValueError(
            "`critic.solver` must be a fixed-step solver whose number of steps can be changed, a dataclass with the field "
            f"`num_steps`; got {solver}."
        )
    return dataclasses.replace(critic, solver=dataclasses.replace(solver, num_steps=steps))


def can_change_steps(solver: ODESolver | Any) -> bool:
    """Returns whether the number of steps of a solver can be changed.

    This requires a solver that is a dataclass, such as an `eqx.Module`, has the field `num_steps`, and is not adaptive.
    """
    fields = dataclasses.fields(solver) if dataclasses.is_dataclass(solver) else ()
    return "num_steps" in {field.name for field in fields} and not getattr(solver, "is_adaptive", False)


def _paths(critic: FlowValued | Any, observation: Observation, action: Action, noise: Float[Array, "samples 1"]):
    """The trajectories of one example, with the leading axes member and noise sample."""

    def of_member(field):
        flow = critic.flow(field)
        code = flow.encode(observation, action)
        return jax.vmap(lambda start: flow.trajectory(start, code))(noise)

    return critic.fields.each(of_member)
