"""floq's update in plain JAX, batched by hand: no modules, no protocols, no vmap.

The yardstick for what modularity costs. It is kept beside the benchmark, tested to give the same losses as the
modular update, and used for nothing else. Parameters are nested tuples of arrays; `E` members come first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import erf

from floqzoo.records import Transition


class Layer(NamedTuple):
    weight: jax.Array
    bias: jax.Array


class Norm(NamedTuple):
    scale: jax.Array
    shift: jax.Array


class Network(NamedTuple):
    layers: tuple[Layer, ...]
    norms: tuple[Norm | None, ...]


class Parameters(NamedTuple):
    fields: Network
    distilled: Network
    behaviour: Network
    one_step: Network


class State(NamedTuple):
    online: Parameters
    target_fields: Network
    optimiser_state: optax.OptState


class Sizes(NamedTuple):
    noise_samples: int
    steps: int
    actor_steps: int
    discount: float
    alpha: float
    tau: float
    prior: tuple[float, float]
    values: tuple[float, float]
    edges: int
    sigma: float


def normalise(x, norm):
    if norm is None:
        return x
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x).mean(-1, keepdims=True) - jnp.square(mean)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-6) * unsqueeze(norm.scale, x) + unsqueeze(norm.shift, x)


def unsqueeze(parameter, x):
    """Lines up (E, width) or (width,) with (E, ..., width) or (..., width)."""
    return parameter.reshape(parameter.shape[:-1] + (1,) * (x.ndim - parameter.ndim) + parameter.shape[-1:])


def dense(x, layer):
    if layer.weight.ndim == 2:
        return x @ layer.weight + unsqueeze(layer.bias, x)
    rows = x.reshape(x.shape[0], -1, x.shape[-1])
    product = (rows @ layer.weight).reshape(*x.shape[:-1], -1)
    return product + unsqueeze(layer.bias, product)


def body(network, hidden):
    for norm, layer in zip(network.norms, network.layers[1:], strict=True):
        hidden = dense(normalise(jax.nn.gelu(hidden), norm), layer)
    return hidden


def apply(network, x):
    return body(network, dense(x, network.layers[0]))


def embed(z, sizes: Sizes):
    low, high = sizes.values
    edges = jnp.linspace(low, high, sizes.edges)
    width = sizes.sigma * (high - low) / (sizes.edges - 1)
    cumulative = erf((edges - z[..., None]) / (jnp.sqrt(2.0) * width))
    return jnp.diff(cumulative) / (cumulative[..., -1:] - cumulative[..., :1])


def stem_code(fields, condition):
    weight, bias = fields.layers[0]
    return dense(condition, Layer(weight[:, : condition.shape[-1]], bias))


def velocity(fields, condition_size, code, z, t, sizes: Sizes):
    features = jnp.concatenate([embed(z, sizes), jnp.cos(t)[..., None]], -1)
    weight = fields.layers[0].weight[:, condition_size:]
    return body(fields, code + dense(features, Layer(weight, jnp.zeros_like(fields.layers[0].bias))))[..., 0]


def integrate(fields, condition_size, code, z, sizes: Sizes):
    def step(z, k):
        t = jnp.broadcast_to(k / sizes.steps, z.shape)
        return z + velocity(fields, condition_size, code, z, t, sizes) / sizes.steps, None

    return jax.lax.scan(step, z, jnp.arange(sizes.steps, dtype=z.dtype))[0]


def behaviour_actions(network, observations, noise, steps):
    def step(x, k):
        t = jnp.full((*x.shape[:-1], 1), k / steps)
        return x + apply(network, jnp.concatenate([observations, x, t], -1)) / steps, None

    return jnp.clip(jax.lax.scan(step, noise, jnp.arange(steps, dtype=noise.dtype))[0], -1, 1)


def one_step_actions(network, observations, noise):
    return apply(network, jnp.concatenate([observations, noise], -1))


def members(x, network):
    return jnp.broadcast_to(x, (network.layers[0].weight.shape[0], *x.shape))


def critic_loss(online: Parameters, stored: Parameters, target_fields, batch: Transition, key, sizes: Sizes):
    action_key, noise_key, fresh_key, time_key = jax.random.split(key, 4)
    shape = (batch.reward.shape[0], sizes.noise_samples)
    noise = jax.random.uniform(noise_key, shape, minval=sizes.prior[0], maxval=sizes.prior[1])
    fresh = jax.random.uniform(fresh_key, shape, minval=sizes.prior[0], maxval=sizes.prior[1])
    t = jax.random.uniform(time_key, shape)
    next_observation = jnp.broadcast_to(batch.next_observation[:, None], (*shape, batch.next_observation.shape[1]))
    action_noise = jax.random.normal(action_key, (*shape, batch.action.shape[1]))
    next_action = jnp.clip(one_step_actions(stored.one_step, next_observation, action_noise), -1, 1)

    next_condition = members(jnp.concatenate([next_observation, next_action], -1), target_fields)
    condition = members(jnp.concatenate([batch.observation, batch.action], -1), target_fields)
    size = condition.shape[-1]
    next_code = stem_code(target_fields, next_condition)
    next_q = integrate(target_fields, size, next_code, members(fresh, target_fields), sizes).mean(0)
    y = batch.reward + sizes.discount * batch.discount * next_q.mean(1)

    stored_code = stem_code(stored.fields, condition)[:, :, None]
    flow_q = integrate(stored.fields, size, stored_code, members(noise, target_fields), sizes)

    z = (1 - t) * noise + t * y[:, None]
    code = stem_code(online.fields, condition)[:, :, None]
    predicted = velocity(online.fields, size, code, members(z, target_fields), members(t, target_fields), sizes)
    flow_loss = jnp.square(predicted - (y[:, None] - noise)).sum(2).mean()
    q = apply(online.distilled, condition)[..., 0]
    distill_loss = jnp.square(q - flow_q.mean((0, 2))).mean()
    return flow_loss + distill_loss


def policy_loss(online: Parameters, stored: Parameters, batch: Transition, key, sizes: Sizes):
    behaviour_key, distill_key = jax.random.split(key)
    noise_key, time_key = jax.random.split(behaviour_key)
    x0 = jax.random.normal(noise_key, batch.action.shape)
    t = jax.random.uniform(time_key, (batch.action.shape[0], 1))
    xt = (1 - t) * x0 + t * batch.action
    predicted = apply(online.behaviour, jnp.concatenate([batch.observation, xt, t], -1))
    bc_loss = jnp.square(predicted - (batch.action - x0)).mean()

    noise = jax.random.normal(distill_key, batch.action.shape)
    action = one_step_actions(online.one_step, batch.observation, noise)
    flow_action = behaviour_actions(stored.behaviour, batch.observation, noise, sizes.actor_steps)
    distill_loss = jnp.square(action - flow_action).mean()
    clipped = jnp.concatenate([batch.observation, jnp.clip(action, -1, 1)], -1)
    q = apply(stored.distilled, members(clipped, stored.distilled))
    return bc_loss + sizes.alpha * distill_loss - q.mean()


def update(state: State, batch: Transition, key, sizes: Sizes, optimiser: optax.GradientTransformation) -> State:
    """One update; the same draws, in distribution, as the modular one."""
    critic_key, policy_key = jax.random.split(key)

    def loss(online):
        stored = jax.lax.stop_gradient(state.online)
        return critic_loss(online, stored, state.target_fields, batch, critic_key, sizes) + policy_loss(
            online, stored, batch, policy_key, sizes
        )

    gradients = jax.grad(loss)(state.online)
    steps, optimiser_state = optimiser.update(gradients, state.optimiser_state, state.online)
    target = jax.tree.map(lambda old, new: old + sizes.tau * (new - old), state.target_fields, state.online.fields)
    return State(optax.apply_updates(state.online, steps), target, optimiser_state)


def from_modules(network) -> Network:
    """The arrays of a `floqzoo.MLP`, or of a stacked ensemble of them."""
    layers = tuple(Layer(layer.weight, layer.bias) for layer in (network.stem, *network.layers))
    norms = tuple(None if a.norm is None else Norm(a.norm.scale, a.norm.shift) for a in network.activated)
    return Network(layers, norms)


def state_of(agent) -> State:
    """The state of a modular floq agent, copied, with a fresh optimiser."""
    online = Parameters(
        from_modules(agent.critic.fields.members.network),
        from_modules(agent.critic.distilled.networks.members),
        from_modules(agent.policy.behaviour.flow.field.network),
        from_modules(agent.policy.network),
    )
    online = jax.tree.map(jnp.copy, online)
    return State(online, jax.tree.map(jnp.copy, online.fields), agent.update_rule.optimiser.init(online))
