r"""One update of forward-backward representations (arXiv 2103.07945) as their recipe states it, in NumPy alone.

Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients are written by hand. A network is
a dictionary: `embeddings`, a list of dictionaries with the layers `first`, `norm` and `second`; `trunk`, a list of layers;
and `head`, a layer.
"""

from dataclasses import dataclass

import numpy as np
from plain_networks import adam, each, polyak, standardised


@dataclass
class Settings:
    """The hyperparameters, and the mean and scale by which observations are normalised."""

    discount: float
    tau: float
    forward_rate: float
    backward_rate: float
    actor_rate: float
    orthonormality: float
    alpha: float
    noise_scale: float
    noise_limit: float
    actor_agg: str
    target_agg: str
    mean: np.ndarray
    scale: np.ndarray


@dataclass
class Batch:
    """N transitions."""

    s: np.ndarray
    a: np.ndarray
    discount: np.ndarray
    s_next: np.ndarray


@dataclass
class Draws:
    """The random numbers of one loss."""

    directions: np.ndarray  # (N, d), normal
    order: np.ndarray  # (N,), a permutation
    is_goal: np.ndarray  # (N,)
    smoothing: np.ndarray  # (N, A), normal


@dataclass
class State:
    """Networks: the members of F, B, the policy, and the targets of the first two."""

    forward: list
    backward: dict
    policy: dict
    target_forward: list
    target_backward: dict

    def learnt(self):
        return [self.forward, self.backward, self.policy]


# Networks


def dense(layer, x):
    return x @ layer["weight"] + layer["bias"]


def dense_gradient(layer, x, outer):
    return {"weight": x.T @ outer, "bias": outer.sum(axis=0)}, outer @ layer["weight"].T


def outputs(network, *groups):
    """The outputs, and what their gradients need: of each embedding, and of each layer after them."""
    embedded, tapes = [], []
    for part, x in zip(network["embeddings"], groups, strict=True):
        before = dense(part["first"], x)
        unit, deviation = standardised(before)
        squashed = np.tanh(unit * part["norm"]["scale"] + part["norm"]["shift"])
        after = dense(part["second"], squashed)
        embedded.append(np.maximum(after, 0))
        tapes.append((x, unit, deviation, squashed, after))
    x, trunk = np.concatenate(embedded, axis=1), []
    for layer in network["trunk"]:
        hidden = dense(layer, x)
        trunk.append((x, hidden))
        x = np.maximum(hidden, 0)
    return dense(network["head"], x), (tapes, trunk, x)


def gradients(network, tape, outer):
    """The gradients of sum(outer * outputs) by the parameters and by each group of inputs."""
    tapes, trunk, last = tape
    found = {"embeddings": [], "trunk": []}
    found["head"], outer = dense_gradient(network["head"], last, outer)
    for layer, (x, hidden) in zip(reversed(network["trunk"]), reversed(trunk), strict=True):
        gradient, outer = dense_gradient(layer, x, outer * (hidden > 0))
        found["trunk"].insert(0, gradient)
    inputs, start = [], 0
    for part, (x, unit, deviation, squashed, after) in zip(network["embeddings"], tapes, strict=True):
        size = after.shape[1]
        second, inner = dense_gradient(part["second"], squashed, outer[:, start : start + size] * (after > 0))
        start += size
        inner = inner * (1 - squashed**2)
        norm = {"scale": (inner * unit).sum(axis=0), "shift": inner.sum(axis=0)}
        inner = inner * part["norm"]["scale"]
        along = unit * (inner * unit).mean(axis=1, keepdims=True)
        first, by_input = dense_gradient(
            part["first"], x, (inner - inner.mean(axis=1, keepdims=True) - along) / deviation
        )
        found["embeddings"].append({"first": first, "norm": norm, "second": second})
        inputs.append(by_input)
    return found, inputs


# F, B and z


def normalised(s, settings):
    return (s - settings.mean) / settings.scale


def joined(*arrays):
    return np.concatenate(arrays, axis=1)


def sphere(x):
    return np.sqrt(x.shape[1]) * x / np.linalg.norm(x, axis=1, keepdims=True)


def represented(network, s, settings):
    return sphere(outputs(network, normalised(s, settings))[0])


def forwards(networks, s, a, z, settings):
    """F_e(s, a, z) of each member, and the tapes."""
    s = normalised(s, settings)
    found = [outputs(network, joined(s, z), joined(s, a)) for network in networks]
    return np.stack([f for f, _ in found]), [tape for _, tape in found]


def aggregated(values, how):
    return values.min(axis=0) if how == "min" else values.mean(axis=0)


def tasks(state, batch, draws, settings):
    goals = represented(state.backward, batch.s_next, settings)[draws.order]
    return np.where(draws.is_goal[:, None], goals, sphere(draws.directions))


def mean_action(network, s, z, settings):
    s = normalised(s, settings)
    raw, tape = outputs(network, joined(s, z), s)
    return np.tanh(raw), tape


def with_noise(action, noise, settings):
    limit = settings.noise_limit
    return np.clip(action + np.clip(settings.noise_scale * noise, -limit, limit), -1, 1)


# Losses


def critic(state, batch, draws, settings):
    """The metrics, and the gradients by the members of F and by B."""
    size = len(batch.s)
    others, pairs = 1 - np.eye(size), size * (size - 1)
    z = tasks(state, batch, draws, settings)
    next_action = with_noise(mean_action(state.policy, batch.s_next, z, settings)[0], draws.smoothing, settings)
    next_f, _ = forwards(state.target_forward, batch.s_next, next_action, z, settings)
    next_b = represented(state.target_backward, batch.s_next, settings)
    next_m = aggregated(np.stack([f @ next_b.T for f in next_f]), settings.target_agg)
    factor = settings.discount * batch.discount
    y = factor[:, None] * next_m

    raw, b_tape = outputs(state.backward, normalised(batch.s_next, settings))
    b = sphere(raw)
    f, f_tapes = forwards(state.forward, batch.s, batch.a, z, settings)
    measure_loss, by_b, by_forward, all_m = 0.0, np.zeros_like(b), [], []
    for member, tape, f_e in zip(state.forward, f_tapes, f, strict=True):
        m = f_e @ b.T
        measure_loss += 0.5 * np.sum(others * (m - y) ** 2) / pairs - np.mean(np.diag(m))
        by_m = others * (m - y) / pairs - np.eye(size) / size
        by_forward.append(gradients(member, tape, by_m @ b)[0])
        by_b += by_m.T @ f_e
        all_m.append(m)
    products = b @ b.T
    orthonormality_loss = 0.5 * np.sum(others * products**2) / pairs - np.trace(products) / size
    by_products = others * products / pairs - np.eye(size) / size
    by_b += settings.orthonormality * (by_products + by_products.T) @ b
    length = np.linalg.norm(raw, axis=1, keepdims=True)
    unit = raw / length
    by_raw = np.sqrt(b.shape[1]) / length * (by_b - unit * np.sum(unit * by_b, axis=1, keepdims=True))
    by_backward, _ = gradients(state.backward, b_tape, by_raw)
    metrics = {
        "critic_loss": measure_loss + settings.orthonormality * orthonormality_loss,
        "measure_loss": measure_loss,
        "orthonormality_loss": orthonormality_loss,
        "m_mean": np.mean([np.sum(others * m) / pairs for m in all_m]),
        "m_next": np.mean([np.diag(m) for m in all_m]),
    }
    return metrics, by_forward, by_backward


def policy(state, batch, draws, settings):
    """The metrics, and the gradient by the policy; F and B are constants."""
    size = len(batch.s)
    z = tasks(state, batch, draws, settings)
    mean, tape = mean_action(state.policy, batch.s, z, settings)
    action = with_noise(mean, draws.smoothing, settings)
    f, f_tapes = forwards(state.forward, batch.s, action, z, settings)
    values = np.sum(f * z, axis=2)
    q = aggregated(values, settings.actor_agg)
    mean_size = np.mean(np.abs(q))
    by_action = np.zeros_like(action)
    for number, (member, f_tape) in enumerate(zip(state.forward, f_tapes, strict=True)):
        share = values.argmin(axis=0) == number if settings.actor_agg == "min" else 1 / len(f)
        _, (_, by_input) = gradients(member, f_tape, -z * np.broadcast_to(share, q.shape)[:, None] / (size * mean_size))
        by_action += by_input[:, batch.s.shape[1] :]
    # The gradient passes the clipping of the noise as if it were not there.
    by_mean = by_action + settings.alpha * (mean - batch.a) / size
    gradient, _ = gradients(state.policy, tape, by_mean * (1 - mean**2))
    bc_loss = 0.5 * np.mean(np.sum((mean - batch.a) ** 2, axis=1))
    q_loss = -np.mean(q) / mean_size
    metrics = {"actor_loss": q_loss + settings.alpha * bc_loss, "q_loss": q_loss, "bc_loss": bc_loss, "q": np.mean(q)}
    return metrics, gradient


def no_moments(state):
    """The moments of the three optimisers before the first step."""
    zeros = each(np.zeros_like, state.learnt())
    return [zeros, each(np.copy, zeros)]


def update(state, moments, number, batch, critic_draws, policy_draws, settings):
    """Update number `number`, from 1: F and B, each by its Adam, then the policy against the new ones, then the targets."""
    (forward_mean, backward_mean, policy_mean), (forward_square, backward_square, policy_square) = moments
    critic_metrics, by_forward, by_backward = critic(state, batch, critic_draws, settings)
    forward = adam(state.forward, by_forward, forward_mean, forward_square, number, settings.forward_rate)
    backward = adam(state.backward, by_backward, backward_mean, backward_square, number, settings.backward_rate)
    state = State(forward[0], backward[0], state.policy, state.target_forward, state.target_backward)
    policy_metrics, by_policy = policy(state, batch, policy_draws, settings)
    actor = adam(state.policy, by_policy, policy_mean, policy_square, number, settings.actor_rate)
    state = State(
        state.forward,
        state.backward,
        actor[0],
        polyak(state.target_forward, state.forward, settings.tau),
        polyak(state.target_backward, state.backward, settings.tau),
    )
    moments = [[forward[1], backward[1], actor[1]], [forward[2], backward[2], actor[2]]]
    return critic_metrics, policy_metrics, state, moments


# Tasks


def task(state, s, r, settings):
    """w, the mean of r B(s), and z."""
    w = np.mean(r[:, None] * represented(state.backward, s, settings), axis=0)
    return w, sphere(w[None])[0]


def score(state, s, a, w, settings):
    """F(s, a, z) . w of each row."""
    z = np.broadcast_to(sphere(w[None]), (len(s), len(w)))
    f, _ = forwards(state.forward, s, a, z, settings)
    return aggregated(f @ w, settings.actor_agg)
