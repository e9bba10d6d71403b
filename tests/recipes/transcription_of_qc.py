r"""One update of QC (arXiv 2507.07969), from its equations and from arrays of whole episodes, in NumPy alone.

Nothing here depends on floqzoo. Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients
are written by hand.
"""

from dataclasses import dataclass

import numpy as np
from plain_networks import adam, apply, gradients, outputs_and_tape, polyak
from transcription import euler, joined


@dataclass
class Settings:
    """The hyperparameters of QC."""

    chunk_length: int
    discount: float
    tau: float
    rate: float
    num_samples: int
    flow_steps: int


@dataclass
class Data:
    """T transitions, episode after episode: `terminal` is 1 at the last one of each."""

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray
    mask: np.ndarray
    terminal: np.ndarray
    s_next: np.ndarray


@dataclass
class Draws:
    """The random numbers of one update."""

    candidates: np.ndarray  # (B, N, hA), normal
    flow_noise: np.ndarray  # (B, hA), normal
    flow_times: np.ndarray  # (B,), uniform


@dataclass
class State:
    """Networks: the ensemble, the velocity field of the behaviour, and the target ensemble."""

    q: list
    behaviour: list
    target: list

    def learnt(self):
        return [self.q, self.behaviour]


def sequences(data, starts, settings):
    """For each start: s_t, the actions of h steps, sum_k gamma^k r_{t+k}, the least mask, s_{t+h}, and the validity of steps.

    Step k is valid if none of the k steps before it was the last of its episode. Steps that are not repeat the last one that
    is; only their actions matter, as inputs of the behaviour's field. The official code has the next episode's actions there.
    """
    s, chunks, returns, masks, s_next, valid = [], [], [], [], [], []
    for t in starts:
        last = t + np.argmax(data.terminal[t:])
        rows = np.minimum(np.arange(t, t + settings.chunk_length), last)
        weights = settings.discount ** np.arange(settings.chunk_length)
        s.append(data.s[t])
        chunks.append(data.a[rows].reshape(-1))
        returns.append(np.sum(weights * data.r[rows]))
        masks.append(np.min(data.mask[rows]))
        s_next.append(data.s_next[rows[-1]])
        valid.append(1.0 - (np.arange(t, t + settings.chunk_length) > last))
    return tuple(map(np.array, (s, chunks, returns, masks, s_next, valid)))


def values(ensemble, s, a):
    """Q_e(s, a), (members, B)."""
    return np.stack([apply(network, joined(s, a))[:, 0] for network in ensemble])


def best_of_n(state, s, noise, settings):
    """The chunk at one observation: of N flow outputs, the one with the highest mean of the online Q_e."""
    s = np.repeat(s[None], len(noise), axis=0)

    def velocity(t, x):
        return apply(state.behaviour, joined(s, x, np.full((len(x), 1), t)))

    chunks = np.clip(euler(velocity, noise, settings.flow_steps), -1, 1)
    return chunks[np.argmax(values(state.q, s, chunks).mean(axis=0))]


def critic(state, data, starts, draws, settings):
    """mean_{e,b} valid_{h-1} (Q_e(s_t, a) - R - gamma^h mask mean_e Q'_e(s_{t+h}, a'))^2, and its gradient."""
    s, chunks, returns, masks, s_next, valid = sequences(data, starts, settings)
    next_chunks = np.stack([best_of_n(state, *pair, settings) for pair in zip(s_next, draws.candidates, strict=True)])
    target = values(state.target, s_next, next_chunks).mean(axis=0)
    y = returns + settings.discount**settings.chunk_length * masks * target
    loss, found, all_q = 0.0, [], []
    for network in state.q:
        q, tape = outputs_and_tape(network, joined(s, chunks))
        error = valid[:, -1] * (q[:, 0] - y)
        loss += np.mean(error**2) / len(state.q)
        found.append(gradients(network, tape, (2 * error / len(y) / len(state.q))[:, None])[0])
        all_q.append(q)
    metrics = {"critic_loss": loss, "q_mean": np.mean(all_q), "q_max": np.max(all_q), "q_min": np.min(all_q)}
    return metrics, found


def behaviour(state, data, starts, draws, settings):
    """The mean over batch, steps and coordinates of valid_k |v(s, x_u, u) - (a - x_0)|^2, and its gradient."""
    s, chunks, *_, valid = sequences(data, starts, settings)
    weight = np.repeat(valid, chunks.shape[1] // settings.chunk_length, axis=1)
    u = draws.flow_times[:, None]
    x_u = (1 - u) * draws.flow_noise + u * chunks
    velocity, tape = outputs_and_tape(state.behaviour, joined(s, x_u, u))
    error = weight * (velocity - (chunks - draws.flow_noise))
    gradient, _ = gradients(state.behaviour, tape, 2 * error / error.size)
    loss = np.mean(error**2)
    return {"actor_loss": loss, "bc_flow_loss": loss}, gradient


def qc_update(state, moments, number, data, starts, draws, settings):
    """One Adam step on the sum of both losses; the target moves towards Q before that step."""
    critic_metrics, critic_gradient = critic(state, data, starts, draws, settings)
    policy_metrics, policy_gradient = behaviour(state, data, starts, draws, settings)
    (q, field), *moments = adam(state.learnt(), [critic_gradient, policy_gradient], *moments, number, settings.rate)
    return critic_metrics, policy_metrics, State(q, field, polyak(state.target, state.q, settings.tau)), moments
