"""floq as a plain program in the usual style computes it, to be timed beside floqzoo's.

In that style an update is one call from a Python loop; its batch is drawn by NumPy and sent to the device; the rows of a
batch are repeated for each noise sample, and a network reads all of its input in each step of each loop; loops are written
out; layer norm takes the mean first and the variance then; the target network is a part of what the optimiser sees.
`Style` turns each of these into floqzoo's way, one at a time. The losses are the same in all of them, which a test
compares with the modular update's.

Members of an ensemble are mapped over by `jax.vmap`, as flax does; parameters are kept as in `hand_batched_floq`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from benchmarks.hand_batched_floq import Network, Parameters, Sizes, embed, from_modules
from floqzoo.records import Transition


@dataclass(frozen=True)
class Style:
    """How an update is computed; the defaults are the usual style, and each field that is changed is floqzoo's.

    - `repeated_reading`: Whether each noise sample and each step of a loop reads observation and action anew.
    - `written_out`: Whether loops over the steps of an integration are written out, or scanned.
    - `two_pass_norm`: Whether a layer norm reads its input twice.
    - `optimised_target`: Whether the optimiser keeps moments of the target and moves it by nothing.
    - `python_loop`: Whether each update is a call, whose batch comes from the host and whose state is not donated.
    - `compiler_as_it_is`: Whether the compiler runs without options, see `floqzoo.learner.scanned_update`.
    """

    repeated_reading: bool = True
    written_out: bool = True
    two_pass_norm: bool = True
    optimised_target: bool = True
    python_loop: bool = True
    compiler_as_it_is: bool = True


class State(NamedTuple):
    """What an update changes; `target` is in the optimiser's state where the style says so."""

    online: Parameters
    target: Network
    optimiser_state: optax.OptState


class Draws(NamedTuple):
    """All random numbers of a critic's loss, with the axes batch, samples."""

    noise: jax.Array
    next_noise: jax.Array
    times: jax.Array
    action_noise: jax.Array


def mlp(network: Network, x: jax.Array, style: Style) -> jax.Array:
    """A network on a matrix of rows."""
    return body(network, x @ network.layers[0].weight + network.layers[0].bias, style)


def body(network: Network, hidden: jax.Array, style: Style) -> jax.Array:
    """All after the first layer."""
    for norm, layer in zip(network.norms, network.layers[1:], strict=True):
        hidden = jax.nn.gelu(hidden)
        if norm is not None:
            hidden = layer_norm(hidden, norm, style)
        hidden = hidden @ layer.weight + layer.bias
    return hidden


def layer_norm(x: jax.Array, norm, style: Style) -> jax.Array:
    """Normalises rows."""
    mean = x.mean(-1, keepdims=True)
    centred, raw = jnp.square(x - mean).mean(-1, keepdims=True), jnp.square(x).mean(-1, keepdims=True)
    variance = centred if style.two_pass_norm else raw - jnp.square(mean)
    return (x - mean) * (lax.rsqrt(variance + 1e-6) * norm.scale) + norm.shift


def loop(step, start: jax.Array, steps: int, style: Style) -> jax.Array:
    """Steps number 0, 1, ..."""
    if style.written_out:
        for k in range(steps):
            start = step(start, k)
        return start
    return lax.scan(lambda x, k: (step(x, k), None), start, jnp.arange(steps, dtype=start.dtype))[0]


def make_velocity(fields: Network, condition: jax.Array, sizes: Sizes, style: Style):
    """The velocities of all members at (E, rows) points; the condition is read here, or with each of them."""

    def features(z, t):
        return jnp.concatenate([embed(z, sizes), jnp.broadcast_to(jnp.cos(t), z.shape)[:, None]], -1)

    if style.repeated_reading:

        def velocity(fields, z, t):
            return mlp(fields, jnp.concatenate([condition, features(z, t)], -1), style)[:, 0]

        return lambda z, t: jax.vmap(velocity, (0, 0, None))(fields, z, t)

    rows, size = condition.shape

    def read(fields):
        return condition @ fields.layers[0].weight[:size] + fields.layers[0].bias

    def velocity_of_code(fields, code, z, t):
        moved = features(z, t) @ fields.layers[0].weight[size:]
        # Copies of a row follow one another.
        together = code[:, None] + moved.reshape(rows, -1, moved.shape[-1])
        return body(fields, together.reshape(moved.shape), style)[:, 0]

    codes = jax.vmap(read)(fields)
    return lambda z, t: jax.vmap(velocity_of_code, (0, 0, 0, None))(fields, codes, z, t)


def outputs(fields: Network, condition: jax.Array, noise: jax.Array, sizes: Sizes, style: Style) -> jax.Array:
    """The outputs of the flows of all members for noise of shape (batch, samples): (E, batch, samples)."""
    velocity = make_velocity(fields, condition, sizes, style)
    start = jnp.broadcast_to(noise.reshape(-1), (fields.layers[0].weight.shape[0], noise.size))
    end = loop(lambda z, k: z + velocity(z, k / sizes.steps) / sizes.steps, start, sizes.steps, style)
    return end.reshape(-1, *noise.shape)


def repeated(x: jax.Array, times: int) -> jax.Array:
    """Each row `times` times."""
    return jnp.repeat(x, times, axis=0)


def actions_of(network: Network, observations: jax.Array, noise: jax.Array, style: Style) -> jax.Array:
    """The one-step policy."""
    return mlp(network, jnp.concatenate([observations, noise], -1), style)


def critic_loss(
    online: Parameters, stored: Parameters, target: Network, batch: Transition, draws: Draws, sizes: Sizes, style: Style
) -> jax.Array:
    """The velocity error and the error of the distilled critic."""
    samples = sizes.noise_samples
    next_observation = repeated(batch.next_observation, samples)
    action_noise = draws.action_noise.reshape(len(next_observation), -1)
    next_action = jnp.clip(actions_of(stored.one_step, next_observation, action_noise, style), -1, 1)
    next_condition = jnp.concatenate([next_observation, next_action], -1)
    next_q = outputs(target, next_condition, draws.next_noise, sizes, style).mean(0)
    y = batch.reward + sizes.discount * batch.discount * next_q.mean(1)

    pairs = jnp.concatenate([batch.observation, batch.action], -1)
    condition = repeated(pairs, samples) if style.repeated_reading else pairs
    flow_q = outputs(stored.fields, condition, draws.noise, sizes, style)
    z = (1 - draws.times) * draws.noise + draws.times * y[:, None]
    members = flow_q.shape[0]
    predicted = make_velocity(online.fields, condition, sizes, style)(
        jnp.broadcast_to(z.reshape(-1), (members, z.size)), draws.times.reshape(-1)
    )
    error = predicted.reshape(flow_q.shape) - (y[:, None] - draws.noise)
    q = jax.vmap(lambda network: mlp(network, pairs, style)[:, 0])(online.distilled)
    return jnp.square(error).sum(2).mean() + jnp.square(q - flow_q.mean((0, 2))).mean()


def policy_loss(
    online: Parameters, stored: Parameters, batch: Transition, key: jax.Array, sizes: Sizes, style: Style
) -> jax.Array:
    """Behaviour cloning by flow matching, its distillation, and the distilled critic's value."""
    behaviour_key, distill_key = jax.random.split(key)
    noise_key, time_key = jax.random.split(behaviour_key)
    x0 = jax.random.normal(noise_key, batch.action.shape)
    t = jax.random.uniform(time_key, (len(x0), 1))
    seen = jnp.concatenate([batch.observation, (1 - t) * x0 + t * batch.action, t], -1)
    cloning = jnp.square(mlp(online.behaviour, seen, style) - (batch.action - x0)).mean()

    def step(x, k):
        time = jnp.full((len(x), 1), k / sizes.actor_steps, x.dtype)
        return x + mlp(stored.behaviour, jnp.concatenate([batch.observation, x, time], -1), style) / sizes.actor_steps

    noise = jax.random.normal(distill_key, batch.action.shape)
    flow_action = jnp.clip(loop(step, noise, sizes.actor_steps, style), -1, 1)
    action = actions_of(online.one_step, batch.observation, noise, style)
    pairs = jnp.concatenate([batch.observation, jnp.clip(action, -1, 1)], -1)
    q = jax.vmap(lambda network: mlp(network, pairs, style)[:, 0])(stored.distilled)
    return cloning + sizes.alpha * jnp.square(action - flow_action).mean() - q.mean()


def draw(key: jax.Array, batch: Transition, sizes: Sizes) -> Draws:
    """The random numbers of a critic's loss."""
    action_key, noise_key, fresh_key, time_key = jax.random.split(key, 4)
    shape = (len(batch.reward), sizes.noise_samples)
    low, high = sizes.prior
    return Draws(
        jax.random.uniform(noise_key, shape, minval=low, maxval=high),
        jax.random.uniform(fresh_key, shape, minval=low, maxval=high),
        jax.random.uniform(time_key, shape),
        jax.random.normal(action_key, (*shape, batch.action.shape[1])),
    )


def update(
    state: State, batch: Transition, key: jax.Array, sizes: Sizes, optimiser: optax.GradientTransformation, style: Style
) -> tuple[State, dict[str, jax.Array]]:
    """One update, and its losses."""
    critic_key, policy_key = jax.random.split(key)
    draws = draw(critic_key, batch, sizes)

    def loss(parameters):
        online = parameters[0]
        stored, target = lax.stop_gradient((state.online, state.target))
        critic = critic_loss(online, stored, target, batch, draws, sizes, style)
        policy = policy_loss(online, stored, batch, policy_key, sizes, style)
        return critic + policy, {"critic_loss": critic, "policy_loss": policy}

    parameters = (state.online, state.target) if style.optimised_target else (state.online,)
    gradients, losses = jax.grad(loss, has_aux=True)(parameters)
    steps, optimiser_state = optimiser.update(gradients, state.optimiser_state, parameters)
    stepped = optax.apply_updates(parameters, steps)
    old = stepped[1] if style.optimised_target else state.target
    target = jax.tree.map(lambda old, new: (1 - sizes.tau) * old + sizes.tau * new, old, state.online.fields)
    return State(stepped[0], target, optimiser_state), losses


def state_of(agent, style: Style) -> State:
    """The parameters of a modular floq agent, copied, with a fresh optimiser."""
    online = Parameters(
        from_modules(agent.critic.fields.members.network),
        from_modules(agent.critic.distilled.networks.members),
        from_modules(agent.policy.behaviour.flow.field.network),
        from_modules(agent.policy.network),
    )
    online, target = jax.tree.map(jnp.copy, (online, online.fields))
    seen = (online, target) if style.optimised_target else (online,)
    return State(online, target, agent.update_rule.optimiser.init(seen))
