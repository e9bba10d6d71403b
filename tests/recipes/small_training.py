"""Small agents of several tasks and seeds, trained at once: their numbers differ, their shapes do not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import floqzoo as fz


UPDATES, TAU = 1000, 0.05
RULE = fz.JointUpdate(optax.adam(optax.cosine_decay_schedule(0.01, UPDATES)))
TARGETS = fz.PolyakAveraging(critic=TAU)


@dataclass(frozen=True)
class Task:
    """Transitions, as many in each task, and what builds an untrained agent from a key; its optimiser is exchanged."""

    data: fz.Transition
    build: Callable[..., fz.Agent]


@dataclass(frozen=True)
class Trained:
    """Agents after training, stacked along one axis, tasks first."""

    names: tuple[str, ...]
    seeds: int
    arrays: Any
    rest: Any

    def of(self, name: str, function: Callable[[fz.Agent], Any]) -> np.ndarray:
        """`function(agent)` for each seed of a task."""
        first = self.seeds * self.names.index(name)
        mine = jax.tree.map(lambda leaf: leaf[first : first + self.seeds], self.arrays)
        return np.asarray(jax.jit(jax.vmap(lambda arrays: function(eqx.combine(arrays, self.rest))))(mine))


def untrained(task: Task, seed: int) -> fz.Agent:
    """The agent of a task, with the optimiser and the target's step that all have."""
    agent = task.build(key=jax.random.key(seed))
    return fz.Agent(critic=agent.critic, policy=agent.policy, update_rule=RULE, target_update=TARGETS)


def train(tasks: Mapping[str, Task], *, seeds: int, batch: int) -> Trained:
    """Trains an agent for each seed of each task."""
    agents = [untrained(task, seed) for task in tasks.values() for seed in range(seeds)]
    arrays, (rest, *_) = zip(*(eqx.partition(agent, eqx.is_array) for agent in agents), strict=True)
    data = [task.data for task in tasks.values() for _ in range(seeds)]
    arrays, data = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (arrays, data))
    size = len(data.reward[0])

    def update(data, arrays, key):
        batch_key, update_key = jax.random.split(key)
        rows = jax.random.randint(batch_key, (batch,), 0, size)
        agent, _ = eqx.combine(arrays, rest).update(jax.tree.map(lambda leaf: leaf[rows], data), update_key)
        return eqx.filter(agent, eqx.is_array)

    # A thousand updates take longer than the compiler, which `conftest.py` keeps from optimising machine code.
    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 2})
    def scan(data, arrays, keys):
        return jax.lax.scan(lambda arrays, keys: (jax.vmap(update)(data, arrays, keys), None), arrays, keys)[0]

    return Trained(tuple(tasks), seeds, scan(data, arrays, update_keys(len(tasks), seeds)), rest)


def update_keys(tasks: int, seeds: int) -> jax.Array:
    """The keys of all updates of all agents: those of a seed are the same however many seeds there are."""

    def of_one(task, seed):
        return jax.random.split(jax.random.fold_in(jax.random.key(1000 + task), seed), UPDATES)

    keys = jax.vmap(of_one, out_axes=1)(*(jnp.asarray(numbers.ravel()) for numbers in np.indices((tasks, seeds))))
    return jax.random.clone(keys)  # The check of keys takes the exchange of axes for a use.


def floating(numbers: Any) -> jax.Array:
    """An array of the session's floating dtype."""
    return jnp.asarray(np.asarray(numbers, dtype=jax.dtypes.canonicalize_dtype(float)))
