"""Rounds of exploration whose every number says where it comes from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.records import Transition
from floqzoo.tasks.replay_buffer import ExploredStep


def explored(numbers, over=None):
    """A round of one seed, or of several: transition number w has observation w, action w + 0.25, next observation
    w + 0.5 and, where it ends an episode, next action w + 0.75."""
    numbers = np.atleast_2d(np.asarray(numbers, np.float32))
    over = np.zeros(numbers.shape, bool) if over is None else np.atleast_2d(over)
    return ExploredStep(
        Transition(
            observation=jnp.asarray(numbers[..., None]),
            action=jnp.asarray(numbers[..., None] + 0.25),
            reward=jnp.asarray(numbers),
            discount=jnp.asarray(1.0 - over.astype(np.float32)),
            next_observation=jnp.asarray(numbers[..., None] + 0.5),
        ),
        over=jnp.asarray(over),
        next_action=jnp.asarray(numbers[..., None] + 0.75),
    )


def one_step():
    """A transition of these sizes, with its next action."""
    step = explored([0])
    with_next = dataclasses.replace(step.transition, next_action=step.next_action)
    return jax.tree.map(lambda leaf: leaf[0, 0], with_next)
