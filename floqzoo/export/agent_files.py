"""Writes an exported agent as safetensors and plain settings, and loads it without executing code from the export."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.export.program import NotExportableError
from floqzoo.learner.pytree_utils import named_leaves, split_arrays
from floqzoo.learner.seeds import in_precision
from floqzoo.networks.normaliser import Normaliser
from floqzoo.records import ActorCritic
from floqzoo.runs.checkpoint import DamagedError
from floqzoo.runs.recipe import Recipe, agent_builder, find_recipe, with_normaliser
from floqzoo.runs.setting_types import read_value
from floqzoo.runs.stored_config import config_from_flags
from floqzoo.tasks.files import read_json, sha256_of
from floqzoo.tasks.own_task import task_label


AGENT_FILE, SPEC_FILE = "agent.safetensors", "spec.json"
FORMAT = 1
"""The version of the file format of exports."""


def write_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Writes named arrays to a safetensors file."""
    from safetensors.numpy import save

    path.write_bytes(
        save({name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()})
    )


def write_agent(actor: ActorCritic, path: Path) -> None:
    """Writes all arrays of the policy, the critic and the normaliser to a safetensors file, named by their field paths.

    **Raises** `NotExportableError` if the agent contains an array that safetensors cannot store, such as a random key.
    """
    arrays, _ = split_arrays(actor)
    named = named_leaves(arrays)
    for name, leaf in named.items():
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise NotExportableError(f"the agent's `{name}` has dtype {leaf.dtype}, which safetensors cannot store.")
    write_arrays({name: np.asarray(leaf) for name, leaf in named.items()}, path)


def load_exported_agent(folder: str | Path, *, recipe: Recipe | None = None) -> ActorCritic:
    """Loads the policy, the critic and the normaliser from a folder that was written by `export_run`.

    No code from the folder is executed.

    - `folder`: The folder of an export, or a copy of it from the Hugging Face Hub.
    - `recipe`: The recipe of the run, if it is not one of floqzoo's recipes.

    **Raises** `FileNotFoundError` if a file is missing; `DamagedError` if `agent.safetensors` was changed or does not
    match the settings; `ValueError` if the folder has a different export format or was written by `export_policy`, if
    the recipe is the wrong one, or if this version of floqzoo does not know one of the settings.
    """
    from safetensors.numpy import load_file

    folder = Path(folder).expanduser()
    for name in (SPEC_FILE, AGENT_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is not the folder of an exported run: it has no {name}.")
    spec = read_json(folder / SPEC_FILE)
    if spec.get("format") != FORMAT:
        raise ValueError(f"{folder} has the export format {spec.get('format')!r}; this version reads {FORMAT}.")
    agent, files = spec.get("agent"), spec.get("files")
    if not isinstance(agent, dict) or not isinstance(files, dict):
        raise ValueError(
            f"{folder / SPEC_FILE} must contain `agent` and `files`, which `export_run` writes; an export of `export_policy` "
            "cannot be loaded."
        )
    if sha256_of(folder / AGENT_FILE) != files.get(AGENT_FILE):
        raise DamagedError(f"{folder} is damaged: {AGENT_FILE} was changed.")
    like = eqx.filter_eval_shape(_builder(agent, recipe), jax.random.key(0)).parts
    return _filled(like, load_file(folder / AGENT_FILE), folder / AGENT_FILE)


def agent_record(flags: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a run that are needed by `load_exported_agent`.

    If the task is defined in the user's code, its name is recorded without the folder of the code.

    - `flags`: The configuration of the run.
    - `data`: The run's record of its data, with the sizes of observations and actions and the range of rewards.
    """
    names = ("recipe", "precision", "normalize_observations", "agent")
    # A run of an earlier version does not record whether observations are normalised.
    settings = {name: flags[name] for name in names if name in flags}
    sizes = {name: data[name] for name in ("observation_dim", "action_dim", "reward_range")}
    return settings | sizes | {"env_name": task_label(flags["env_name"])}


def _builder(agent: dict[str, Any], recipe: Recipe | None) -> Any:
    kinds = {"observation_dim": int, "action_dim": int, "reward_range": tuple[float, float]}
    for name in ("recipe", "env_name", "precision", "agent", *kinds):
        if name not in agent:
            raise ValueError(f"`agent` in the spec must contain `{name}`; it contains {', '.join(agent)}.")
    recipe = recipe or find_recipe(str(agent["recipe"]))
    config = config_from_flags(recipe, {name: value for name, value in agent.items() if name not in kinds})
    sizes = {name: read_value(name, kind, agent[name]) for name, kind in kinds.items()}
    normaliser = Normaliser.unfitted(sizes["observation_dim"]) if config.normalize_observations else None
    build = with_normaliser(agent_builder(recipe, config.agent, **sizes), normaliser)
    return in_precision(build, config.precision)


def _filled(like: ActorCritic, arrays: dict[str, np.ndarray], path: Path) -> ActorCritic:
    shapes, rest = eqx.partition(like, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    wanted = named_leaves(shapes)
    if wanted.keys() != arrays.keys():
        odd = sorted(wanted.keys() ^ arrays.keys())[0]
        owner = f"the agent in {SPEC_FILE}" if odd in wanted else "the file"
        raise DamagedError(f"{path} belongs to another agent: only {owner} has `{odd}`.")
    for name, shape in wanted.items():
        found = arrays[name]
        if (found.shape, found.dtype) != (shape.shape, shape.dtype):
            raise DamagedError(
                f"{path} belongs to another agent: `{name}` must be {shape.dtype}{list(shape.shape)}; it is "
                f"{found.dtype}{list(found.shape)}."
            )
    leaves = [jnp.asarray(arrays[name]) for name in wanted]
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(shapes), leaves), rest)
