"""What the recipe of successor measures does when it is run as a program."""

import sys
import time
from dataclasses import replace
from functools import partial

import jax

from floqzoo.studies.analytic_comparison import ANALYTIC_TASKS, compare_methods
from floqzoo.studies.future_report import report_futures
from floqzoo.successor.normaliser import Normaliser
from floqzoo.tasks.future_dataset import FutureDataset
from floqzoo.training.arguments import parse_arguments
from floqzoo.training.configuration import RunConfig
from floqzoo.training.data import load_task
from floqzoo.training.door import FAILED, INTERRUPTED, errors_explained, leave
from floqzoo.training.loop import train
from floqzoo.training.metric_mean import NonFiniteError
from floqzoo.training.recipe import Recipe
from floqzoo.training.recipe_main import report
from floqzoo.training.run_directory import new_run_directory, record_data, record_flags, record_machine


def run_successor_recipe(recipe: Recipe) -> None:
    """Runs the recipe from the words of the command line, on an analytic task or on one of OGBench.

    Ends the program as `floqzoo.training.run_recipe` does.
    """
    with errors_explained():
        config = parse_arguments(recipe, sys.argv[1:])
        if config.env_name in ANALYTIC_TASKS:
            compare_methods(recipe, config)
            return
    _run_on_ogbench(recipe, config)


def _run_on_ogbench(recipe: Recipe, config: RunConfig) -> None:
    start = time.monotonic()
    with errors_explained():
        if config.agent.method == "mc-cfm" and config.agent.measure_of != "behaviour":
            raise ValueError("`agent.method` mc-cfm needs `agent.measure_of` behaviour: true futures are the data's.")
        task = load_task(config)
        agent = recipe.build(
            observation_dim=task.observation_dim,
            action_dim=task.action_dim,
            reward_range=task.reward_range,
            config=config.agent,
            key=jax.random.fold_in(jax.random.key(config.seed), 0),
            normaliser=Normaliser.from_observations(task.dataset.observations, least_scale=1e-3),
        )
        directory = new_run_directory(config.save_dir, config.run_group, config.seed)
        record_flags(directory, recipe.name, config)
        record_machine(directory)
        record_data(directory, task)
    data_seconds = time.monotonic() - start
    with_futures = partial(FutureDataset.of, discount=config.agent.discount)
    task = replace(task, dataset=with_futures(task.dataset), validation=with_futures(task.validation))
    try:
        result = train(agent, task, config, directory)
    except NonFiniteError as error:
        leave(f"error: {error}", FAILED)
    report(recipe, config, result, directory, data_seconds)
    if result.interrupted:
        leave(f"Interrupted after {result.steps:,} updates; metrics and a checkpoint are in {directory}.", INTERRUPTED)
    report_futures(result.agent, task, config, directory)
