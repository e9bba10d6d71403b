r"""One update of floq (arXiv 2509.06863) and one of FQL (arXiv 2502.02538), from their equations, in NumPy alone.

Nothing here knows floqzoo. Every random number comes in from outside, in `Draws`; every constant in `Settings`.
The gradients are written out: as no gradient passes through an integration or into a target, each loss needs that of
one network evaluation only.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from plain_networks import adam, apply, each, gradients, outputs_and_tape, polyak


@dataclass
class Settings:
    """Numbers, and the choices that the methods leave open. `bounds` are those of the value embedding."""

    discount: float
    alpha: float
    tau: float
    rate: float
    aggregate: str = "mean"
    normalise: bool = False
    critic_steps: int = 8
    actor_steps: int = 10
    bounds: tuple = (-100.0, 0.0)
    edges: int = 51
    sigma: float = 16.0
    histogram: bool = True


@dataclass
class Batch:
    """B transitions; of chunks, `a` has the actions of all steps, and `valid` whether each lies in the episode, (B, h)."""

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray
    discount: np.ndarray
    s_next: np.ndarray
    valid: np.ndarray = None

    def __post_init__(self):
        if self.valid is None:
            self.valid = np.ones((len(self.r), 1))

    @property
    def counts(self):
        """(B,): whether each transition counts in the losses of the critic, as all of its steps must for that."""
        return self.valid[:, -1]


@dataclass
class Draws:
    """The random numbers of one update; m is the number of noise copies, and A of action coordinates."""

    next_action_noise: np.ndarray  # (B, m, A) for floq, (B, A) for FQL; normal
    flow_noise: np.ndarray  # (B, A), normal, where the behaviour flow is trained
    flow_times: np.ndarray  # (B,), uniform
    step_noise: np.ndarray  # (B, A), normal, where the one-step policy is trained
    z: np.ndarray = None  # (B, m), uniform over the noise interval, where the critic is trained
    z_next: np.ndarray = None  # (B, m), the same law, where the target flow starts
    times: np.ndarray = None  # (B, m), uniform


@dataclass
class State:
    """Networks: `critic` is the monolithic ensemble or the distilled one, `fields` are floq's velocity fields."""

    critic: list
    behaviour: list
    one_step: list
    target: list
    fields: list = field(default_factory=list)

    def learnt(self):
        return [self.critic, self.behaviour, self.one_step, self.fields]


# What both methods share


def joined(*columns):
    return np.concatenate(columns, axis=1)


def euler(velocity, x, steps):
    """x_{k+1} = x_k + v(k/K, x_k) / K for k = 0 .. K-1: the velocity is asked at the left end of each interval."""
    for k in range(steps):
        x = x + velocity(k / steps, x) / steps
    return x


def one_step_action(state, s, noise):
    return apply(state.one_step, joined(s, noise))


def flow_action(state, s, noise, settings):
    """The end of the behaviour flow, clipped; its network sees the observation, the point and the raw time."""

    def velocity(t, x):
        return apply(state.behaviour, joined(s, x, np.full((len(x), 1), t)))

    return np.clip(euler(velocity, noise, settings.actor_steps), -1, 1)


def actor_losses(state, batch, draws, settings):
    """The behaviour flow's loss, the distillation's and the value's, and the gradients of both networks.

    Of chunks, only the first leaves out the steps that are not valid.
    """
    size = batch.a.size
    weight = np.repeat(batch.valid, batch.a.shape[1] // batch.valid.shape[1], axis=1)
    # Behaviour flow: mean over batch and coordinates of |v(t, x_t | s) - (a - x_0)|^2, x_t = (1 - t) x_0 + t a.
    t = draws.flow_times[:, None]
    x_t = (1 - t) * draws.flow_noise + t * batch.a
    velocity, tape = outputs_and_tape(state.behaviour, joined(batch.s, x_t, t))
    error = weight * (velocity - (batch.a - draws.flow_noise))
    flow_loss = np.mean(error**2)
    behaviour_gradient, _ = gradients(state.behaviour, tape, 2 * error / size)

    # One step: the flow's action from the same noise is a constant; the step itself is not clipped here.
    step, tape = outputs_and_tape(state.one_step, joined(batch.s, draws.step_noise))
    distance = step - flow_action(state, batch.s, draws.step_noise, settings)
    distill_loss = np.mean(distance**2)

    # Value: the mean over the ensemble, at the clipped step; the critics are constants.
    action = np.clip(step, -1, 1)
    evaluations = [outputs_and_tape(network, joined(batch.s, action)) for network in state.critic]
    q = np.mean([out[:, 0] for out, _ in evaluations], axis=0)
    scale = 1 / np.mean(np.abs(q)) if settings.normalise else 1.0
    q_loss = -scale * np.mean(q)
    outer = np.full((len(q), 1), -scale / len(q) / len(state.critic))
    by_action = sum(
        gradients(network, tape, outer)[1][:, -batch.a.shape[1] :]
        for network, (_, tape) in zip(state.critic, evaluations, strict=True)
    )
    by_step = settings.alpha * 2 * distance / size + by_action * (np.abs(step) < 1)
    step_gradient, _ = gradients(state.one_step, tape, by_step)
    return (flow_loss, distill_loss, q_loss), behaviour_gradient, step_gradient


# FQL


def fql_losses(state, batch, draws, settings):
    """y = r + discount mask agg_e Q'_e(s', a'), a' = clip(step(s', noise)); the mean of (Q_e(s, a) - y)^2."""
    a_next = np.clip(one_step_action(state, batch.s_next, draws.next_action_noise), -1, 1)
    q_next = [apply(network, joined(batch.s_next, a_next))[:, 0] for network in state.target]
    y = batch.r + settings.discount * batch.discount * getattr(np, settings.aggregate)(q_next, axis=0)

    critic_loss, critic_gradient = regression(state.critic, joined(batch.s, batch.a), y, batch.counts)
    actor, behaviour_gradient, step_gradient = actor_losses(state, batch, draws, settings)
    return [critic_loss, *actor], [critic_gradient, behaviour_gradient, step_gradient, []]


def regression(ensemble, inputs, y, counts):
    """The mean over ensemble and batch of counts (Q_e - y)^2, and its gradient."""
    loss, found = 0.0, []
    for network in ensemble:
        q, tape = outputs_and_tape(network, inputs)
        error = counts * (q[:, 0] - y)
        loss += np.mean(error**2) / len(ensemble)
        found.append(gradients(network, tape, 2 * error[:, None] / len(y) / len(ensemble))[0])
    return loss, found


# floq


def value_features(z, settings):
    """The mass that a Gaussian around z puts into each bin, of all that it puts between the outer edges."""
    low, high = settings.bounds
    if not settings.histogram:
        return (z[:, None] - low) / (high - low)
    width = (high - low) / (settings.edges - 1)
    features = np.zeros((len(z), settings.edges - 1))
    for b, value in enumerate(z):
        below = [
            math.erf((low + i * width - value) / (math.sqrt(2) * settings.sigma * width)) for i in range(settings.edges)
        ]
        features[b] = [(below[i + 1] - below[i]) / (below[-1] - below[0]) for i in range(settings.edges - 1)]
    return features


def field_inputs(s, a, z, t, settings):
    """What a velocity field sees: observation, action, the value's features, and the cosine of the time."""
    return joined(s, a, value_features(z, settings), np.cos(np.broadcast_to(t, z.shape))[:, None])


def end_of_flow(network, s, a, z, settings):
    """Q(s, a, z): where the flow that starts in z ends."""

    def velocity(t, z):
        return apply(network, field_inputs(s, a, z, t, settings))[:, 0]

    return euler(velocity, z, settings.critic_steps)


def floq_targets(state, batch, draws, settings):
    """y = r + discount mask mean_j agg_e Q'_e(s', a'_j, z'_j): each copy j has a next action of its own, and the
    ensemble is aggregated before the copies are averaged."""
    copies = []
    for j in range(draws.z.shape[1]):
        a_next = np.clip(one_step_action(state, batch.s_next, draws.next_action_noise[:, j]), -1, 1)
        ends = [end_of_flow(network, batch.s_next, a_next, draws.z_next[:, j], settings) for network in state.target]
        copies.append(getattr(np, settings.aggregate)(ends, axis=0))
    return batch.r + settings.discount * batch.discount * np.mean(copies, axis=0)


def flow_loss(state, batch, draws, y, settings):
    """(v_e(t_j, (1 - t_j) z_j + t_j y) - (y - z_j))^2, summed over copies j, averaged over members and batch."""
    loss, found = 0.0, []
    members, size = len(state.fields), len(y)
    for network in state.fields:
        total = each(np.zeros_like, network)
        for j in range(draws.z.shape[1]):
            t, z = draws.times[:, j], draws.z[:, j]
            inputs = field_inputs(batch.s, batch.a, (1 - t) * z + t * y, t, settings)
            velocity, tape = outputs_and_tape(network, inputs)
            error = batch.counts * (velocity[:, 0] - (y - z))
            loss += np.sum(error**2) / members / size
            total = each(np.add, total, gradients(network, tape, 2 * error[:, None] / members / size)[0])
        found.append(total)
    return loss, found


def floq_losses(state, batch, draws, settings):
    """The flow's loss and the readout's, which regresses to the online flow's mean end over members and copies."""
    y = floq_targets(state, batch, draws, settings)
    velocity_loss, field_gradient = flow_loss(state, batch, draws, y, settings)
    ends = [
        end_of_flow(network, batch.s, batch.a, draws.z[:, j], settings)
        for network in state.fields
        for j in range(draws.z.shape[1])
    ]
    readout_loss, readout_gradient = regression(
        state.critic, joined(batch.s, batch.a), np.mean(ends, axis=0), batch.counts
    )
    actor, behaviour_gradient, step_gradient = actor_losses(state, batch, draws, settings)
    losses = [velocity_loss, readout_loss, *actor]
    return losses, [readout_gradient, behaviour_gradient, step_gradient, field_gradient]


# One update of either


def update(losses_of, state, moments, count, batch, draws, settings):
    """One Adam step on the sum of all losses; then the target moves towards the parameters from *before* that step.

    Returns the losses before it, the state after it, and Adam's moments.
    """
    losses, gradient = losses_of(state, batch, draws, settings)
    learnt, mean, square = adam(state.learnt(), gradient, *moments, count, settings.rate)
    target = polyak(state.target, state.fields or state.critic, settings.tau)
    critic, behaviour, one_step, fields = learnt
    return losses, State(critic, behaviour, one_step, target, fields), (mean, square)
