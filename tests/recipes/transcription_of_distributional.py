r"""One update of IQN (arXiv 1806.06923), C51 (arXiv 1707.06887) and CODAC (arXiv 2107.06106) with flow policies, in NumPy.

Policies and reductions are those of Value Flows' experiments (arXiv 2510.07650). Nothing here depends on floqzoo. Every
random number is an argument, in `Draws`; every constant in `Settings`. The gradients are written by hand.
"""

from dataclasses import dataclass, field

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak
from transcription import euler, joined
from transcription_of_baselines import flow_policy


@dataclass
class Settings:
    """The hyperparameters of a method; what it does not use keeps its default."""

    discount: float
    tau: float
    rate: float
    aggregate: str = "mean"
    kappa: float | None = None  # None: the quadratic loss of floq's FQL-IQN
    num_levels: int = 16
    flow_steps: int = 10
    alpha: float = 10.0
    weight: float = 0.0
    support: np.ndarray | None = None


@dataclass
class Draws:
    """The random numbers of one update, for B transitions."""

    next_noise: np.ndarray  # (B, N, A) where the policy is the best of N, (B, A) where it is one step; normal
    flow_noise: np.ndarray  # (B, A), normal
    flow_times: np.ndarray  # (B,), uniform
    target_levels: np.ndarray | None = None  # (B, n'), uniform
    levels: np.ndarray | None = None  # (B, n), uniform
    step_noise: np.ndarray | None = None  # (B, A), normal
    term_level: np.ndarray | None = None  # (B, 1), uniform
    term_uniform: np.ndarray | None = None  # (B, n, A), uniform in the box
    term_noise: np.ndarray | None = None  # (B, n, A), normal
    signs: np.ndarray | None = None  # (A,), the probe of the divergence


@dataclass
class State:
    """Networks; the critic's `shared` are the layers of condition and level, of IQN and CODAC."""

    shared: list
    critic: list
    policy: list
    target_shared: list
    target: list
    one_step: list = field(default_factory=list)

    def learnt(self):
        return [[self.shared, self.critic], [self.policy, self.one_step]]


def ranges(q):
    return {"q_mean": np.mean(q), "q_max": np.max(q), "q_min": np.min(q)}


# Quantiles: Z_e(s, a, tau) = f_e((W_c (s, a) + b_c) * (W_l cos(pi i tau) + b_l)), or f_e(s, a, cos(pi i tau))


def cosines(levels, count):
    return np.cos(np.pi * levels[..., None] * np.arange(1, count + 1))


def affine(layer, x):
    return x @ layer["weight"] + layer["bias"]


def quantiles_and_tape(shared, critic, s, a, levels):
    """Z of each member, (E, B, n), and what its gradient needs."""
    x = joined(s, a)
    if shared:
        phi = cosines(levels, len(shared[1]["weight"]))
        of_x, of_level = affine(shared[0], x), affine(shared[1], phi)
        features = of_x[:, None] * of_level
    else:
        phi = cosines(levels, len(critic[0][0]["weight"]) - x.shape[1])
        of_x = of_level = None
        features = np.concatenate([np.repeat(x[:, None], levels.shape[1], axis=1), phi], axis=2)
    found = [outputs_and_tape(network, features.reshape(-1, features.shape[-1])) for network in critic]
    z = np.stack([out.reshape(levels.shape) for out, _ in found])
    return z, (x, phi, of_x, of_level, [tape for _, tape in found])


def quantile_gradients(shared, critic, tape, outer):
    """The gradients of sum(outer * Z) by the shared layers, the members and (s, a); `outer` is (E, B, n)."""
    x, phi, of_x, of_level, tapes = tape
    pairs = [
        gradients(network, tape, rows.reshape(-1, 1)) for network, tape, rows in zip(critic, tapes, outer, strict=True)
    ]
    by_members = [found for found, _ in pairs]
    by_features = sum(by_input for _, by_input in pairs).reshape(*phi.shape[:2], -1)
    if not shared:
        return [], by_members, by_features[..., : x.shape[1]].sum(axis=1)
    by_x, by_level = (by_features * of_level).sum(axis=1), by_features * of_x[:, None]
    layers = [
        {"weight": x.T @ by_x, "bias": by_x.sum(axis=0)},
        {"weight": np.einsum("bni,bnj->ij", phi, by_level), "bias": by_level.sum(axis=(0, 1))},
    ]
    return layers, by_members, by_x @ shared[0]["weight"].T


def quantiles(shared, critic, s, a, levels):
    return quantiles_and_tape(shared, critic, s, a, levels)[0]


def midpoints(settings, size):
    return np.tile((np.arange(settings.num_levels) + 0.5) / settings.num_levels, (size, 1))


def quantile_score(state, s, a, settings):
    return quantiles(state.shared, state.critic, s, a, midpoints(settings, len(s))).mean(axis=(0, 2))


def level_loss(error, level, kappa):
    """|tau - 1(error < 0)| times huber_kappa(error) / kappa, or times error^2; and its slope in the error."""
    side = np.abs(level - (error < 0))
    if kappa is None:
        return side * error**2, side * 2 * error
    small = np.abs(error) <= kappa
    huber = np.where(small, error**2 / 2, kappa * (np.abs(error) - kappa / 2))
    return side * huber / kappa, side * np.clip(error, -kappa, kappa) / kappa


def quantile_targets(state, batch, a_next, draws, settings):
    """y_j = r + gamma discount agg_e Z'_e(s', a', tau'_j), (B, n')."""
    z = quantiles(state.target_shared, state.target, batch.s_next, a_next, draws.target_levels)
    return batch.r[:, None] + settings.discount * batch.discount[:, None] * getattr(z, settings.aggregate)(axis=0)


def quantile_critic(state, batch, a_next, draws, settings):
    """mean_{e,b,j} sum_i rho_{tau_i}(y_j - Z_e(s, a, tau_i)), and its gradients."""
    y = quantile_targets(state, batch, a_next, draws, settings)
    z, tape = quantiles_and_tape(state.shared, state.critic, batch.s, batch.a, draws.levels)
    loss, slope = level_loss(y[None, :, None, :] - z[..., None], draws.levels[None, :, :, None], settings.kappa)
    averaged = z.shape[0] * z.shape[1] * y.shape[1]
    by_shared, by_members, _ = quantile_gradients(state.shared, state.critic, tape, -slope.sum(axis=3) / averaged)
    metrics = {"critic_loss": loss.sum() / averaged} | ranges(z.mean(axis=2)) | {"return_std": z.std(axis=2).mean()}
    return metrics, [by_shared, by_members]


# Atoms


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def logits(critic, s, a):
    return np.stack([apply(network, joined(s, a)) for network in critic])


def categorical_score(state, s, a, settings):
    return getattr(softmax(logits(state.critic, s, a)) @ settings.support, settings.aggregate)(axis=0)


def projected(points, weights, support):
    """Algorithm 1 of C51 for one transition: the mass of each point goes to its two neighbours."""
    m, gap = np.zeros(len(support)), support[1] - support[0]
    for point, weight in zip(np.clip(points, support[0], support[-1]), weights, strict=True):
        place = min((point - support[0]) / gap, len(support) - 1)
        lower = min(int(np.floor(place)), len(support) - 2)
        m[lower] += weight * (lower + 1 - place)
        m[lower + 1] += weight * (place - lower)
    return m


def categorical_critic(state, batch, a_next, draws, settings):
    """-mean_{e,b} sum_i m_i log softmax(f_e)_i, and its gradients (softmax - m) / (E B)."""
    del draws
    support = settings.support
    weights = softmax(logits(state.target, batch.s_next, a_next)).mean(axis=0)
    points = batch.r[:, None] + settings.discount * batch.discount[:, None] * support
    m = np.stack([projected(*pair, support) for pair in zip(points, weights, strict=True)])
    loss, found, all_p = 0.0, [], []
    for network in state.critic:
        out, tape = outputs_and_tape(network, joined(batch.s, batch.a))
        p = softmax(out)
        loss -= np.sum(m * np.log(p)) / len(m) / len(state.critic)
        found.append(gradients(network, tape, (p - m) / len(m) / len(state.critic))[0])
        all_p.append(p)
    p = np.stack(all_p)
    std = np.sqrt(p @ support**2 - (p @ support) ** 2)
    end_mass = (p[..., 0] + p[..., -1]).mean()
    return {"critic_loss": loss, **ranges(p @ support), "return_std": std.mean(), "end_mass": end_mass}, [[], found]


# Policies


def field_of(state, s):
    return lambda t, x: apply(state.policy, joined(s, x, np.full((len(x), 1), t)))


def best_of_n(score, state, s, noise, settings):
    """Of N flow outputs at each observation, from noise (B, N, A), the one with the highest score."""
    rows = np.repeat(s, noise.shape[1], axis=0)
    flat = noise.reshape(len(rows), -1)
    actions = np.clip(euler(field_of(state, rows), flat, settings.flow_steps), -1, 1)
    scores = score(state, rows, actions, settings).reshape(noise.shape[:2])
    return actions.reshape(noise.shape)[np.arange(len(s)), scores.argmax(axis=1)]


def flow_draws(state, s, noise, signs, settings):
    """The flow's outputs, unclipped, and log N(noise) minus the integral of signs^T (dv/dx) signs, by Euler steps."""
    x, integral = noise, np.zeros(len(noise))
    for k in range(settings.flow_steps):
        velocity, tape = outputs_and_tape(state.policy, joined(s, x, np.full((len(x), 1), k / settings.flow_steps)))
        _, by_input = gradients(state.policy, tape, np.tile(signs, (len(x), 1)))
        integral = integral + by_input[:, s.shape[1] : -1] @ signs / settings.flow_steps
        x = x + velocity / settings.flow_steps
    log_noise = -np.sum(noise**2, axis=1) / 2 - noise.shape[1] / 2 * np.log(2 * np.pi)
    return x, log_noise - integral


def distilled_policy(state, batch, draws, settings):
    """FQL's three terms with the score of the quantile critic, and the gradients of both networks."""
    flow_metrics, by_policy = flow_policy(state, batch, draws, settings)
    step, tape = outputs_and_tape(state.one_step, joined(batch.s, draws.step_noise))
    flow_action = np.clip(euler(field_of(state, batch.s), draws.step_noise, settings.flow_steps), -1, 1)
    distance, action = step - flow_action, np.clip(step, -1, 1)
    z, z_tape = quantiles_and_tape(state.shared, state.critic, batch.s, action, midpoints(settings, len(batch.s)))
    _, _, by_input = quantile_gradients(state.shared, state.critic, z_tape, np.full(z.shape, -1 / z.size))
    by_action = by_input[:, -action.shape[1] :] * (np.abs(step) < 1)
    by_step, _ = gradients(state.one_step, tape, settings.alpha * 2 * distance / distance.size + by_action)
    flow_loss, distill_loss, q = flow_metrics["bc_flow_loss"], np.mean(distance**2), z.mean()
    metrics = {
        "actor_loss": flow_loss + settings.alpha * distill_loss - q,
        "bc_flow_loss": flow_loss,
        "distill_loss": distill_loss,
        "q_loss": -q,
        "q": q,
        "mse": np.mean((action - batch.a) ** 2),
    }
    return metrics, [by_policy, by_step]


# CODAC's term


def conservative_term(state, batch, draws, settings):
    """mean_{e,b} (log sum_k exp(Z_e(s, a_k, tau) - log q(a_k)) - Z_e(s, a, tau)), and its gradients."""
    (size, count, dim), level = draws.term_uniform.shape, draws.term_level
    x, log_flow = flow_draws(
        state, np.repeat(batch.s, count, axis=0), draws.term_noise.reshape(-1, dim), draws.signs, settings
    )
    actions = np.concatenate([draws.term_uniform, np.clip(x, -1, 1).reshape(size, count, dim)], axis=1)
    log_q = np.concatenate([np.full((size, count), dim * np.log(0.5)), log_flow.reshape(size, count)], axis=1)
    rows, levels = np.repeat(batch.s, 2 * count, axis=0), np.repeat(level, 2 * count, axis=0)
    z, tape = quantiles_and_tape(state.shared, state.critic, rows, actions.reshape(-1, dim), levels)
    data, data_tape = quantiles_and_tape(state.shared, state.critic, batch.s, batch.a, level)
    weighed = z.reshape(-1, size, 2 * count) - log_q
    loss = np.mean(np.log(np.exp(weighed).sum(axis=2)) - data[..., 0])
    up = quantile_gradients(state.shared, state.critic, tape, softmax(weighed).reshape(z.shape) / data.size)
    down = quantile_gradients(state.shared, state.critic, data_tape, np.full(data.shape, -1 / data.size))
    return loss, each(np.add, [*up[:2]], [*down[:2]])


# Updates


def codac_critic(state, batch, a_next, draws, settings):
    td, td_gradient = quantile_critic(state, batch, a_next, draws, settings)
    term, term_gradient = conservative_term(state, batch, draws, settings)
    gradient = each(lambda one, other: one + settings.weight * other, td_gradient, term_gradient)
    loss = td["critic_loss"] + settings.weight * term
    return {"critic_loss": loss, "conservative_loss": term, "td": td}, gradient


def best_of_n_update(critic, score, state, moments, number, batch, draws, settings):
    """An update of IQN or C51; the candidates are chosen by the online critic."""
    a_next = best_of_n(score, state, batch.s_next, draws.next_noise, settings)
    critic_metrics, critic_gradient = critic(state, batch, a_next, draws, settings)
    policy_metrics, by_policy = flow_policy(state, batch, draws, settings)
    gradient = [critic_gradient, [by_policy, []]]
    return critic_metrics, policy_metrics, *stepped(state, gradient, moments, number, settings)


def one_step_update(critic, state, moments, number, batch, draws, settings):
    """An update of CODAC or FQL-IQN; the next action is the one-step policy's."""
    a_next = np.clip(apply(state.one_step, joined(batch.s_next, draws.next_noise)), -1, 1)
    critic_metrics, critic_gradient = critic(state, batch, a_next, draws, settings)
    policy_metrics, policy_gradient = distilled_policy(state, batch, draws, settings)
    gradient = [critic_gradient, policy_gradient]
    return critic_metrics, policy_metrics, *stepped(state, gradient, moments, number, settings)


def stepped(state, gradient, moments, number, settings):
    """One Adam step on the sum of all losses; the target moves towards the critic before that step."""
    ((shared, critic), (policy, one_step)), *moments = adam(state.learnt(), gradient, *moments, number, settings.rate)
    target_shared = polyak(state.target_shared, state.shared, settings.tau)
    target = polyak(state.target, state.critic, settings.tau)
    return State(shared, critic, policy, target_shared, target, one_step), moments


def no_moments(state):
    return [each(np.zeros_like, state.learnt())] * 2
