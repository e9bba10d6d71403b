r"""One update of Value Flows (arXiv 2510.07650), from its equations, in NumPy alone.

Reductions are those of the authors' code, and the exceptions are those that the recipe's page lists. Nothing here depends on
floqzoo. Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients are written by hand.
"""

from dataclasses import dataclass, field

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak
from transcription import euler, joined
from transcription_of_baselines import flow_policy


@dataclass
class Settings:
    """The hyperparameters; `score_noise` are the fixed noise samples of the score, `low` and `high` bound returns."""

    discount: float
    tau: float
    rate: float
    low: float
    high: float
    q_agg: str
    ret_agg: str
    lambda_b: float
    lambda_d: float
    temperature: float
    flow_steps: int
    alpha: float
    score_noise: np.ndarray


@dataclass
class Draws:
    """The random numbers of one update, for B transitions."""

    candidates: np.ndarray  # (B, N, A), normal
    noise: np.ndarray  # (B,), normal: one for both losses
    std_noise: np.ndarray  # (B,), normal: for the confidence weight
    times: np.ndarray  # (B,), uniform: one for both losses
    flow_noise: np.ndarray  # (B, A), normal
    flow_times: np.ndarray  # (B,), uniform
    step_noise: np.ndarray | None = None  # (B, A), normal: of the one-step policy


@dataclass
class State:
    """Networks."""

    critic: list
    policy: list
    target: list
    one_step: list = field(default_factory=list)

    def learnt(self):
        return [self.critic, [self.policy, self.one_step]]


def inputs(s, a, z, t):
    return joined(s, a, z[:, None], np.broadcast_to(t, z.shape)[:, None])


def velocity(network, s, a, z, t):
    return apply(network, inputs(s, a, z, t))[:, 0]


def trajectory(network, s, a, z, end, settings):
    """The states at 0, end/K, 2 end/K, ..., end: K Euler steps, each clipped."""
    states = [z]
    for k in range(settings.flow_steps):
        z = z + end / settings.flow_steps * velocity(network, s, a, z, k * end / settings.flow_steps)
        z = np.clip(z, settings.low, settings.high)
        states.append(z)
    return states


def aggregated(name, values):
    return np.min(values, axis=0) if name == "min" else np.mean(values, axis=0)


# The critic


def one_step_values(critic, s, a, noise, settings):
    """clip(eps + v_e(0, eps | s, a)) for each member, (E, B)."""
    eps = np.full(len(s), noise)
    return np.stack([np.clip(eps + velocity(net, s, a, eps, 0.0), settings.low, settings.high) for net in critic])


def score(critic, s, a, settings):
    """The mean over the fixed noise samples of agg_e."""
    return np.mean(
        [aggregated(settings.q_agg, one_step_values(critic, s, a, eps, settings)) for eps in settings.score_noise],
        axis=0,
    )


def score_gradient(critic, s, a, settings):
    """The gradient of the sum of scores by the actions."""
    found = np.zeros_like(a)
    for noise in settings.score_noise:
        eps = np.full(len(s), noise)
        values = one_step_values(critic, s, a, noise, settings)
        for e, network in enumerate(critic):
            share = values.argmin(axis=0) == e if settings.q_agg == "min" else np.full(len(s), 1 / len(critic))
            out, tape = outputs_and_tape(network, inputs(s, a, eps, 0.0))
            free = (eps + out[:, 0] > settings.low) & (eps + out[:, 0] < settings.high)
            _, by_input = gradients(network, tape, (share * free)[:, None])
            found += by_input[:, s.shape[1] : -2] / len(settings.score_noise)
    return found


def return_stds(critic, s, a, noise, settings):
    """agg_e |prod_k (1 + dv_e/dz(t_k, z_k) / K)| along the clipped states."""
    stds = []
    for network in critic:
        product = np.ones(len(s))
        for k, z in enumerate(trajectory(network, s, a, noise, 1.0, settings)[:-1]):
            _, tape = outputs_and_tape(network, inputs(s, a, z, k / settings.flow_steps))
            _, by_input = gradients(network, tape, np.ones((len(s), 1)))
            product = product * (1 + by_input[:, -2] / settings.flow_steps)
        stds.append(np.abs(product))
    return aggregated(settings.q_agg, stds)


def critic_loss(state, batch, draws, settings):
    """mean_b w (lambda_B sum_e BCFM_e + lambda_D 1[continues] sum_e DCFM_e), and its gradients."""
    a_next = best_of_n(state, batch.s_next, draws.candidates, settings)
    t, eps, size = draws.times, draws.noise, len(batch.r)
    at_next = (batch.s_next, a_next)
    outputs = [trajectory(net, *at_next, eps, np.ones(size), settings)[-1] for net in state.target]
    stopped = [trajectory(net, *at_next, eps, t, settings)[-1] for net in state.target]
    z_1, z_t = aggregated(settings.ret_agg, outputs), aggregated(settings.ret_agg, stopped)
    label = aggregated(settings.ret_agg, [velocity(net, *at_next, z_t, t) for net in state.target])
    gamma = settings.discount * batch.discount
    returns = batch.r + gamma * z_1
    stds = return_stds(state.target, batch.s, batch.a, draws.std_noise, settings)
    weight = 1 / (1 + np.exp(settings.temperature / stds)) + 0.5

    terms = (
        (settings.lambda_b * np.ones(size), (1 - t) * eps + t * returns, returns - eps),
        (settings.lambda_d * (gamma > 0), batch.r + gamma * z_t, label),
    )
    losses, found = np.zeros((2, size)), []
    for network in state.critic:
        by_terms = []
        for number, (factor, point, wanted) in enumerate(terms):
            out, tape = outputs_and_tape(network, inputs(batch.s, batch.a, point, t))
            error = out[:, 0] - wanted
            losses[number] += error**2
            by_terms.append(gradients(network, tape, (weight * factor * 2 * error / size)[:, None])[0])
        found.append(each(np.add, *by_terms))
    bcfm, dcfm = losses[0], losses[1] * (gamma > 0)
    q = score(state.critic, batch.s, batch.a, settings)
    metrics = {
        "critic_loss": np.mean(weight * (settings.lambda_b * bcfm + settings.lambda_d * dcfm)),
        "bcfm_loss": np.mean(bcfm),
        "dcfm_loss": np.mean(dcfm),
        "q_mean": np.mean(q),
        "q_max": np.max(q),
        "q_min": np.min(q),
        "return_std": np.mean(stds),
        "confidence": np.mean(weight),
    }
    return metrics, found


# The policies


def flow_actions(state, s, noise, settings):
    def of(t, x):
        return apply(state.policy, joined(s, x, np.full((len(x), 1), t)))

    return np.clip(euler(of, noise, settings.flow_steps), -1, 1)


def best_of_n(state, s, noise, settings):
    """Of N flow outputs at each observation, from noise (B, N, A), the one with the highest score of the online critic."""
    rows = np.repeat(s, noise.shape[1], axis=0)
    actions = flow_actions(state, rows, noise.reshape(len(rows), -1), settings)
    scores = score(state.critic, rows, actions, settings).reshape(noise.shape[:2])
    return actions.reshape(noise.shape)[np.arange(len(s)), scores.argmax(axis=1)]


def one_step_policy(state, batch, draws, settings):
    """FQL's three terms, and the gradients of both networks."""
    flow_metrics, by_policy = flow_policy(state, batch, draws, settings)
    step, tape = outputs_and_tape(state.one_step, joined(batch.s, draws.step_noise))
    distance, action = step - flow_actions(state, batch.s, draws.step_noise, settings), np.clip(step, -1, 1)
    q = score(state.critic, batch.s, action, settings)
    by_action = -score_gradient(state.critic, batch.s, action, settings) / len(q) * (np.abs(step) < 1)
    by_step, _ = gradients(state.one_step, tape, settings.alpha * 2 * distance / distance.size + by_action)
    flow_loss, distill_loss = flow_metrics["bc_flow_loss"], np.mean(distance**2)
    metrics = {
        "actor_loss": flow_loss + settings.alpha * distill_loss - np.mean(q),
        "bc_flow_loss": flow_loss,
        "distill_loss": distill_loss,
        "q_loss": -np.mean(q),
        "q": np.mean(q),
        "mse": np.mean((action - batch.a) ** 2),
    }
    return metrics, [by_policy, by_step]


def update(state, moments, number, batch, draws, settings):
    """The metrics of critic and policy, the state after one Adam step on the sum of all losses, and Adam's moments.

    The target moves towards the critic before that step.
    """
    critic_metrics, by_critic = critic_loss(state, batch, draws, settings)
    if state.one_step:
        policy_metrics, by_policy = one_step_policy(state, batch, draws, settings)
    else:
        policy_metrics, by_flow = flow_policy(state, batch, draws, settings)
        by_policy = [by_flow, []]
    (critic, (policy, one_step)), *moments = adam(
        state.learnt(), [by_critic, by_policy], *moments, number, settings.rate
    )
    target = polyak(state.target, state.critic, settings.tau)
    return critic_metrics, policy_metrics, State(critic, policy, target, one_step), moments


def no_moments(state):
    return [each(np.zeros_like, state.learnt())] * 2
