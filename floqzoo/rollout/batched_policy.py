"""A policy that acts in several environments with one compiled call."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int, Real

from floqzoo.learner.pytree_utils import split_arrays
from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.networks.precision import in_parameter_dtype
from floqzoo.protocols import Policy
from floqzoo.rollout.open_loop import OpenLoop
from floqzoo.typing import Array


ROWS = 8
"""The number of rows in each compiled call: fewer rows are padded, and more rows are split into several calls. Because
the shape is fixed, only one program is compiled, and the action of a row does not depend on the number of
environments."""


class BatchedPolicy:
    """Draws the actions of a policy in several environments, with up to `ROWS` environments in each compiled call.

    The action in step t of episode i is drawn with the key `fold_in(fold_in(seed_key(seed, SeedUse.ACTIONS), i), t)`,
    so it does not depend on other episodes. Action chunks are executed open loop (see `OpenLoop`), so the episodes of a
    policy that draws chunks must be played from their first step. Policies that differ only in their arrays share one
    compiled program.

    The policy runs on the CPU (unless JAX was started without the CPU backend), because eight rows are too few to use
    an accelerator efficiently, and the accelerator is busy with training. Networks that compute in
    bfloat16 act in float32, the dtype of their parameters. This is faster on a CPU, and makes actions independent of
    the training device.

    - `actor`: An agent, or its `ActorCritic`.
    - `seed`: The seed from which the actions are drawn.

    **Raises** `TypeError` if `actor` is a policy without its critic.
    """

    def __init__(self, actor: Any, seed: int):
        if isinstance(actor, Policy):
            raise TypeError(
                f"`actor` must be an agent or an ActorCritic; got the policy {type(actor).__name__}: combine it with "
                "its critic, ActorCritic(critic, policy), or ActorCritic(None, policy) for one that uses no critic."
            )
        # Only the acting part of an agent, without target networks and optimiser states.
        arrays, rest = split_arrays(in_parameter_dtype(getattr(actor, "parts", actor)))
        cpu = cpu_device()
        self._arrays, arrays_structure = jax.tree.flatten(jax.device_put(arrays, cpu))
        rest_leaves, rest_structure = jax.tree.flatten(rest)
        self._structure = (arrays_structure, tuple(rest_leaves), rest_structure)
        self._key = jax.device_put(seed_key(seed, SeedUse.ACTIONS), cpu)
        self._open_loop = OpenLoop(getattr(actor, "policy", None))

    def actions(
        self,
        observations: Real[np.ndarray, "environments observation"],
        episodes: Int[np.ndarray, " environments"],
        steps: Int[np.ndarray, " environments"],
    ) -> Float[np.ndarray, "environments action"]:
        """Draws one action for each environment.

        - `observations`: The current observation of each environment.
        - `episodes`, `steps`: The index of each environment's episode, and of the current step in the episode, which
          determine the random keys.
        """

        def draw() -> Float[np.ndarray, "environments chunk"]:
            calls = []
            for start in range(0, len(observations), ROWS):
                rows = [_fill(array[start : start + ROWS]) for array in (observations, episodes, steps)]
                calls.append(_act(self._structure, self._arrays, self._key, *rows))
            # All calls are dispatched before the first result is awaited.
            return np.concatenate(calls)[: len(observations)]

        return self._open_loop.actions(episodes, steps, draw)


def cpu_device() -> Any:
    """Returns the first CPU device, or JAX's first device if JAX was started without the CPU backend."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _fill(array: np.ndarray) -> np.ndarray:
    filled = np.zeros((ROWS, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled


@partial(jax.jit, static_argnums=0)
def _act(
    structure: tuple,
    arrays: list[Array],
    key: Array,
    observations: Real[Array, "rows observation"],
    episodes: Int[Array, " rows"],
    steps: Int[Array, " rows"],
) -> Float[Array, "rows action"]:
    arrays_structure, rest_leaves, rest_structure = structure
    actor = eqx.combine(jax.tree.unflatten(arrays_structure, arrays), jax.tree.unflatten(rest_structure, rest_leaves))
    keys = jax.vmap(lambda episode, step: jax.random.fold_in(jax.random.fold_in(key, episode), step))(episodes, steps)
    return jax.vmap(actor.act)(observations, keys)
