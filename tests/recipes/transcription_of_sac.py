r"""One update of SAC (arXiv 1812.05905) as in FQL's experiments, from its equations, in NumPy alone.

Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients are written by hand. The
log-density of $a = \tanh u$ is that of $u$ plus $2 \log \cosh u$, since $1 - \tanh^2 u = 1 / \cosh^2 u$.
"""

from dataclasses import dataclass

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak
from transcription import joined
from transcription_of_baselines import ranges, values


@dataclass
class Settings:
    """The hyperparameters; `low` and `high` limit log-stds."""

    discount: float
    tau: float
    rate: float
    q_agg: str
    actor_q_agg: str
    multiplier: float
    bc_alpha: float
    backup_entropy: bool
    low: float
    high: float


@dataclass
class Draws:
    """The random numbers of one update, for B transitions."""

    next_noise: np.ndarray  # (B, A), normal
    noise: np.ndarray  # (B, A), normal


@dataclass
class State:
    """The members of the critic, the policy's network, the logarithm of the temperature, and the members of the target."""

    critic: list
    policy: list
    log_temperature: np.ndarray
    target: list

    def learnt(self):
        return [self.critic, self.policy, self.log_temperature]


def moments_of(outputs, settings):
    """Means, log-stds, and where these are inside of their limits."""
    mean, log_std = np.split(outputs, 2, axis=1)
    inside = (log_std > settings.low) & (log_std < settings.high)
    return mean, np.clip(log_std, settings.low, settings.high), inside


def log_density(u, standard, log_std):
    """Of tanh(u), where `standard` is u without its mean and divided by its std."""
    normal = -(standard**2) / 2 - np.log(np.sqrt(2 * np.pi)) - log_std
    return np.sum(normal + 2 * np.log(np.cosh(u)), axis=1)


def sampled(outputs, noise, settings):
    mean, log_std, _ = moments_of(outputs, settings)
    u = mean + np.exp(log_std) * noise
    return np.tanh(u), log_density(u, noise, log_std)


def critic_loss(state, batch, draws, settings):
    """mean_{e,b} (Q_e(s, a) - y)^2 with y = r + gamma discount (agg_e Q'_e(s', a') - beta log pi(a' | s'))."""
    a_next, log_prob = sampled(apply(state.policy, batch.s_next), draws.next_noise, settings)
    aggregate = np.min if settings.q_agg == "min" else np.mean
    value = aggregate(values(state.target, batch.s_next, a_next), axis=0)
    if settings.backup_entropy:
        value = value - np.exp(state.log_temperature) * log_prob
    y = batch.r + settings.discount * batch.discount * value

    loss, found, all_q, count = 0.0, [], [], len(state.critic)
    for network in state.critic:
        q, tape = outputs_and_tape(network, joined(batch.s, batch.a))
        error = q[:, 0] - y
        loss += np.mean(error**2) / count
        found.append(gradients(network, tape, (2 * error / len(y) / count)[:, None])[0])
        all_q.append(q)
    return {"critic_loss": loss} | ranges("q", all_q), found


def policy_loss(state, batch, draws, settings):
    """mean_b (beta log pi(a|s) - agg_e Q_e(s, a)) - alpha mean_b log pi(a_data|s) + beta (H - target), and its gradients.

    beta is a constant of the first term, and H = -mean_b log pi(a|s) one of the last.
    """
    size, action_dim = batch.a.shape
    temperature = np.exp(state.log_temperature)
    outputs, tape = outputs_and_tape(state.policy, batch.s)
    mean, log_std, inside = moments_of(outputs, settings)
    std = np.exp(log_std)
    u = mean + std * draws.noise
    action, log_prob = sampled(outputs, draws.noise, settings)

    evaluations = [outputs_and_tape(network, joined(batch.s, action)) for network in state.critic]
    all_q = np.stack([out[:, 0] for out, _ in evaluations])
    if settings.actor_q_agg == "min":
        q, share = all_q.min(axis=0), all_q == all_q.min(axis=0)
    else:
        q, share = all_q.mean(axis=0), np.full(all_q.shape, 1 / len(all_q))
    slope = np.zeros_like(action)
    for network, (_, tape_of_q), outer in zip(state.critic, evaluations, share, strict=True):
        slope += gradients(network, tape_of_q, outer[:, None].astype(float))[1][:, -action_dim:]

    by_u = temperature * 2 * np.tanh(u) - slope * (1 - action**2)
    by_mean, by_log_std = by_u, by_u * std * draws.noise - temperature

    u_data = np.arctanh(batch.a)
    standard = (u_data - mean) / std
    bc_loss = -np.mean(log_density(u_data, standard, log_std))
    by_mean = by_mean - settings.bc_alpha * standard / std
    by_log_std = by_log_std + settings.bc_alpha * (1 - standard**2)
    outer = np.concatenate([by_mean, np.where(inside, by_log_std, 0.0)], axis=1) / size
    gradient, _ = gradients(state.policy, tape, outer)

    entropy = -np.mean(log_prob)
    by_log_temperature = temperature * (entropy + settings.multiplier * action_dim)
    sac_loss = np.mean(temperature * log_prob - q)
    metrics = {
        "actor_loss": sac_loss + settings.bc_alpha * bc_loss + by_log_temperature,
        "sac_loss": sac_loss,
        "bc_loss": bc_loss,
        "temperature_loss": by_log_temperature,
        "temperature": temperature,
        "entropy": entropy,
        "std": np.mean(std),
        "q": np.mean(q),
        "mse": np.mean((np.tanh(mean) - batch.a) ** 2),
    }
    return metrics, gradient, by_log_temperature


def update(state, moments, number, batch, draws, settings):
    """One Adam step on the sum of all losses; the target moves towards the critic before that step.

    Returns the metrics of critic and policy before it, the state after it, and Adam's moments.
    """
    critic_metrics, critic_gradient = critic_loss(state, batch, draws, settings)
    policy_metrics, policy_gradient, by_log_temperature = policy_loss(state, batch, draws, settings)
    gradient = [critic_gradient, policy_gradient, by_log_temperature]
    learnt, *moments = adam(state.learnt(), gradient, *moments, number, settings.rate)
    return critic_metrics, policy_metrics, State(*learnt, polyak(state.target, state.critic, settings.tau)), moments


def no_moments(state):
    """Adam's moments before the first update."""
    return [each(np.zeros_like, state.learnt())] * 2
