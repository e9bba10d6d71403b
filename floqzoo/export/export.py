"""A trained policy as a folder that other runtimes read."""

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from floqzoo._version import __version__
from floqzoo.export.agent_files import AGENT_FILE, FORMAT, SPEC_FILE, agent_record, write_agent, write_arrays
from floqzoo.export.onnx_actor import OnnxActor
from floqzoo.export.onnx_graph import OPSET, onnx_model
from floqzoo.export.policy_function import (
    Arrays,
    ExportedFunction,
    critic_function,
    distribution_of,
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
from floqzoo.export.torch_source import torch_source
from floqzoo.learner.pytree_utils import split_arrays
from floqzoo.protocols import Task
from floqzoo.records import ActorCritic
from floqzoo.results.environment import environment_of
from floqzoo.results.find_runs import evaluations
from floqzoo.results.run_evaluation import actor_of, checkpoint_step, chosen_seeds
from floqzoo.rollout.batched_policy import BatchedPolicy, cpu_device
from floqzoo.rollout.episode_player import EpisodePlayer, numpy_state_kept
from floqzoo.rollout.evaluation import RETURN, SUCCESS, Evaluator
from floqzoo.runs.recipe import Recipe
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.files import sha256_of, write_json
from floqzoo.tasks.own_task import task_label


GOLDEN, RANDOM = 16, 256
"""Rows of the golden inputs, which are the first steps of an episode, and of the random ones."""
COMPATIBILITY = (
    "JAX reads files of jax.export for at least six months after they were written, and a file can be read by a JAX that is up "
    "to three weeks older than the one that wrote it: docs.jax.dev/en/latest/export/export.html#compatibility-guarantees"
)


@dataclass(frozen=True)
class Exported:
    """What an export wrote and measured.

    - `folder`: The folder.
    - `parity`: How each runtime compares with JAX.
    - `spec`: What its `spec.json` holds.
    """

    folder: Path
    parity: tuple[Parity, ...]
    spec: dict[str, Any]


def export_run(
    directory: str | Path,
    out: str | Path,
    *,
    seed: int | None = None,
    step: int | None = None,
    episodes: int = 20,
    critic: bool = False,
    hub_layout: bool = False,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Exports the policy of a stored run, and plays it in ONNX Runtime and in JAX on the same episodes.

    - `directory`, `seed`, `step`: The run, which seed (the first one) and checkpoint (the last one).
    - `out`: A folder that does not exist yet, or is empty.
    - `episodes`: How many to play in each of both, at least 0.
    - `critic`: Whether the critic's score is exported too, as `critic.onnx`.
    - `hub_layout`: Whether the folder is a model repository of the Hugging Face Hub: its README has the metadata of a model card.
    - `recipe`: The run's, where it is not one of floqzoo's own.
    - `task`: The run's, where it is one of your own; `FILE.py:NAME` executes that file. Actions are in [-1, 1], which such a
      task maps to the bounds of its environment.
    - `progress`: Called with the number of episodes finished so far, and in all.

    **Raises** `ValueError` or `FileNotFoundError` for what is not there, `NotExportableError` for a policy that cannot be
    said in other runtimes, `ParityError` if a runtime differs from JAX, `ModuleNotFoundError` without the extra `export`.
    """
    if episodes < 0:
        raise ValueError(f"`episodes` must be at least 0; got {episodes}.")
    run = StoredRun(Path(directory))
    seed, step = chosen_seeds(run, seed)[0], checkpoint_step(run, step)
    actor = actor_of(run, seed, step, recipe)
    make_environment = environment_of(run, task)
    observations, control_rate = _first_observations(actor, make_environment, seed)

    def played(onnx: Path) -> dict[str, Any] | None:
        dim = int(run.data["action_dim"])
        return _played(actor, onnx, make_environment, dim, episodes, seed, progress) if episodes else None

    return export_policy(
        actor,
        out,
        observations=observations,
        critic=critic,
        hub_layout=hub_layout,
        facts={
            "method": run.recipe_name,
            "environment": task_label(run.env_name),
            "seed": seed,
            "step": step,
            "metrics": _metrics(run, seed, step),
            "control_rate_hz": control_rate,
            "agent": agent_record(run.flags, run.data),
        },
        played=played,
    )


def export_policy(
    actor: Any,
    out: str | Path,
    *,
    observations: Float[np.ndarray, "examples observation"],
    critic: bool = False,
    hub_layout: bool = False,
    facts: Mapping[str, Any] | None = None,
    played: Callable[[Path], dict[str, Any] | None] = lambda onnx: None,
) -> Exported:
    """Exports the policy of an agent that is in memory.

    - `actor`: An agent, or its `ActorCritic`.
    - `out`: A folder that does not exist yet, or is empty.
    - `observations`: Some typical ones, two or more, in float32.
    - `critic`, `hub_layout`: As in `export_run`.
    - `facts`: What else `spec.json` says: method, environment, seed, step, metrics, control_rate_hz, agent.
    - `played`: From the path of the ONNX file to what both policies reach when they are played.

    **Raises** as `export_run` does, and `ValueError` if `out` is not empty.
    """
    _require_extra()
    out, actor = Path(out).expanduser(), getattr(actor, "parts", actor)
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
            parity, spec = _written(actor, partial, observations, critic, hub_layout, dict(facts or {}), played)
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
    critic: bool,
    hub: bool,
    facts: dict[str, Any],
    played: Callable[[Path], dict[str, Any] | None],
) -> tuple[list[Parity], dict[str, Any]]:
    policy = policy_function(actor, observations.shape[1])
    program, reference = policy.program(), _in_numpy(policy)
    golden, random = _inputs(policy, actor, observations, 0), _inputs(policy, actor, _like(observations), 1)
    example = golden | {"action": reference(*golden.values())}

    _write_onnx(program, "action", folder / "policy.onnx")
    (folder / "policy.stablehlo").write_bytes(policy.stablehlo())
    source, state = torch_source(program)
    (folder / "policy_torch.py").write_text(source)
    write_arrays(state, folder / "weights.safetensors")
    write_agent(actor, folder / AGENT_FILE)

    tied = _tied(actor) if any(step.operation in ("argmax", "argmin") for step in program.steps) else None
    parity = [
        compare(name, runtime, reference, golden, random, tied)
        for name, runtime in _runtimes(folder, reference).items()
    ]
    if critic:
        example, row = _critic(actor, folder, example, random, reference)
        parity.append(row)
    np.savez(folder / "example.npz", allow_pickle=False, **example)
    spec = _spec(actor, policy, program, example, facts, played(folder / "policy.onnx"))
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
            raise ModuleNotFoundError(f"an export needs {name}, which is not installed: pip install 'floqzoo[export]'.")


def _in_numpy(function: ExportedFunction) -> Runtime:
    compiled = function.compiled()
    return lambda *inputs: np.asarray(compiled(*inputs))


def _inputs(policy: ExportedFunction, actor: ActorCritic, observations: np.ndarray, seed: int) -> Arrays:
    inputs = {"observation": np.asarray(observations, np.float32)}
    return inputs | ({"noise": draw_noise(actor, len(observations), seed)} if "noise" in policy.inputs else {})


def _like(observations: np.ndarray) -> np.ndarray:
    """Random observations of the size of the given ones."""
    scale = observations.std(axis=0) + 0.1
    return observations.mean(axis=0) + scale * np.random.default_rng(0).normal(size=(RANDOM, observations.shape[1]))


def _write_onnx(program: Program, output: str, path: Path) -> None:
    path.write_bytes(onnx_model(program, output).SerializeToString())


def _tied(actor: ActorCritic) -> Callable[..., np.ndarray]:
    """Whether the critic cannot tell two actions apart, in each row."""
    score = jax.jit(jax.vmap(actor.critic.score))

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


def _critic(actor: ActorCritic, folder: Path, example: Arrays, random: Arrays, act: Runtime) -> tuple[Arrays, Parity]:
    """Writes the critic, and compares it at the actions of the policy."""
    observation, action = example["observation"], example["action"]
    function = critic_function(actor, observation.shape[1], action.shape[1])
    _write_onnx(function.program(), "value", folder / "critic.onnx")
    reference, path = _in_numpy(function), folder / "critic.onnx"
    size = max(1.0, float(np.abs(reference(observation, action)).max()))

    def scaled(runtime: Runtime) -> Runtime:
        return lambda *inputs: runtime(*inputs) / size

    golden = {"observation": observation, "action": action}
    drawn = {"observation": random["observation"], "action": act(*random.values())}
    row = compare("ONNX Runtime, critic", scaled(onnx_runtime(path)), scaled(reference), golden, drawn)
    return example | {"value": reference(observation, action)}, row


def _spec(
    actor: ActorCritic,
    policy: ExportedFunction,
    program: Program,
    example: Arrays,
    facts: dict[str, Any],
    evaluation: dict[str, Any] | None,
) -> dict[str, Any]:
    def array(name: str, meaning: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "shape": ["n", *example[name].shape[1:]], "dtype": "float32", "meaning": meaning, **more}

    inputs = [array("observation", "as the environment gives it", units="the environment's", range=None)]
    if "noise" in policy.inputs:
        inputs.append(
            array("noise", "drawn anew for each action", distribution=distribution_of(actor.policy.noise_prior))
        )
    outputs = [array("action", "for the environment as it is", units="the environment's", range=[-1.0, 1.0])]
    if "value" in example:
        outputs.append(array("value", "the critic's score, of critic.onnx alone", units="reward", range=None))
    known = ("method", "environment", "seed", "step", "metrics", "control_rate_hz", "agent")
    unknown = [name for name in facts if name not in known]
    if unknown:
        raise ValueError(f"`facts` must be among {', '.join(known)}; got {unknown[0]}.")
    packages = ("jax", "jaxlib", "onnx", "onnxruntime", "safetensors", *(("torch",) if has_torch() else ()))
    return {
        "format": FORMAT,
        **{name: facts.get(name) for name in known},
        "inputs": inputs,
        "outputs": outputs,
        "evaluation": evaluation,
        "policy": type(actor.policy).__name__,
        "operations": len(program.steps),
        "onnx": {"opset": OPSET},
        "stablehlo": {"platforms": ["cpu", "cuda"], "compatibility": COMPATIBILITY},
        "versions": {"floqzoo": __version__} | {name: importlib.metadata.version(name) for name in packages},
    }


def _metrics(run: StoredRun, seed: int, step: int) -> dict[str, float]:
    """What the run logged for this checkpoint when it evaluated it; nothing where it did not."""
    columns = evaluations(run)
    if not columns:
        return {}
    rows = np.flatnonzero((columns["seed"] == seed) & (columns["step"] == step))
    named = {name: float(column[rows[-1]]) for name, column in columns.items()} if len(rows) else {}
    return {name: value for name, value in named.items() if name not in ("seed", "step") and np.isfinite(value)}


def _first_observations(
    actor: ActorCritic, make_environment: Callable[[], Any], seed: int
) -> tuple[np.ndarray, float | None]:
    """The first observations of the run's first evaluation episode, and the control rate in Hz if the environment has one."""
    with numpy_state_kept(), closing(make_environment()) as environment:
        player, policy = EpisodePlayer(environment), BatchedPolicy(actor, seed)
        player.begin(0, seed)
        observations = [player.receive_start()]
        while len(observations) < GOLDEN:
            (action,) = policy.actions(observations[-1][None], np.array([0]), np.array([len(observations) - 1]))
            player.step(action)
            outcome = player.receive_step()
            if outcome.over:
                break
            observations.append(outcome.observation)
        seconds = _control_timestep(environment.unwrapped)
    return np.asarray(observations, np.float32), None if seconds is None else round(1 / seconds, 6)


def _control_timestep(environment: Any) -> float | None:
    found = (getattr(environment, name, None) for name in ("control_timestep", "dt"))
    return next((float(each) for each in found if isinstance(each, float | int) and each > 0), None)


def _played(
    actor: ActorCritic,
    onnx: Path,
    make_environment: Callable[[], Any],
    action_dim: int,
    episodes: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    evaluator = Evaluator(make_environment)
    actors = {"onnx": OnnxActor.load(onnx, actor.policy, action_dim), "jax": actor}
    found: dict[str, Any] = {"episodes": episodes, "seed": seed}
    with closing(evaluator):
        for index, (name, each) in enumerate(actors.items()):
            told = None
            if progress is not None:
                told = lambda done, before=index * episodes: progress(before + done, 2 * episodes)  # noqa: E731
            evaluation = evaluator.evaluate(each, episodes=episodes, seed=seed, progress=told)
            success = evaluation.reports_success
            found["metric"] = SUCCESS if success else RETURN
            found[name] = evaluation.success_rate if success else evaluation.mean_return
            # Of a single return it is unknown, and JSON has no NaN.
            error = evaluation.standard_error if success else evaluation.return_error
            found["standard_error"] = None if np.isnan(error) else error
    return found
