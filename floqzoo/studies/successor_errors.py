"""Computes the errors of successor measures, and of true samples as a reference."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.flow.diffrax_solver import DiffraxSolver
from floqzoo.protocols import SuccessorMeasure
from floqzoo.studies.distances import earth_movers_distance, maximum_mean_discrepancy
from floqzoo.typing import Action, Array, Key, Observation, Scalar


@dataclass(frozen=True)
class SuccessorErrors:
    """The errors of a successor measure, averaged over states.

    - `emd`: The earth mover's distance between samples and true samples.
    - `nll`: Minus the log-density of true samples, divided by the number of coordinates.
    - `value_mse`: The squared error of the value estimated from samples.
    - `mmd`: The squared maximum mean discrepancy between samples and true samples.
    """

    emd: float
    nll: float
    value_mse: float
    mmd: float


METRICS = {"emd": "EMD", "nll": "NLL per dimension", "value_mse": "MSE(V)", "mmd": "MMD²"}
"""The names of the metrics in tables."""


@dataclass(frozen=True)
class Probe:
    """States and actions at which models of a task are compared with true futures and exact Q-values.

    - `task`: A task with `starts`, `policy`, `discount`, `sample_futures` and `log_prob`, such as the analytic tasks.
    - `observations`, `actions`: The states, and the policy's actions in these states.
    - `futures`: True futures of each state; the first half is the reference, the second half serves as a perfect model.
    - `values`: The exact Q-values under `reward`.
    - `reward`: A function from an observation to its reward.
    - `compared`: The number of samples per state for the EMD and the MMD. The NLL uses the same number of
      true futures, but at most 64; values use all samples.
    - `bandwidth`: The bandwidth of the MMD's kernel, the median distance between two futures.
    - `squared`: Whether the EMD's cost is the squared distance.
    """

    task: Any
    observations: Float[Array, "states observation"]
    actions: Float[Array, "states action"]
    futures: Float[Array, "states twice observation"]
    values: Float[Array, " states"]
    reward: Callable[[Any], Any]
    compared: int
    bandwidth: float
    squared: bool

    @property
    def samples(self) -> int:
        """The number of samples per state, both from the model and from the truth."""
        return self.futures.shape[1] // 2


def probe(
    task: Any,
    reward: Callable[[Any], Any],
    value: Callable[[Observation, Action], Scalar],
    *,
    states: int,
    samples: int,
    compared: int,
    key: Key,
    squared: bool = False,
) -> Probe:
    """Samples the states and true futures with which all models of a task are compared.

    - `value`: A function from an observation and an action to their exact Q-value under `reward`.

    **Raises** `ValueError` if `states` is below 1, `compared` below 2, or `samples` below `compared`.
    """
    for name, number, least in (("states", states, 1), ("compared", compared, 2), ("samples", samples, compared)):
        if number < least:
            raise ValueError(f"`{name}` must be at least {least}; got {number}.")
    start_key, act_key, future_key = jax.random.split(key, 3)
    observations = task.starts(start_key, states)
    actions = jax.vmap(lambda observation, key: task.policy.act(observation, None, key))(
        observations, jax.random.split(act_key, states)
    )
    futures = _futures(task, observations, actions, 2 * samples, future_key)
    flat = np.asarray(futures).reshape(-1, futures.shape[-1])
    pairs = np.random.default_rng(0).integers(0, len(flat), (2, 4096))
    bandwidth = float(np.median(np.linalg.norm(flat[pairs[0]] - flat[pairs[1]], axis=1)))
    values = jax.vmap(value)(observations, actions)
    return Probe(task, observations, actions, futures, values, reward, compared, bandwidth, squared)


def errors_of(measure: SuccessorMeasure, probe: Probe, key: Key) -> SuccessorErrors:
    """Computes the errors of a model.

    Samples are drawn with the model's own solver; densities are computed with 64 steps of Tsit5.
    """
    futures = _futures(measure, probe.observations, probe.actions, probe.samples, key)
    return _compare(futures, _nll(_WithLogProb(measure), probe), float(measure.discount.value), probe)


def errors_of_truth(probe: Probe) -> SuccessorErrors:
    """Computes the errors of a perfect model: the same metrics between two sets of true samples."""
    futures = probe.futures[:, probe.samples :]
    return _compare(futures, _nll(probe.task, probe), float(probe.task.discount.value), probe)


class _WithLogProb(eqx.Module):
    """A measure whose densities are computed in equal steps, so that one stiff point does not slow down all others."""

    measure: Any  # a SuccessorMeasure whose `log_prob` takes a solver

    def log_prob(self, future: Observation, observation: Observation, action: Action) -> Scalar:
        return self.measure.log_prob(future, observation, action, solver=DiffraxSolver(diffrax.Tsit5(), num_steps=64))


def _compare(futures: Float[Array, "states samples observation"], nll: float, discount: float, probe: Probe):
    rewards = jax.vmap(jax.vmap(probe.reward))(futures)
    values = jnp.mean(rewards, axis=1) / (1 - discount)
    drawn, true = (np.asarray(samples[:, : probe.compared]) for samples in (futures, probe.futures))
    pairs = list(zip(drawn, true, strict=True))
    return SuccessorErrors(
        emd=float(np.mean([earth_movers_distance(x, y, squared=probe.squared) for x, y in pairs])),
        nll=nll,
        value_mse=float(jnp.mean((values - probe.values) ** 2)),
        mmd=float(np.mean([maximum_mean_discrepancy(x, y, bandwidth=probe.bandwidth) for x, y in pairs])),
    )


@eqx.filter_jit
def _futures(
    measure: Any, observations: Float[Array, "states o"], actions: Float[Array, "states a"], count: int, key: Key
) -> Float[Array, "states count o"]:
    keys = jax.random.split(key, observations.shape[0])
    return jax.vmap(lambda s, a, k: measure.sample_futures(s, a, count, k))(observations, actions, keys)


def _nll(measure: Any, probe: Probe) -> float:
    futures = probe.futures[:, : min(probe.compared, 64)]
    return float(_mean_nll(measure, futures, probe.observations, probe.actions))


@eqx.filter_jit
def _mean_nll(measure, futures, observations, actions) -> Scalar:
    log_prob = jax.vmap(jax.vmap(measure.log_prob, (0, None, None)))
    return -jnp.mean(log_prob(futures, observations, actions)) / observations.shape[-1]
