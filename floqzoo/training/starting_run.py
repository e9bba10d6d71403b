"""The run with whose agents another one begins."""

from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from floqzoo.hyperparameter import Hyperparameter
from floqzoo.training.configuration import RunConfig
from floqzoo.training.recipe import Recipe
from floqzoo.training.run_state import RunState
from floqzoo.training.seeds import keys_that_go_on
from floqzoo.training.stored_run import StoredRun


class StartingRun:
    """A run whose agents another one begins with: their parameters, targets and optimisers, as its latest checkpoint has
    them.

    - `directory`: The folder of the run.
    - `recipe`, `config`: Those of the run that is to begin.
    - `build`: Makes an untrained agent of that.
    - `fingerprint`: Of its data.

    **Raises** `FileNotFoundError` if there is no such folder, `ValueError` if it is no run of the same recipe on the same
    task and data, lacks a seed or a checkpoint, or has agents of another form.
    """

    def __init__(
        self,
        directory: str | Path,
        recipe: Recipe,
        config: RunConfig,
        build: Callable[[Array], PyTree],
        fingerprint: str,
    ):
        self.run, self.recipe, self.seeds = StoredRun(directory), recipe, config.seed_numbers
        facts = {
            "recipe": (self.run.recipe_name, recipe.name),
            "task": (self.run.env_name, config.env_name),
            "data": (self.run.data.get("fingerprint"), fingerprint),
        }
        for name, (theirs, ours) in facts.items():
            if theirs != ours:
                raise ValueError(f"`start_from` must be a run of the same {name}, {ours}; {directory} has {theirs}.")
        missing = sorted(set(self.seeds) - set(self.run.seeds))
        if missing:
            raise ValueError(
                f"`start_from` must have seed {missing[0]}; {directory} has {', '.join(map(str, self.run.seeds))}."
            )
        if not self.run.checkpoint_steps:
            raise ValueError(f"`start_from` must have a checkpoint; {directory} has none.")
        _require_same_form(build, self.run.builder(recipe))

    def begin_with(self, untrained: RunState) -> RunState:
        """The agents of the run, with the hyperparameters of the untrained ones, which may be others, and keys that it has
        not used."""
        state, agents = self.run.restore(self.recipe).tree, untrained.agents
        theirs = dict(_leaves(state.agents))
        places = np.array([self.run.seeds.index(seed) for seed in self.seeds])
        leaves = [jnp.asarray(theirs[name])[places] if eqx.is_array(leaf) else leaf for name, leaf in _leaves(agents)]
        agents = jax.tree.unflatten(jax.tree.structure(agents, is_leaf=_is_hyperparameter), leaves)
        return RunState(agents, keys_that_go_on(state.keys[places]))


def _require_same_form(build: Callable[[Array], PyTree], their_build: Callable[[Array], PyTree]) -> None:
    ours, theirs = (dict(_leaves(eqx.filter_eval_shape(make, jax.random.key(0)))) for make in (build, their_build))
    for name, leaf in ours.items():
        if isinstance(leaf, jax.ShapeDtypeStruct) and _form(theirs.get(name)) != _form(leaf):
            raise ValueError(
                f"`start_from` must have agents of the same form: `{name}` must be {_form(leaf)}; "
                f"it is {_form(theirs.get(name))}."
            )


def _form(leaf: PyTree) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if isinstance(leaf, jax.ShapeDtypeStruct) else "not there"


def _leaves(tree: PyTree) -> list[tuple[str, PyTree]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_hyperparameter)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]


def _is_hyperparameter(node: PyTree) -> bool:
    return isinstance(node, Hyperparameter)
