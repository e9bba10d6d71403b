r"""One update of SORL (arXiv 2505.22866), from its equations, in NumPy alone.

Nothing here depends on floqzoo. Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients
are written by hand, that of the Q loss through all steps of an action.
"""

from dataclasses import dataclass, replace

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak
from transcription import joined


@dataclass
class Settings:
    """The hyperparameters; `finest` is K, and `largest` the largest number of steps in the TD target and the Q loss."""

    discount: float
    tau: float
    rate: float
    max_norm: float
    flow_weight: float
    consistency_weight: float
    q_weight: float
    finest: int
    largest: int
    aggregate: str


@dataclass
class Draws:
    """The random numbers of one update, B rows of A coordinates each."""

    critic_steps: int
    next_noise: np.ndarray
    flow_noise: np.ndarray
    flow_times: np.ndarray  # (B,), uniform on [0, 1), before they are put on their grid
    consistency_noise: np.ndarray
    consistency_times: np.ndarray
    policy_steps: int
    policy_noise: np.ndarray


@dataclass
class State:
    """Networks: those of the two critics, the velocity field, and the targets of both."""

    q: list
    policy: list
    target_q: list
    target_policy: list

    def learnt(self):
        return [self.q, self.policy]


def column(values, size):
    return np.broadcast_to(np.asarray(values, dtype=float).reshape(-1, 1), (size, 1))


def field_input(s, x, t, k):
    """Observation, log2 k, point, time."""
    return joined(s, column(np.log2(k), len(s)), x, column(t, len(s)))


def velocity(network, s, x, t, k):
    return apply(network, field_input(s, x, t, k))


def q_input(s, a, k):
    """Observation, k, action."""
    return joined(s, column(k, len(s)), a)


def integrate(network, s, noise, k):
    """x_k after k Euler steps of length 1 / k, and the tape of each."""
    x, tapes = noise, []
    for i in range(k):
        out, tape = outputs_and_tape(network, field_input(s, x, i / k, k))
        x = x + out / k
        tapes.append(tape)
    return x, tapes


def act(network, s, noise, k):
    return np.clip(integrate(network, s, noise, k)[0], -1, 1)


def best_of_n(state, s, noise, k):
    """The action at one observation: of the actions of k steps from N rows of noise, the one with the highest mean Q."""
    s = np.repeat(s[None], len(noise), axis=0)
    actions = act(state.policy, s, noise, k)
    q = np.mean([apply(network, q_input(s, actions, k))[:, 0] for network in state.q], axis=0)
    return actions[np.argmax(q)]


def critic_loss(state, batch, draws, settings):
    """mean_{e,b} (Q_e(s, a, k) - y)^2, y = r + gamma discount agg_e Q'_e(s', a', k), a' of k steps of the online policy."""
    k, size = draws.critic_steps, len(batch.r)
    a_next = act(state.policy, batch.s_next, draws.next_noise, k)
    next_q = np.stack([apply(network, q_input(batch.s_next, a_next, k))[:, 0] for network in state.target_q])
    next_q = next_q.min(axis=0) if settings.aggregate == "min" else next_q.mean(axis=0)
    y = batch.r + settings.discount * batch.discount * next_q
    loss, found, all_q = 0.0, [], []
    for network in state.q:
        q, tape = outputs_and_tape(network, q_input(batch.s, batch.a, k))
        error = q[:, 0] - y
        loss += np.mean(error**2) / len(state.q)
        found.append(gradients(network, tape, (2 * error / size / len(state.q))[:, None])[0])
        all_q.append(q)
    ranges = {"q_mean": np.mean(all_q), "q_max": np.max(all_q), "q_min": np.min(all_q)}
    return {"critic_loss": loss} | ranges, found


def on_path(noise, action, t):
    """(1 - (1 - 1e-5) t) x_0 + t a."""
    return (1 - (1 - 1e-5) * t[:, None]) * noise + t[:, None] * action


def regression(network, s, x, t, k, label):
    """The mean squared error of the velocity over batch and coordinates, and its gradient."""
    out, tape = outputs_and_tape(network, field_input(s, x, t, k))
    error = out - label
    return np.mean(error**2), gradients(network, tape, 2 * error / error.size)[0]


def flow_loss(network, batch, draws, settings):
    """Flow matching at times 0, 1/K, ..., (K-1)/K, with the label a - (1 - 1e-5) x_0 and the condition K."""
    t = np.floor(draws.flow_times * settings.finest) / settings.finest
    x = on_path(draws.flow_noise, batch.a, t)
    label = batch.a - (1 - 1e-5) * draws.flow_noise
    return regression(network, batch.s, x, t, settings.finest, label)


def step_shares(size, finest):
    """k of each row: K/2, K/4, ..., 1 in equal shares, and 1 for the rest."""
    kinds = []
    k = finest // 2
    while k >= 1:
        kinds.append(k)
        k //= 2
    rows = [k for k in kinds for _ in range(size // len(kinds))]
    return np.array(rows + [1] * (size - len(rows)), dtype=float)


def consistency_loss(network, target, batch, draws, settings):
    """One step of length 1/k against the mean of two steps of length 1/(2k) of the target policy, without any clip."""
    k = step_shares(len(batch.r), settings.finest)
    t = np.floor(draws.consistency_times * k) / k
    x = on_path(draws.consistency_noise, batch.a, t)
    half = 1 / (2 * k)
    first = velocity(target, batch.s, x, t, 2 * k)
    second = velocity(target, batch.s, x + half[:, None] * first, t + half, 2 * k)
    return regression(network, batch.s, x, t, k, (first + second) / 2)


def q_loss(q_networks, network, batch, draws):
    """-mean_b mean_e Q_e(s, a_k, k) / mean_b |mean_e Q_e|, the denominator a constant; the gradient through all k steps."""
    k, (size, dim) = draws.policy_steps, batch.a.shape
    end, tapes = integrate(network, batch.s, draws.policy_noise, k)
    action = np.clip(end, -1, 1)
    evaluations = [outputs_and_tape(each_q, q_input(batch.s, action, k)) for each_q in q_networks]
    q = np.mean([out[:, 0] for out, _ in evaluations], axis=0)
    scale = 1 / np.mean(np.abs(q))
    outer = np.full((size, 1), -scale / size / len(q_networks))
    back = sum(
        gradients(each_q, tape, outer)[1][:, -dim:] for each_q, (_, tape) in zip(q_networks, evaluations, strict=True)
    )
    back = back * (np.abs(end) < 1)
    total = each(np.zeros_like, network)
    for tape in reversed(tapes):
        gradient, by_input = gradients(network, tape, back / k)
        total = each(np.add, total, gradient)
        back = back + by_input[:, -dim - 1 : -1]
    return -scale * np.mean(q), np.mean(q), total


def policy_loss(state, policy, batch, draws, settings):
    """The weighted sum of the three losses of a policy, against the critics and the target policy of the state."""
    flow, flow_gradient = flow_loss(policy, batch, draws, settings)
    consistency, consistency_gradient = consistency_loss(policy, state.target_policy, batch, draws, settings)
    value, q, value_gradient = q_loss(state.q, policy, batch, draws)
    weights = settings.flow_weight, settings.consistency_weight, settings.q_weight
    loss = np.dot(weights, [flow, consistency, value])
    gradient = each(
        lambda *parts: sum(weight * part for weight, part in zip(weights, parts, strict=True)),
        flow_gradient,
        consistency_gradient,
        value_gradient,
    )
    metrics = {"actor_loss": loss, "bc_flow_loss": flow, "consistency_loss": consistency, "q_loss": value, "q": q}
    return metrics, gradient


def norm(tree):
    squares = []
    each(lambda leaf: squares.append(np.sum(leaf**2)), tree)
    return np.sqrt(sum(squares))


def clipped(gradient, limit):
    factor = min(1.0, limit / norm(gradient))
    return each(lambda leaf: factor * leaf, gradient)


def update(state, moments, number, batch, draws, settings):
    """A critic step and a policy step of one Adam, whose other gradients are 0; the policy step uses the old critics.

    The targets move towards the parameters before both steps.
    """
    critic_metrics, gradient = critic_loss(state, batch, draws, settings)
    gradient = [clipped(gradient, settings.max_norm), each(np.zeros_like, state.policy)]
    (q, policy), *moments = adam(state.learnt(), gradient, *moments, 2 * number - 1, settings.rate)

    policy_metrics, gradient = policy_loss(state, policy, batch, draws, settings)
    gradient = [each(np.zeros_like, q), clipped(gradient, settings.max_norm)]
    (q, policy), *moments = adam([q, policy], gradient, *moments, 2 * number, settings.rate)

    moved = replace(
        state,
        q=q,
        policy=policy,
        target_q=polyak(state.target_q, state.q, settings.tau),
        target_policy=polyak(state.target_policy, state.policy, settings.tau),
    )
    return critic_metrics, policy_metrics, moved, moments
