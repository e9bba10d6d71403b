r"""One update and one action of EVOR (arXiv 2510.08218) as its recipe states them, from the equations, in NumPy alone.

Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients are written by hand.
"""

from dataclasses import dataclass

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak
from scipy.special import ndtr
from transcription import euler, joined
from transcription_of_baselines import flow_policy


@dataclass
class Settings:
    """The hyperparameters; `score_noise` are the fixed noise samples of Q*, `low` and `high` bound returns."""

    discount: float
    tau: float
    rate: float
    low: float
    high: float
    q_agg: str
    flow_steps: int
    return_temperature: float
    selection_temperature: float
    score_noise: np.ndarray


@dataclass
class Draws:
    """The random numbers of one update, for B transitions."""

    noise: np.ndarray  # (B,), normal
    times: np.ndarray  # (B,), uniform
    flow_noise: np.ndarray  # (B, A), normal
    flow_times: np.ndarray  # (B,), uniform
    next_noise: np.ndarray | None = None  # (B, A), normal: of a next action of the behaviour


@dataclass
class State:
    """Networks: the members of the critic, the behaviour flow, and the members of the target."""

    critic: list
    policy: list
    target: list

    def learnt(self):
        return [self.critic, self.policy]


def aggregated(settings, values):
    return np.min(values, axis=0) if settings.q_agg == "min" else np.mean(values, axis=0)


def returns(network, s, a, noise, settings):
    """K Euler steps of the field of a member from noise, each clipped to the range of returns."""
    z = noise
    for k in range(settings.flow_steps):
        t = np.full((len(z), 1), k / settings.flow_steps)
        z = np.clip(
            z + apply(network, joined(s, a, z[:, None], t))[:, 0] / settings.flow_steps, settings.low, settings.high
        )
    return z


def flow_actions(state, s, noise, settings):
    def velocity(t, x):
        return apply(state.policy, joined(s, x, np.full((len(x), 1), t)))

    return np.clip(euler(velocity, noise, settings.flow_steps), -1, 1)


def critic_loss(state, batch, draws, settings):
    """mean_b sum_e (v_e(t, (1 - t) eps + t R) - (R - eps))^2, R = r + gamma agg_e z_e(s', a'), and its gradients."""
    a_next = batch.a_next
    if draws.next_noise is not None:
        a_next = flow_actions(state, batch.s_next, draws.next_noise, settings)
    t, eps, size = draws.times, draws.noise, len(batch.r)
    z = aggregated(settings, [returns(net, batch.s_next, a_next, eps, settings) for net in state.target])
    target = batch.r + settings.discount * batch.discount * z
    point = (1 - t) * eps + t * target
    loss, found = np.zeros(size), []
    for network in state.critic:
        out, tape = outputs_and_tape(network, joined(batch.s, batch.a, point[:, None], t[:, None]))
        error = out[:, 0] - (target - eps)
        loss += error**2
        found.append(gradients(network, tape, (2 * error / size)[:, None])[0])
    q = mean_return(state.critic, batch.s, batch.a, settings)
    metrics = {
        "critic_loss": np.mean(loss),
        "bcfm_loss": np.mean(loss),
        "dcfm_loss": None,
        "q_mean": np.mean(q),
        "q_max": np.max(q),
        "q_min": np.min(q),
        "return_std": None,
        "confidence": None,
    }
    return metrics, found


def mean_return(critic, s, a, settings):
    """The mean over the fixed noise of agg_e clip(eps + v_e(0, eps | s, a)); only metrics have it."""
    zeros, values = np.zeros((len(s), 1)), []
    for noise in settings.score_noise:
        ends = [noise + apply(net, joined(s, a, zeros + noise, zeros))[:, 0] for net in critic]
        values.append(aggregated(settings, np.clip(ends, settings.low, settings.high)))
    return np.mean(values, axis=0)


def optimal_value(critic, s, a, settings):
    """agg_e tau_R log mean_j exp(z_e(eps_j) / tau_R)."""
    found = []
    for network in critic:
        z = np.stack([returns(network, s, a, np.full(len(s), eps), settings) for eps in settings.score_noise])
        found.append(settings.return_temperature * np.log(np.mean(np.exp(z / settings.return_temperature), axis=0)))
    return aggregated(settings, found)


def action(state, s, noise, settings):
    """At one observation, from N + 1 rows of noise: a draw from the softmax of Q* / tau_Q over N flow outputs."""
    rows = np.repeat(s[None], len(noise) - 1, axis=0)
    actions = flow_actions(state, rows, noise[:-1], settings)
    weights = np.exp(optimal_value(state.critic, rows, actions, settings) / settings.selection_temperature)
    level = ndtr(noise[-1, 0])
    return actions[np.searchsorted(np.cumsum(weights) / np.sum(weights), level, side="right")]


def update(state, moments, number, batch, draws, settings):
    """The metrics of critic and policy, the state after one Adam step on the sum of both losses, and Adam's moments.

    The target moves towards the critic before that step.
    """
    critic_metrics, by_critic = critic_loss(state, batch, draws, settings)
    policy_metrics, by_policy = flow_policy(state, batch, draws, settings)
    (critic, policy), *moments = adam(state.learnt(), [by_critic, by_policy], *moments, number, settings.rate)
    target = polyak(state.target, state.critic, settings.tau)
    return critic_metrics, policy_metrics, State(critic, policy, target), moments


def no_moments(state):
    return [each(np.zeros_like, state.learnt())] * 2
