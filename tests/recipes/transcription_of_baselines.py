r"""One update of IQL (arXiv 2110.06169), of IFQL and of ReBRAC (arXiv 2305.09836), from their equations, in NumPy alone.

IFQL and the reductions of all three are those of FQL's experiments (arXiv 2502.02538). Nothing here depends on floqzoo.
Every random number is an argument, in `Draws`; every constant in `Settings`. The gradients are written by hand.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak
from transcription import euler, joined


@dataclass
class Settings:
    """The hyperparameters of a method; the others keep their defaults and are not used."""

    discount: float
    tau: float
    rate: float
    expectile: float = 0.9
    alpha: float = 10.0
    max_weight: float = 100.0
    flow_steps: int = 10
    alpha_actor: float = 0.1
    alpha_critic: float = 0.01
    every: int = 2
    noise_scale: float = 0.2
    noise_limit: float = 0.5


@dataclass
class Batch:
    """B transitions."""

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray
    discount: np.ndarray
    s_next: np.ndarray
    a_next: np.ndarray


@dataclass
class Draws:
    """The random numbers of one update: IFQL uses the first two, ReBRAC the third, IQL none."""

    flow_noise: np.ndarray | None = None  # (B, A), normal
    flow_times: np.ndarray | None = None  # (B,), uniform
    smoothing: np.ndarray | None = None  # (B, A), normal


@dataclass
class State:
    """Networks. `v` is empty for ReBRAC, `target_policy` for IQL and IFQL; `policy` of IFQL is the velocity field."""

    q: list
    v: list
    policy: list
    target_q: list
    target_policy: list = field(default_factory=list)

    def learnt(self):
        return [[self.q, self.v], self.policy]


def values(ensemble, s, a):
    """Q_e(s, a), (members, B)."""
    return np.stack([apply(network, joined(s, a))[:, 0] for network in ensemble])


def ranges(name, x):
    return {f"{name}_mean": np.mean(x), f"{name}_max": np.max(x), f"{name}_min": np.min(x)}


# IQL's critic, which is IFQL's too


def iql_critic(state, batch, settings):
    """The losses of V and Q, and the gradients of both.

    V: mean_b |kappa - 1(u < 0)| u^2 with u = min_e Q'_e(s, a) - V(s), Q' the target networks.
    Q: mean_b sum_e (Q_e(s, a) - y)^2 with y = r + gamma discount V(s'), V before the step and without a target network.
    """
    size = len(batch.r)
    v, tape = outputs_and_tape(state.v, batch.s)
    v = v[:, 0]
    u = values(state.target_q, batch.s, batch.a).min(axis=0) - v
    slope = np.abs(settings.expectile - (u < 0))
    value_loss = np.mean(slope * u**2)
    v_gradient, _ = gradients(state.v, tape, (-2 * slope * u / size)[:, None])

    y = batch.r + settings.discount * batch.discount * apply(state.v, batch.s_next)[:, 0]
    q_loss, q_gradients, all_q = 0.0, [], []
    for network in state.q:
        q, tape = outputs_and_tape(network, joined(batch.s, batch.a))
        error = q[:, 0] - y
        q_loss += np.mean(error**2)
        q_gradients.append(gradients(network, tape, (2 * error / size)[:, None])[0])
        all_q.append(q)
    metrics = {"critic_loss": value_loss + q_loss, "value_loss": value_loss, "q_loss": q_loss}
    return metrics | ranges("q", all_q) | ranges("v", v), [q_gradients, v_gradient]


# IQL's policy


def advantages(state, batch):
    """min_e Q_e(s, a) - V(s), of the online networks."""
    return values(state.q, batch.s, batch.a).min(axis=0) - apply(state.v, batch.s)[:, 0]


def advantage_weights(state, batch, settings):
    """min(exp(alpha A), 100)."""
    return np.minimum(np.exp(settings.alpha * advantages(state, batch)), settings.max_weight)


def awr_policy(state, batch, draws, settings):
    """-mean_b w log N(a; f(s), I), and its gradient; the weights are constants."""
    del draws
    weight = advantage_weights(state, batch, settings)
    mean, tape = outputs_and_tape(state.policy, batch.s)
    error = batch.a - mean
    log_prob = -np.sum(error**2, axis=1) / 2 - batch.a.shape[1] / 2 * np.log(2 * np.pi)
    gradient, _ = gradients(state.policy, tape, -weight[:, None] * error / len(error))
    metrics = {
        "actor_loss": -np.mean(weight * log_prob),
        "advantage": np.mean(advantages(state, batch)),
        "bc_log_prob": np.mean(log_prob),
        "mse": np.mean(error**2),
    }
    return metrics, gradient


# IFQL's policy


def flow_policy(state, batch, draws, settings):
    """The mean over batch and coordinates of |v(s, x_t, t) - (a - x_0)|^2, x_t = (1 - t) x_0 + t a; its gradient."""
    del settings
    t = draws.flow_times[:, None]
    x_t = (1 - t) * draws.flow_noise + t * batch.a
    velocity, tape = outputs_and_tape(state.policy, joined(batch.s, x_t, t))
    error = velocity - (batch.a - draws.flow_noise)
    gradient, _ = gradients(state.policy, tape, 2 * error / error.size)
    loss = np.mean(error**2)
    return {"actor_loss": loss, "bc_flow_loss": loss}, gradient


def best_of_n(state, s, noise, settings):
    """The action at one observation: of N flow outputs, from N rows of noise, the one with the highest min_e Q_e."""
    s = np.repeat(s[None], len(noise), axis=0)

    def velocity(t, x):
        return apply(state.policy, joined(s, x, np.full((len(x), 1), t)))

    actions = np.clip(euler(velocity, noise, settings.flow_steps), -1, 1)
    return actions[np.argmax(values(state.q, s, actions).min(axis=0))]


def joint_update(policy_loss, state, moments, number, batch, draws, settings):
    """An update of IQL or IFQL: one Adam step on the sum of all losses; the target moves towards Q before that step.

    Returns the metrics of critic and policy before it, the state after it, and Adam's moments.
    """
    critic_metrics, critic_gradient = iql_critic(state, batch, settings)
    policy_metrics, policy_gradient = policy_loss(state, batch, draws, settings)
    gradient = [critic_gradient, policy_gradient]
    ((q, v), policy), *moments = adam(state.learnt(), gradient, *moments, number, settings.rate)
    target_q = polyak(state.target_q, state.q, settings.tau)
    return critic_metrics, policy_metrics, State(q, v, policy, target_q), moments


def iql_update(*arguments):
    return joint_update(awr_policy, *arguments)


def ifql_update(*arguments):
    return joint_update(flow_policy, *arguments)


# ReBRAC


def smoothed(action, noise, settings):
    """clip(a + clip(sigma noise, -c, c), -1, 1)."""
    limit = settings.noise_limit
    return np.clip(action + np.clip(settings.noise_scale * noise, -limit, limit), -1, 1)


def rebrac_critic(state, batch, draws, settings):
    """mean_{e,b} (Q_e(s, a) - y)^2 with y = r + gamma discount (min_e Q'_e(s', a') - beta sum_d (a' - a'_data)^2).

    a' is the target policy's action with smoothing noise.
    """
    a_next = smoothed(np.tanh(apply(state.target_policy, batch.s_next)), draws.smoothing, settings)
    penalty = settings.alpha_critic * np.sum((a_next - batch.a_next) ** 2, axis=1)
    q_next = values(state.target_q, batch.s_next, a_next).min(axis=0)
    y = batch.r + settings.discount * batch.discount * (q_next - penalty)

    loss, found, all_q = 0.0, [], []
    for network in state.q:
        q, tape = outputs_and_tape(network, joined(batch.s, batch.a))
        error = q[:, 0] - y
        loss += np.mean(error**2) / len(state.q)
        found.append(gradients(network, tape, (2 * error / len(y) / len(state.q))[:, None])[0])
        all_q.append(q)
    return {"critic_loss": loss} | ranges("q", all_q), [found, []]


def rebrac_policy(q, policy, batch, settings):
    """-mean_b lambda min_e Q_e(s, pi(s)) + alpha mean_b sum_d (pi(s) - a)^2, lambda = 1 / mean_b |min_e Q_e|, a constant.

    The gradient of a minimum is that of its smallest member.
    """
    size, action_dim = batch.a.shape
    before_tanh, tape = outputs_and_tape(policy, batch.s)
    action = np.tanh(before_tanh)
    evaluations = [outputs_and_tape(network, joined(batch.s, action)) for network in q]
    all_q = np.stack([out[:, 0] for out, _ in evaluations])
    least, smallest = all_q.min(axis=0), all_q.argmin(axis=0)
    scale = 1 / np.mean(np.abs(least))
    q_loss = -scale * np.mean(least)
    distance = action - batch.a
    bc_loss = np.mean(np.sum(distance**2, axis=1))

    by_action = settings.alpha_actor * 2 * distance / size
    for e, (network, (_, tape_of_q)) in enumerate(zip(q, evaluations, strict=True)):
        outer = np.where(smallest == e, -scale / size, 0.0)[:, None]
        by_action = by_action + gradients(network, tape_of_q, outer)[1][:, -action_dim:]
    gradient, _ = gradients(policy, tape, by_action * (1 - action**2))
    loss = q_loss + settings.alpha_actor * bc_loss
    return {"actor_loss": loss, "q_loss": q_loss, "bc_loss": bc_loss, "q": np.mean(least)}, gradient


def rebrac_update(state, moments, number, batch, draws, settings):
    """A critic step; in updates number 2, 4, ... then a policy step against the new critic, by an Adam of its own, after
    which the targets of both move towards the new parameters.

    The metrics of the policy are None where it makes no step.
    """
    mean, square = moments
    critic_metrics, gradient = rebrac_critic(state, batch, draws, settings)
    critic, *critic_moments = adam([state.q, []], gradient, mean[0], square[0], number, settings.rate)
    state = replace(state, q=critic[0])
    policy_metrics, policy_moments = None, (mean[1], square[1])
    if number % settings.every == 0:
        count = number // settings.every
        policy_metrics, gradient = rebrac_policy(state.q, state.policy, batch, settings)
        policy, *policy_moments = adam(state.policy, gradient, *policy_moments, count, settings.rate)
        state = replace(
            state,
            policy=policy,
            target_q=polyak(state.target_q, state.q, settings.tau),
            target_policy=polyak(state.target_policy, policy, settings.tau),
        )
    moments = [list(pair) for pair in zip(critic_moments, policy_moments, strict=True)]
    return critic_metrics, policy_metrics, state, moments


def no_moments(state):
    """Adam's moments before the first update."""
    return [each(np.zeros_like, state.learnt())] * 2
