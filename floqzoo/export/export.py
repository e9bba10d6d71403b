"""Exports a trained policy to a folder that other runtimes can read."""

import importlib.metadata
import importlib.util
import operator
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from floqzoo.export.action_units import ActionUnits
from floqzoo.export.agent_files import AGENT_FILE, SPEC_FILE, agent_record, write_agent, write_arrays
from floqzoo.export.load_agent import best_checkpoint
from floqzoo.export.onnx_actor import OnnxActor
from floqzoo.export.onnx_graph import onnx_model
from floqzoo.export.policy_function import (
    Arrays,
    ExportedFunction,
    critic_function,
    draw_noise,
    policy_function,
)
from floqzoo.export.program import Program
from floqzoo.export.readme import readme_text
from floqzoo.export.runtimes import (
    Parity,
    Runtime,
    compare,
    has_torch,
    onnx_runtime,
    stablehlo_runtime,
    torch_runtime,
)
from floqzoo.export.spec import spec_of
from floqzoo.export.start import seen_at_start
from floqzoo.export.torch_source import torch_source
from floqzoo.learner.pytree_utils import split_arrays
from floqzoo.networks.precision import in_parameter_dtype
from floqzoo.protocols import ActsInChunks, Task
from floqzoo.records import ActorCritic
from floqzoo.results.environment import environment_of, require_states
from floqzoo.results.find_runs import evaluations
from floqzoo.results.run_evaluation import actor_of, checkpoint_step, chosen_seeds
from floqzoo.rollout.batched_policy import cpu_device
from floqzoo.rollout.evaluation import RETURN, SUCCESS, Evaluator
from floqzoo.runs.recipe import Recipe
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.tasks.files import sha256_of, write_json
from floqzoo.tasks.own_task import task_label


GOLDEN, RANDOM = 16, 256
"""The number of golden inputs (observations from episodes or from the dataset), and the number of random inputs."""


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    - `folder`: The folder of the export.
    - `parity`: A comparison with JAX for each runtime.
    - `spec`: The contents of the folder's `spec.json`.
    """

    folder: Path
    parity: tuple[Parity, ...]
    spec: dict[str, Any]


def export_run(
    directory: str | Path,
    out: str | Path,
    *,
    seed: SupportsIndex | None = None,
    step: SupportsIndex | None = None,
    episodes: SupportsIndex = 20,
    critic: bool = False,
    hub_layout: bool = False,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Exports the policy of a stored run, and evaluates it in ONNX Runtime and in JAX on the same episodes.

    The exported policy returns actions in the units of the run's environment. If the task has no environment,
    `episodes` must be 0, and actions are in [-1, 1], as in the dataset.

    - `directory`: The folder of the run.
    - `out`: The folder to which the export is written; it must be empty or not exist yet.
    - `seed`: The seed of the run whose policy is exported; by default the first seed.
    - `step`: The step of the checkpoint; by default the best one, as in `load_agent`, or the latest one if the run has
      no evaluations.
    - `episodes`: The number of episodes to play in each of the two runtimes, at least 0.
    - `critic`: Whether the critic's score is exported too, as `critic.onnx`.
    - `hub_layout`: Whether the folder is laid out as a Hugging Face Hub repository, in which the README starts with the
      metadata of a model card.
    - `recipe`: The recipe of the run, if it is not one of floqzoo's recipes.
    - `task`: Your custom task, if the run uses one, as an object or as `FILE.py:NAME` or `MODULE:NAME`; the file
      or the module is executed.
    - `progress`: A function that is called with the number of finished episodes and the total number of episodes.

    **Raises** `FileNotFoundError` if a file is missing; `ValueError` if an argument is invalid; `NotExportableError` if
    the policy uses operations that other runtimes do not have; `ParityError` if a runtime differs from JAX;
    `ModuleNotFoundError` if neither the extra `export` nor the extra `onnx` is installed.
    """
    episodes = operator.index(episodes)
    if episodes < 0:
        raise ValueError(f"`episodes` must be at least 0; got {episodes}.")
    run = StoredRun(Path(directory))
    require_states(run, "an export")
    best, chosen_by = best_checkpoint(run) if step is None else (None, "step")
    seed, step = chosen_seeds(run, seed)[0], checkpoint_step(run, step if best is None else best)
    actor = actor_of(run, seed, step, recipe)
    own = named_task(run, task)
    facts = {
        "method": run.recipe_name,
        "environment": task_label(run.env_name),
        "seed": seed,
        "step": step,
        "chosen_by": chosen_by,
        "metrics": _metrics(run, seed, step),
        "agent": agent_record(run.flags, run.data),
    }
    if own is not None and own.make_environment is None:
        if episodes:
            raise ValueError(f"`episodes` must be 0 for {run.env_name}, which has no environment; got {episodes}.")
        observations = np.asarray(own.dataset.sample(jax.random.key(0), GOLDEN).observation)
        return export_policy(actor, out, observations=observations, critic=critic, hub_layout=hub_layout, facts=facts)
    make_environment = environment_of(run, own)
    start, policy = seen_at_start(actor, make_environment, seed, count=GOLDEN), actor.policy

    def played(onnx: Path) -> dict[str, Any] | None:
        dim = start.action_bounds[0].size * (policy.chunk_length if isinstance(policy, ActsInChunks) else 1)
        return _played(actor, onnx, make_environment, dim, episodes, seed, progress) if episodes else None

    return export_policy(
        actor,
        out,
        observations=start.observations,
        action_bounds=start.action_bounds,
        critic=critic,
        hub_layout=hub_layout,
        facts=facts | {"control_rate_hz": start.control_rate},
        played=played,
    )


def export_policy(
    actor: Any,
    out: str | Path,
    *,
    observations: Float[np.ndarray, "examples observation"],
    action_bounds: tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]] | None = None,
    critic: bool = False,
    hub_layout: bool = False,
    facts: Mapping[str, Any] | None = None,
    played: Callable[[Path], dict[str, Any] | None] = lambda onnx: None,
) -> Exported:
    """Exports the policy of an agent that is in memory, rather than stored in a run.

    Networks that compute in bfloat16 are exported in float32, the dtype in which they are also evaluated.

    - `actor`: An agent, or its `ActorCritic`.
    - `out`: The folder to which the export is written; it must be empty or not exist yet.
    - `observations`: At least two typical observations, in float32.
    - `action_bounds`: The lower and upper bounds of each coordinate of an action, in the environment's units; the
      policy's -1 and 1 are mapped to them. None leaves actions in [-1, 1].
    - `critic`, `hub_layout`: As in `export_run`.
    - `facts`: Additional entries of `spec.json`. The allowed names are method, environment, seed, step, chosen_by,
      metrics, control_rate_hz and agent.
    - `played`: A function that takes the path of the ONNX file, and returns the results of the ONNX policy and of the
      JAX policy in the environment, or None if no episodes were played.

    **Raises** the same errors as `export_run`, and `ValueError` if `out` is not a new or empty folder.
    """
    _require_extra()
    out, actor = Path(out).expanduser(), in_parameter_dtype(getattr(actor, "parts", actor))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"`out` must be a new or empty folder; {out} is not.")
    if len(observations) < 2:
        raise ValueError(f"`observations` must have at least 2 rows; got {len(observations)}.")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    cpu = cpu_device()
    try:
        with jax.default_device(cpu):
            arrays, rest = split_arrays(actor)
            actor = eqx.combine(jax.device_put(arrays, cpu), rest)
            parity, spec = _written(
                actor, partial, observations, action_bounds, critic, hub_layout, dict(facts or {}), played
            )
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Exported(out, tuple(parity), spec)


def _written(
    actor: ActorCritic,
    folder: Path,
    observations: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray] | None,
    critic: bool,
    hub: bool,
    facts: dict[str, Any],
    played: Callable[[Path], dict[str, Any] | None],
) -> tuple[list[Parity], dict[str, Any]]:
    policy, units = policy_function(actor, observations.shape[1], bounds)
    program, reference = policy.program(), _in_numpy(policy)
    golden, random = _inputs(policy, actor, observations, 0), _inputs(policy, actor, _like(observations, actor), 1)
    example = golden | {"action": reference(*golden.values())}

    _write_onnx(program, "action", folder / "policy.onnx")
    (folder / "policy.stablehlo").write_bytes(policy.stablehlo())
    source, state = torch_source(program)
    (folder / "policy_torch.py").write_text(source)
    write_arrays(state, folder / "weights.safetensors")
    write_agent(actor, folder / AGENT_FILE)

    tied = _tied(actor, units) if any(step.operation in ("argmax", "argmin") for step in program.steps) else None
    parity = [
        compare(name, runtime, reference, golden, random, size=units.size, tied=tied)
        for name, runtime in _runtimes(folder, reference).items()
    ]
    if critic:
        example, row = _critic(actor, folder, units, example, random, reference)
        parity.append(row)
    np.savez(folder / "example.npz", allow_pickle=False, **example)
    spec = spec_of(actor, units, program, example, facts, played(folder / "policy.onnx"))
    write_json(folder / "parity.json", {"runtimes": [row.record() for row in parity], "evaluation": spec["evaluation"]})
    (folder / "README.md").write_text(readme_text(spec, parity, hub=hub))
    if hub:
        patterns = ("*.onnx", "*.safetensors", "*.stablehlo", "*.npz")
        (folder / ".gitattributes").write_text(
            "".join(f"{each} filter=lfs diff=lfs merge=lfs -text\n" for each in patterns)
        )
    spec["files"] = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    write_json(folder / SPEC_FILE, spec)
    return parity, spec


def _require_extra() -> None:
    for name in ("onnx", "onnxruntime", "safetensors"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"an export needs {name}, which is not installed: pip install 'floqzoo[export]', or 'floqzoo[onnx]' "
                "without PyTorch."
            )


def _in_numpy(function: ExportedFunction) -> Runtime:
    compiled = function.compiled()
    return lambda *inputs: np.asarray(compiled(*inputs))


def _inputs(policy: ExportedFunction, actor: ActorCritic, observations: np.ndarray, seed: int) -> Arrays:
    inputs = {"observation": np.asarray(observations, np.float32)}
    return inputs | ({"noise": draw_noise(actor, len(observations), seed)} if "noise" in policy.inputs else {})


def _like(observations: np.ndarray, actor: ActorCritic) -> np.ndarray:
    """Random observations with about the mean and the scale of the given ones."""
    unit = 1.0 if actor.normaliser is None else np.asarray(actor.normaliser.scale.value)
    scale = observations.std(axis=0) + 0.1 * unit
    return observations.mean(axis=0) + scale * np.random.default_rng(0).normal(size=(RANDOM, observations.shape[1]))


def _write_onnx(program: Program, output: str, path: Path) -> None:
    path.write_bytes(onnx_model(program, output).SerializeToString())


def _tied(actor: ActorCritic, units: ActionUnits) -> Callable[..., np.ndarray]:
    """A function that returns a Boolean mask of the rows in which two actions have the same score, up to rounding."""
    score = jax.jit(
        jax.vmap(lambda observation, action: actor.critic.score(actor.normalised(observation), units.to_policy(action)))
    )

    def tied(observation: np.ndarray, found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        a, b = (np.asarray(score(observation, action)) for action in (found, wanted))
        return np.abs(a - b) <= 1e-5 * np.maximum(1, np.abs(b))

    return tied


def _runtimes(folder: Path, reference: Runtime) -> dict[str, Runtime]:
    runtimes = {
        f"JAX {jax.__version__}": reference,
        f"jax.export {jax.__version__}": stablehlo_runtime(folder / "policy.stablehlo"),
        f"ONNX Runtime {importlib.metadata.version('onnxruntime')}": onnx_runtime(folder / "policy.onnx"),
    }
    if has_torch():
        name = f"PyTorch {importlib.metadata.version('torch')}"
        runtimes[name] = torch_runtime(folder / "policy_torch.py", folder / "weights.safetensors")
    return runtimes


def _critic(
    actor: ActorCritic, folder: Path, units: ActionUnits, example: Arrays, random: Arrays, act: Runtime
) -> tuple[Arrays, Parity]:
    """Writes the critic as ONNX, and compares it with JAX at the actions of the policy. Returns the golden inputs and
    outputs with the values added, and the comparison."""
    observation, action = example["observation"], example["action"]
    function = critic_function(actor, observation.shape[1], units)
    _write_onnx(function.program(), "value", folder / "critic.onnx")
    reference, path = _in_numpy(function), folder / "critic.onnx"
    value = reference(observation, action)
    golden = {"observation": observation, "action": action}
    drawn = {"observation": random["observation"], "action": act(*random.values())}
    size = max(1.0, float(np.abs(value).max()))
    row = compare("ONNX Runtime, critic", onnx_runtime(path), reference, golden, drawn, size=size)
    return example | {"value": value}, row


def _metrics(run: StoredRun, seed: int, step: int) -> dict[str, float]:
    """The metrics that the run logged for this checkpoint; empty if it was not evaluated."""
    columns = evaluations(run)
    if not columns:
        return {}
    rows = np.flatnonzero((columns["seed"] == seed) & (columns["step"] == step))
    named = {name: float(column[rows[-1]]) for name, column in columns.items()} if len(rows) else {}
    return {name: value for name, value in named.items() if name not in ("seed", "step") and np.isfinite(value)}


def _played(
    actor: ActorCritic,
    onnx: Path,
    make_environment: Callable[[], Any],
    action_dim: int,
    episodes: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    from floqzoo.tasks.own_environment import in_own_units

    # The exported policy acts in the environment's own units, so its actions must not be rescaled again.
    players = {
        "onnx": (OnnxActor.load(onnx, actor.policy, action_dim), lambda: in_own_units(make_environment())),
        "jax": (actor, make_environment),
    }
    found: dict[str, Any] = {"episodes": episodes, "seed": seed}
    for index, (name, (each, make)) in enumerate(players.items()):
        told = None
        if progress is not None:
            told = lambda done, before=index * episodes: progress(before + done, 2 * episodes)  # noqa: E731
        with closing(Evaluator(make)) as evaluator:
            evaluation = evaluator.evaluate(each, episodes=episodes, seed=seed, progress=told)
        success = evaluation.reports_success
        found["metric"] = SUCCESS if success else RETURN
        found[name] = evaluation.success_rate if success else evaluation.mean_return
        # The standard error of a single return is unknown, and JSON has no NaN.
        error = evaluation.standard_error if success else evaluation.return_error
        found["standard_error"] = None if np.isnan(error) else error
    return found
