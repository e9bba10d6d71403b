"""Profiles updates: records a trace of a few updates, and measures the time of each named step."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.profiler import ProfileData

from floqzoo.learner.devices import mesh_for
from floqzoo.learner.seeds import build_agents, in_precision, update_keys
from floqzoo.protocols import Task
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.scopes import steps_of
from floqzoo.training.phases import OfflinePhase
from floqzoo.training.prepared_run import load_task, require_agents_fit


OUTSIDE = "unnamed"
"""The label for kernels that belong to no step, including kernels that the compiler adds without a name, such as
copies."""


@dataclass(frozen=True)
class StepTime:
    """The time that one named step of an update takes.

    - `step`: The name of the step, preceded by the names of the steps that contain it.
    - `seconds`: The total time of the step's kernels in one update of all seeds, averaged over updates.
    - `kernels`: The number of the step's kernels that run in one update, averaged over updates.
    """

    step: str
    seconds: float
    kernels: float


@dataclass(frozen=True)
class UpdateProfile:
    """The result of profiling the updates of a run.

    - `steps`: The time of each step, with the longest first.
    - `updates`: The number of traced updates.
    - `trace`: The trace file, which XProf and Perfetto can open.
    """

    steps: tuple[StepTime, ...]
    updates: int
    trace: Path

    @property
    def seconds(self) -> float:
        """The total time of all kernels in one update, in seconds; the times of concurrent kernels add up."""
        return math.fsum(step.seconds for step in self.steps)


def profile_run(
    directory: str | Path,
    out: str | Path,
    *,
    updates: int = 20,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
) -> UpdateProfile:
    """Profiles updates of untrained agents, with the settings and the data of a stored run, which is not changed.

    - `directory`: The folder of the run.
    - `out`: The folder for the trace.
    - `updates`: The number of updates to trace, rounded up to complete calls of the compiled program. A warm-up call
      precedes the trace.
    - `recipe`: The recipe of the run; by default the one in the package `recipes` that `flags.json` names.
    - `task`: Your own task, if the run uses one: the object, or `FILE.py:NAME` or `MODULE:NAME`, whose code is
      executed.

    **Raises** `ValueError` if `updates` is below 1 or the agents are larger than the memory of this machine, and any
    error that loading the run raises.
    """
    if updates < 1:
        raise ValueError(f"`updates` must be at least 1; got {updates}.")
    run = StoredRun(directory)
    recipe = find_recipe(run.recipe_name) if recipe is None else recipe
    config = run.config(recipe)
    require_agents_fit(run.builder(recipe), config.seeds)
    loaded = named_task(run, task) or load_task(config)
    agents = build_agents(in_precision(run.builder(recipe), config.precision), config.seed_numbers)
    mesh = mesh_for(config.seeds, config.agent.batch_size)
    phase = OfflinePhase(config, 0, agents, loaded.dataset, recipe.batch_source(config, False), mesh)
    arrays, keys = phase.update.arrays(agents), phase.update.spread(update_keys(config.seed_numbers))
    program = phase.update.compile(arrays, phase.dataset, keys, 0)
    arrays, _ = jax.block_until_ready(phase.update(arrays, phase.dataset, keys, 0))
    calls = -(-updates // phase.steps)
    out = Path(out)
    with jax.profiler.trace(str(out)):
        for call in range(calls):
            arrays, _ = jax.block_until_ready(phase.update(arrays, phase.dataset, keys, call * phase.steps))
    trace = max(out.rglob("*.xplane.pb"), key=lambda file: file.stat().st_mtime)
    text = program.as_text() or ""
    events = kernel_events(ProfileData.from_file(str(trace)), module_of(text))
    return UpdateProfile(step_times(events, text, calls * phase.steps), calls * phase.steps, trace)


def kernel_events(data: Any, module: str) -> Iterable[tuple[str, float]]:
    """Yields the HLO operation and the duration in seconds of each executed kernel of an HLO module.

    - `data`: A `jax.profiler.ProfileData`.
    - `module`: The name of the HLO module, as returned by `module_of`.
    """
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                facts = {name: value for name, value in event.stats if name in ("hlo_op", "hlo_module")}
                if facts.get("hlo_module") == module and "hlo_op" in facts:
                    yield str(facts["hlo_op"]), event.duration_ns / 1e9


def step_times(events: Iterable[tuple[str, float]], text: str, updates: int) -> tuple[StepTime, ...]:
    """Computes the mean time of each step in one update, with the longest first.

    - `events`: The HLO operation and the duration in seconds of each kernel.
    - `text`: The HLO text of the compiled update, as returned by `jax.stages.Compiled.as_text()`.
    - `updates`: The number of updates that the events cover.
    """
    names = operation_names(text)
    seconds: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    for operation, duration in events:
        # The event of a loop spans the events in it.
        if operation in names:
            step = " / ".join(steps_of(names[operation])) or OUTSIDE
            seconds[step] += duration  # pyright: ignore[reportArgumentType]
            kernels[step] += 1
    found = (StepTime(step, seconds[step] / updates, kernels[step] / updates) for step in seconds)
    return tuple(sorted(found, key=lambda step: -step.seconds))


_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = .*?[\]})] ?(?P<kind>[a-z][\w\-]*)\(")
_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_HOLD_OTHERS = ("while", "call", "conditional")


def operation_names(text: str) -> dict[str, str]:
    """Maps the HLO name of each operation in `text` to its JAX name, or to "" if it has no JAX name.

    Loops, calls and branches are left out, because their time consists of the time of the operations inside them.

    - `text`: The HLO text of a compiled function, as returned by `jax.stages.Compiled.as_text()`.
    """
    names = {}
    for line in text.splitlines():
        found = _INSTRUCTION.match(line)
        if found and found["kind"] not in _HOLD_OTHERS:
            name = _NAME.search(line)
            names[found["name"]] = name[1] if name else ""
    return names


def module_of(text: str) -> str:
    """Returns the name of the HLO module in `text`, which is the output of `jax.stages.Compiled.as_text()`."""
    return re.split(r"[\s,]", text, maxsplit=2)[1]
