"""Inspects the flow critic of a stored run, and writes diagnostics, tables and figures."""

import operator
import warnings
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any, SupportsIndex

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.flow_diagnostics import has_features, value_paths
from floqzoo.figures import save_figure
from floqzoo.protocols import ActsInChunks, FlowValued, Task
from floqzoo.results.critic_figures import (
    draw_inside,
    draw_q_by_steps,
    draw_value_and_return,
    draw_value_map,
    draw_value_paths,
)
from floqzoo.results.environment import environment_of, require_states
from floqzoo.results.inspection import Inspection, inspection_of, return_rows
from floqzoo.results.played_returns import PlayedReturns, played_returns
from floqzoo.results.run_evaluation import checkpoint_step, chosen_seeds
from floqzoo.results.value_map import value_map
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_data import task_of
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.studies.critic_inside import CriticInside, critic_inside, mean_values
from floqzoo.studies.report import write_rows
from floqzoo.tasks.own_task import is_reference, task_label
from floqzoo.typing import Array


NUM_NOISE_SAMPLES = 16
"""The number of noise samples that are drawn for each state."""


def inspect_run(
    directory: str | Path,
    out: str | Path,
    *,
    seed: SupportsIndex | None = None,
    step: SupportsIndex | None = None,
    episodes: SupportsIndex = 10,
    transitions: int = 512,
    solver_steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64),
    dataset_path: str | Path | None = None,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
) -> tuple[Inspection, list[Path]]:
    """Inspects the flow critic of a run; returns its diagnostics and the paths of the files written to `out`.

    The files are `diagnostics.csv`, `value_and_return.csv`, and the figures `value_paths.png`, `q_by_steps.png`,
    `value_and_return.png`, `inside.png` and, for a pointmaze task, `value_map.png`. If the number of steps of the
    critic's solver cannot be changed, `q_by_steps.png` is left out, with a warning.

    - `directory`: The folder of the run.
    - `out`: The folder for the files.
    - `seed`: The seed of the run to inspect; by default the first.
    - `step`: The step of the checkpoint; by default the last.
    - `episodes`: The number of episodes to play, at least 1. They are the first episodes of the run's own evaluation.
    - `transitions`: The number of transitions to sample from the run's data, at least 2.
    - `solver_steps`: The numbers of solver steps to compare, at least two, in ascending order.
    - `dataset_path`: The new location of the run's data, if they were moved.
    - `recipe`: The recipe of the run, if it is not one of floqzoo's.
    - `task`: Your own task, if the run uses one: the object, or a string `FILE.py:NAME` or `MODULE:NAME`, whose code is
      executed.

    **Raises** `ValueError` or `FileNotFoundError` if the run, its data, the seed or the checkpoint does not exist;
    `ValueError` in these cases:

    - The run has no flow critic, its critic has no features or is over action chunks, or it was trained on pixels.
    - The run uses your own task, but `task` is None or has no environment.
    - A number is out of range.
    """
    _check(transitions, solver_steps)
    run = StoredRun(Path(directory))
    require_states(run, "an inspection")
    seed, step = chosen_seeds(run, seed)[0], checkpoint_step(run, step)
    recipe = recipe or find_recipe(run.recipe_name)
    _require_flow_critic(run, recipe)
    agent = run.agent(recipe, seed, step)
    batch_key, inside_key, noise_key = jax.random.split(jax.random.key(seed), 3)
    own = named_task(run, task)  # only once, since this executes code and reads data
    batch = task_of(run, dataset_path, own).dataset.sample(batch_key, transitions)
    batch = batch.with_observations(jax.vmap(agent.parts.normalised))
    inside = critic_inside(agent.critic, batch, inside_key, steps=solver_steps, num_noise_samples=NUM_NOISE_SAMPLES)
    played = _played(run, own, agent, operator.index(episodes), seed)
    noise = agent.critic.prior.sample(noise_key, (NUM_NOISE_SAMPLES, 1))
    states = jax.vmap(agent.parts.normalised)(jnp.asarray(played.observations))
    q = np.asarray(mean_values(agent.critic, states, jnp.asarray(played.actions), noise))
    found, out = inspection_of(inside, played, q, seed=seed, step=step), Path(out)
    files = [
        write_rows([found], out / "diagnostics.csv"),
        write_rows(return_rows(played, q), out / "value_and_return.csv"),
    ]
    title = f"{run.recipe_name} on {task_label(run.env_name).removesuffix('-v0')}, seed {seed}, {step:,} updates"
    for name, figure in (
        ("value_paths", _draw_paths(agent, played, noise)),
        *_steps_figure(agent.critic.solver, solver_steps, inside.q_by_steps),
        ("value_and_return", draw_value_and_return(q, played)),
        ("inside", _draw_inside(inside)),
        *_maze_figure(run, agent, played, seed),
    ):
        figure.suptitle(fill(title, int(9.5 * figure.get_figwidth())))
        files.append(save_figure(figure, out / f"{name}.png"))
    return found, files


def _check(transitions: int, solver_steps: tuple[int, ...]) -> None:
    if transitions < 2:
        raise ValueError(f"`transitions` must be at least 2; got {transitions}.")
    if len(solver_steps) < 2 or solver_steps[0] < 1 or list(solver_steps) != sorted(set(solver_steps)):
        raise ValueError(
            f"`solver_steps` must be at least two increasing numbers, each at least 1; got {solver_steps}."
        )


def _require_flow_critic(run: StoredRun, recipe: Recipe) -> None:
    agent = eqx.filter_eval_shape(run.builder(recipe), jax.random.key(0))
    critic = agent.critic
    if not isinstance(critic, FlowValued):
        raise ValueError(
            f"there is no flow critic in {run.directory}: {run.recipe_name} has a {type(critic).__name__}."
        )
    if not has_features(critic):
        raise ValueError(
            f"the velocity fields of the critic of {run.directory} must have the method `last_features`, and their network "
            f"the method `features`; they are of the class {type(critic.fields.members).__name__}."
        )
    if isinstance(agent.policy, ActsInChunks):
        raise ValueError(
            f"only a critic over single actions can be inspected; that of {run.directory} is over chunks of "
            f"{agent.policy.chunk_length} actions."
        )


def _played(run: StoredRun, task: Task | None, agent: Any, episodes: int, seed: int) -> PlayedReturns:
    return played_returns(
        agent.parts,
        environment_of(run, task),
        discount=float(agent.critic.discount.value),
        episodes=episodes,
        seed=seed,
        pays_next_state=(run.data.get("success_timing"), run.data.get("reward_timing")) == ("post", "pre"),
    )


def _draw_paths(agent: Any, played: PlayedReturns, noise: Float[Array, "noise 1"]) -> Any:
    """Draws the value trajectories at four states of one episode, if possible one that reached the goal."""
    chosen = played.episode[np.argmax(played.success > 0)]
    steps = np.flatnonzero(played.episode == chosen)
    rows = steps[np.linspace(0, len(steps) - 1, 4).astype(int)]
    critic, normalised = agent.critic, agent.parts.normalised
    states = [(normalised(jnp.asarray(played.observations[row])), jnp.asarray(played.actions[row])) for row in rows]
    paths = [eqx.filter_jit(value_paths)(critic, *state, noise) for state in states]
    return draw_value_paths(
        np.asarray(paths[0].t),
        [np.asarray(path.z) for path in paths],
        [f"Step {row - steps[0] + 1} of episode {chosen}" for row in rows],
        [float(critic.score(*state)) for state in states],
        [float(played.returns[row]) if played.known()[row] else float("nan") for row in rows],
    )


def _steps_figure(
    solver: Any, steps: tuple[int, ...], q: Float[np.ndarray, "choices batch"] | None
) -> Iterator[tuple[str, Any]]:
    if q is None:
        message = f"q_by_steps.png is left out, since the number of steps of {type(solver).__name__} cannot be changed."
        warnings.warn(message, stacklevel=3)
    else:
        yield "q_by_steps", draw_q_by_steps(steps, q, solver.num_steps)


def _draw_inside(inside: CriticInside) -> Any:
    return draw_inside(
        inside.ends.std(axis=2).mean(axis=0),
        np.sqrt(inside.curvature.mean(axis=(1, 2))),
        np.linalg.svd(inside.features, compute_uv=False),
        [int(rank) for rank in inside.ranks],
    )


def _maze_figure(run: StoredRun, agent: Any, played: PlayedReturns, seed: int) -> Iterator[tuple[str, Any]]:
    if not is_reference(run.env_name) and "maze" in run.env_name and played.observations.shape[1] == 2:
        yield "value_map", draw_value_map(value_map(agent.parts, environment_of(run), seed=seed))
