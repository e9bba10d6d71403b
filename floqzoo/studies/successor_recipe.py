"""The command-line program of the successor-measure recipe."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from floqzoo.agent import Agent
from floqzoo.learner.compilation_cache import use_compilation_cache
from floqzoo.learner.devices import join_processes
from floqzoo.networks.normaliser import Normaliser
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe, buildable
from floqzoo.runs.stored_run import trained_policy
from floqzoo.studies.analytic_comparison import ANALYTIC_TASKS, compare_methods
from floqzoo.studies.future_report import report_futures
from floqzoo.training.cli_errors import errors_explained
from floqzoo.training.command_line import parse_arguments
from floqzoo.training.prepared_run import prepare, run_and_report


def run_successor_recipe(recipe: Recipe) -> None:
    """Runs the recipe from the command line, on an analytic task or an OGBench task.

    The exit statuses are the same as for `floqzoo.training.run_recipe`.
    """
    with errors_explained():
        join_processes()
        config = parse_arguments(recipe, sys.argv[1:])
        use_compilation_cache(config.compilation_cache)
        if config.env_name in ANALYTIC_TASKS:
            compare_methods(recipe, config)
            return
        run = prepare(recipe, config)
    run_and_report(run)


def successor_check(build: Callable[..., PyTree]) -> Callable[[RunConfig], None]:
    """Returns the `check` function for a successor-measure recipe with the given `build`.

    The function raises `ValueError` if `build` rejects the settings, if the task is analytic and does not support them,
    or if observations are normalised although the policy comes from another run. Unless the task is analytic, it also
    raises `ValueError` if `method` is mc-cfm and `measure_of` is not "behaviour".
    """
    builds = buildable(build)

    def check(config: RunConfig) -> None:
        if config.env_name in ANALYTIC_TASKS:
            _require_plain(config)
        elif config.agent.method == "mc-cfm" and config.agent.measure_of != "behaviour":
            raise ValueError(
                "`agent.measure_of` must be 'behaviour' if `agent.method` is 'mc-cfm', since the data only contain futures of "
                f"the behaviour policy; got {config.agent.measure_of!r}."
            )
        if config.normalize_observations and config.agent.policy_run:
            raise ValueError(
                f"`normalize_observations` must be False if `agent.measure_of` is {config.agent.measure_of!r}, since that policy "
                "expects observations as in its own run; the measure normalises its observations in any case."
            )
        # The policy of a finished run has a fixed size, known only from its task; a cloned policy can have any size.
        own = replace(config.agent, measure_of="clone", policy_run="") if config.agent.policy_run else config.agent
        builds(replace(config, agent=own))

    return check


def _require_plain(config: RunConfig) -> None:
    """**Raises** `ValueError` for settings that a comparison on an analytic task does not support."""
    if config.agent.policy_run:
        raise ValueError(
            f"`agent.policy_run` must be empty on the analytic task {config.env_name}, whose policy is known; got "
            f"{config.agent.policy_run!r}."
        )
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _NOT_ANALYTIC and value != field.default:
            raise ValueError(
                f"`{field.name}` must be {field.default!r} on the analytic task {config.env_name}; got {value!r}."
            )


_NOT_ANALYTIC = (
    "seeds",
    "precision",
    "normalize_observations",
    "online_steps",
    "start_from",
    "tensorboard",
    "wandb",
)


def parts_from_data(task: Any, config: RunConfig) -> Mapping[str, PyTree]:
    """Returns keyword arguments for the recipe's `build` that depend on the data or on another run.

    These are the measure's normaliser, unless `normalize_observations` is True, and the policy of the run `policy_run`,
    if `policy_run` is not empty.

    **Raises** the errors of `floqzoo.runs.trained_policy`.
    """
    parts: dict[str, PyTree] = {}
    # With normalised observations the measure has none of its own left to normalise.
    if not config.normalize_observations:
        parts["normaliser"] = Normaliser.from_observations(task.dataset.observations, least_scale=1e-3)
    if config.agent.policy_run:
        sizes = {"observation_dim": task.observation_dim, "action_dim": task.action_dim}
        parts["policy"] = trained_policy(config.agent.policy_run, **sizes)
    return parts


def report_seed(agent: Agent, task: Any, config: RunConfig, seed: int, directory: Path) -> None:
    """Calls `report_futures` for one seed of a run; if the run has several seeds, each gets its own folder.

    If the task has no environment, no episodes can be played, so only a measure of the behaviour policy is reported.
    """
    if task.make_environment is None and config.agent.measure_of != "behaviour":
        print("the measure is not compared with episodes of its policy, since the task has no environment")
        return
    own = directory if config.seeds == 1 else directory / f"sd{seed:03d}"
    own.mkdir(exist_ok=True)
    report_futures(agent, task, replace(config, seed=seed, seeds=1), own)
