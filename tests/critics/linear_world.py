"""A linear critic, a batch and noise, whose TD targets NumPy can tell."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from doubles import ACTION, OBSERVATION, transitions

import floqzoo as fz


BATCH, COPIES, MEMBERS = 4, 3, 2


class World(eqx.Module):
    """A linear critic, a batch and the target flow's noise."""

    weight: jax.Array
    bias: jax.Array
    spread: jax.Array
    discount: jax.Array
    batch: fz.Transition
    noise: jax.Array

    def with_(self, **changes):
        """The same world with some arrays changed, each broadcast to the shape that it had."""
        return replace(self, **in_shape(self, changes))

    def with_batch(self, **changes):
        """The same world with some arrays of the batch changed."""
        return replace(self, batch=replace(self.batch, **in_shape(self.batch, changes)))


def in_shape(record, changes):
    old = {name: getattr(record, name) for name in changes}
    return {name: jnp.broadcast_to(jnp.asarray(new, old[name].dtype), old[name].shape) for name, new in changes.items()}


def world(seed=0):
    draw = np.random.default_rng(seed)
    arrays = (
        draw.normal(size=(MEMBERS, OBSERVATION + ACTION)),
        draw.normal(size=MEMBERS),
        draw.uniform(0.2, 2, MEMBERS),
        0.9,
    )
    noise = jnp.asarray(draw.uniform(-1, 0, (BATCH, COPIES, 1)), dtype=float)
    return World(*(jnp.asarray(x, dtype=float) for x in arrays), transitions(seed, BATCH), noise)


def next_values(world):
    """Where each member's flow at (s', a') ends from each noise, (member, batch, copy), by NumPy."""
    states = np.asarray(world.batch.next_observation)
    inputs = np.concatenate([states, np.tanh(states[:, :ACTION])], axis=1)
    value = np.einsum("ei,bi->eb", world.weight, inputs) + np.asarray(world.bias)[:, None]
    return value[:, :, None] + np.asarray(world.spread)[:, None, None] * np.asarray(world.noise)[None, :, :, 0]
