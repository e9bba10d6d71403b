"""Computes the errors of successor measures, and of true samples as a reference."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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
    """States and actions at which models of a task are compared with true futures and Q-values.

    - `discount`: The discount of the task.
    - `truth`: An object whose `log_prob` returns the true log-density of a future, such as an analytic task; None if
      the true density is unknown.
    - `observations`, `actions`: The states, and the policy's actions in these states.
    - `futures`: True futures of each state; the first half is the reference, the second half serves as a perfect model.
    - `values`: The true Q-values under `reward`.
    - `reward`: A function from an observation to its reward.
    - `compared`: The number of samples per state for the EMD and the MMD; values use all samples.
    - `scored`: The number of true futures per state for the NLL.
    - `squared`: Whether the EMD's cost is the squared distance.
    - `density_steps`: The number of Tsit5 steps with which densities of models are computed.
    """

    discount: float
    truth: Any | None
    observations: Float[Array, "states observation"]
    actions: Float[Array, "states action"]
    futures: Float[Array, "states twice observation"]
    values: Float[Array, " states"]
    reward: Callable[[Any], Any]
    compared: int
    scored: int
    squared: bool = False
    density_steps: int = 64

    @cached_property
    def bandwidth(self) -> float:
        """The bandwidth of the MMD's kernel, the median distance between two futures."""
        flat = np.asarray(self.futures).reshape(-1, self.futures.shape[-1])
        pairs = np.random.default_rng(0).integers(0, len(flat), (2, 4096))
        return float(np.median(np.linalg.norm(flat[pairs[0]] - flat[pairs[1]], axis=1)))

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
    """Samples the states and true futures with which all models of an analytic task are compared.

    - `task`: A task with `starts`, `policy`, `discount`, `sample_futures` and `log_prob`.
    - `compared`: As in `Probe`; the NLL uses the same number of true futures, but at most 64.
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
    return Probe(
        discount=float(task.discount.value),
        truth=task,
        observations=observations,
        actions=actions,
        futures=futures,
        values=jax.vmap(value)(observations, actions),
        reward=reward,
        compared=compared,
        scored=min(compared, 64),
        squared=squared,
    )


def errors_of(measure: SuccessorMeasure, probe: Probe, key: Key) -> SuccessorErrors:
    """Computes the errors of a model.

    Samples are drawn with the model's own solver; densities are computed with `probe.density_steps` steps of Tsit5 and
    the exact divergence.
    """
    futures = _futures(measure, probe.observations, probe.actions, probe.samples, key)
    return _compare(futures, _nll(_WithLogProb(measure, probe.density_steps), probe), probe)


def errors_of_truth(probe: Probe) -> SuccessorErrors:
    """Computes the errors of a perfect model: the same metrics between two sets of true samples.

    If the true density is unknown, the NLL is NaN.
    """
    nll = float("nan") if probe.truth is None else _nll(probe.truth, probe)
    return _compare(probe.futures[:, probe.samples :], nll, probe)


class _WithLogProb(eqx.Module):
    """A measure whose densities are computed in equal steps, so that one stiff point does not slow down all others."""

    measure: Any  # a SuccessorMeasure whose `log_prob` takes a solver
    steps: int = eqx.field(static=True)

    def log_prob(self, future: Observation, observation: Observation, action: Action) -> Scalar:
        solver = DiffraxSolver(diffrax.Tsit5(), num_steps=self.steps)
        return self.measure.log_prob(future, observation, action, solver=solver)


def _compare(futures: Float[Array, "states samples observation"], nll: float, probe: Probe):
    rewards = jax.vmap(jax.vmap(probe.reward))(futures)
    values = jnp.mean(rewards, axis=1) / (1 - probe.discount)
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
    futures = probe.futures[:, : probe.scored]
    return float(_mean_nll(measure, futures, probe.observations, probe.actions))


@eqx.filter_jit
def _mean_nll(measure, futures, observations, actions) -> Scalar:
    log_prob = jax.vmap(jax.vmap(measure.log_prob, (0, None, None)))
    return -jnp.mean(log_prob(futures, observations, actions)) / observations.shape[-1]
