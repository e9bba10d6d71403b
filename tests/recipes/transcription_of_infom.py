r"""One update of InFOM (arXiv 2506.08902) in either phase, as its recipe states it, in NumPy alone.

Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients are written by hand. A network is
a list of layers, as in `plain_networks`.
"""

from dataclasses import dataclass

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak


@dataclass
class Settings:
    """The hyperparameters, the mean and scale by which observations are normalised, and the range of futures."""

    pretraining: int
    discount: float
    tau: float
    rate: float
    kl_weight: float
    expectile: float
    alpha: float
    flow_steps: int
    policy_every: int
    q_agg: str
    intention_gradient: str
    mean: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass
class Batch:
    """B transitions."""

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray
    s_next: np.ndarray
    a_next: np.ndarray


@dataclass
class Draws:
    """The random numbers of an update; the last two of fine-tuning alone."""

    intention: np.ndarray  # (B, dz), normal
    times: np.ndarray  # (B,), uniform
    current: np.ndarray  # (B, d), normal
    future: np.ndarray  # (B, d), normal
    prior: np.ndarray  # (B, dz), normal
    goals: np.ndarray  # (B, N, d), normal


@dataclass
class State:
    """Networks: the critics, the flow, the encoder, the reward, the policy, and the target of the flow."""

    critics: list
    flow: list
    encoder: list
    reward: list
    policy: list
    target_flow: list

    def learnt(self):
        return [self.critics, self.flow, self.encoder, self.reward, self.policy]


def no_moments(state):
    zeros = each(np.zeros_like, state.learnt())
    return zeros, zeros


def zeros_like(network):
    return each(np.zeros_like, network)


def velocity(flow, s, a, z, x, t):
    return apply(flow, np.concatenate([s, a, z, x, t[:, None]], axis=1))


def solve(flow, s, a, z, noise, settings):
    """Euler's method, clipped to the range after every step."""
    x, steps = noise, settings.flow_steps
    for k in range(steps):
        x = x + velocity(flow, s, a, z, x, np.full(len(x), k / steps)) / steps
        x = np.clip(x, settings.low, settings.high)
    return x


def occupancy(state, batch, draws, settings):
    """The loss of encoder and flow: its metrics and the gradients of both."""
    (size, d), gamma = batch.s.shape, settings.discount
    encoded, encoder_tape = outputs_and_tape(state.encoder, np.concatenate([batch.s_next, batch.a_next], axis=1))
    dz = encoded.shape[1] // 2
    mu, log_std = encoded[:, :dz], encoded[:, dz:]
    std = np.exp(log_std)
    z = mu + std * draws.intention
    kl = np.mean((mu**2 + std**2 - 1) / 2 - log_std)
    t = draws.times

    x = (1 - t[:, None]) * draws.current + t[:, None] * batch.s
    inputs = np.concatenate([batch.s, batch.a, z, x, t[:, None]], axis=1)
    found, tape = outputs_and_tape(state.flow, inputs)
    error = found - (batch.s - draws.current)
    one_step = np.mean(error**2)
    flow_gradient, by_inputs = gradients(state.flow, tape, (1 - gamma) * 2 * error / (size * d))
    start = batch.s.shape[1] + batch.a.shape[1]
    by_z = by_inputs[:, start : start + dz]

    end = solve(state.target_flow, batch.s_next, batch.a_next, z, draws.future, settings)
    x = (1 - t[:, None]) * draws.future + t[:, None] * end
    wanted = velocity(state.target_flow, batch.s_next, batch.a_next, z, x, t)
    found, tape = outputs_and_tape(state.flow, np.concatenate([batch.s, batch.a, z, x, t[:, None]], axis=1))
    error = found - wanted
    bootstrap = np.mean(error**2)
    further, by_inputs = gradients(state.flow, tape, gamma * 2 * error / (size * d))
    flow_gradient = each(np.add, flow_gradient, further)
    if settings.intention_gradient == "both":
        by_z = by_z + by_inputs[:, start : start + dz]

    share = settings.kl_weight / (size * dz)
    by_mu = by_z + share * mu
    by_log_std = by_z * std * draws.intention + share * (std**2 - 1)
    encoder_gradient, _ = gradients(state.encoder, encoder_tape, np.concatenate([by_mu, by_log_std], axis=1))
    flow_loss = (1 - gamma) * one_step + gamma * bootstrap
    metrics = {
        "loss": flow_loss + settings.kl_weight * kl,
        "flow_loss": flow_loss,
        "one_step_loss": one_step,
        "bootstrap_loss": bootstrap,
        "kl": kl,
    }
    return metrics, flow_gradient, encoder_gradient


def log_density(mean, a):
    return -np.sum((a - mean) ** 2 + np.log(2 * np.pi), axis=1) / 2


def cloning(state, batch):
    mean, tape = outputs_and_tape(state.policy, batch.s)
    log_prob = log_density(mean, batch.a)
    gradient, _ = gradients(state.policy, tape, (mean - batch.a) / len(mean))
    metrics = {
        "actor_loss": -log_prob.mean(),
        "bc_log_prob": log_prob.mean(),
        "mse": np.mean((mean - batch.a) ** 2),
    }
    return metrics, gradient


def values(state, batch, draws, settings):
    """The targets of the critics: one z for each transition, shared by its futures."""
    count = draws.goals.shape[1]
    rows = [np.repeat(x, count, axis=0) for x in (batch.s, batch.a, draws.prior)]
    goals = solve(state.flow, *rows, draws.goals.reshape(-1, batch.s.shape[1]), settings)
    rewards = apply(state.reward, goals)[:, 0].reshape(-1, count)
    return rewards.mean(axis=1) / (1 - settings.discount)


def critics_loss(state, batch, target, settings):
    inputs = np.concatenate([batch.s, batch.a], axis=1)
    found, losses, q = [], [], []
    for critic in state.critics:
        value, tape = outputs_and_tape(critic, inputs)
        u = target - value[:, 0]
        weight = np.where(u < 0, 1 - settings.expectile, settings.expectile)
        losses.append(weight * u**2)
        q.append(value[:, 0])
        outer = -2 * weight * u / (len(u) * len(state.critics))
        found.append(gradients(critic, tape, outer[:, None])[0])
    return np.mean(losses), np.array(q), found


def reward_loss(state, batch):
    found, tape = outputs_and_tape(state.reward, batch.s)
    error = found[:, 0] - batch.r
    return np.mean(error**2), gradients(state.reward, tape, 2 * error[:, None] / len(error))[0]


def improvement(state, batch, settings):
    """The policy's loss: -Q at its clipped mean, and cloning."""
    mean, tape = outputs_and_tape(state.policy, batch.s)
    action = np.clip(mean, -1, 1)
    inputs, size = np.concatenate([batch.s, action], axis=1), len(mean)
    solved = [outputs_and_tape(critic, inputs) for critic in state.critics]
    q = np.array([value[:, 0] for value, _ in solved])
    least = (q == q.min(axis=0)).astype(float)
    shares = least if settings.q_agg == "min" else np.full(q.shape, 1 / len(q))
    by_action = sum(
        gradients(critic, tape_q, -share[:, None] / size)[1][:, batch.s.shape[1] :]
        for critic, (_, tape_q), share in zip(state.critics, solved, shares, strict=True)
    )
    by_action = by_action * (np.abs(mean) < 1)
    log_prob = log_density(mean, batch.a)
    gradient, _ = gradients(state.policy, tape, by_action + settings.alpha * (mean - batch.a) / size)
    q_loss = -(shares * q).sum(axis=0).mean()
    metrics = {
        "actor_loss": q_loss - settings.alpha * log_prob.mean(),
        "q_loss": q_loss,
        "bc_log_prob": log_prob.mean(),
        "mse": np.mean((mean - batch.a) ** 2),
    }
    return metrics, gradient


def update(state, moments, number, batch, draws, settings):
    """Update `number`, from 1: the metrics of critic and policy, and the state and moments after it.

    The metrics of the policy are None where it has no loss.
    """
    batch = Batch(
        (batch.s - settings.mean) / settings.scale,
        batch.a,
        batch.r,
        (batch.s_next - settings.mean) / settings.scale,
        batch.a_next,
    )
    measure, flow_gradient, encoder_gradient = occupancy(state, batch, draws, settings)
    if number <= settings.pretraining:
        critic = {"critic_loss": measure["loss"]}
        q_gradient, reward_gradient = zeros_like(state.critics), zeros_like(state.reward)
        actor, policy_gradient = cloning(state, batch)
    else:
        target = values(state, batch, draws, settings)
        q_loss, q, q_gradient = critics_loss(state, batch, target, settings)
        r_loss, reward_gradient = reward_loss(state, batch)
        critic = {
            "critic_loss": measure["loss"] + q_loss + r_loss,
            "q_loss": q_loss,
            "reward_loss": r_loss,
            "target_mean": target.mean(),
            "q_mean": q.mean(),
            "q_max": q.max(),
            "q_min": q.min(),
        }
        actor, policy_gradient = None, zeros_like(state.policy)
        if number % settings.policy_every == 0:
            actor, policy_gradient = improvement(state, batch, settings)
    critic |= {f"occupancy/{name}": value for name, value in measure.items()}

    gradient = [q_gradient, flow_gradient, encoder_gradient, reward_gradient, policy_gradient]
    learnt, mean, square = adam(state.learnt(), gradient, *moments, number, settings.rate)
    target = polyak(state.target_flow, state.flow, settings.tau)
    if number == settings.pretraining:
        target = learnt[1]
    return critic, actor, State(*learnt, target), (mean, square)
