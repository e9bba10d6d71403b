"""What evaluation adds to the wall-clock of a run: between the updates, and beside them.

    python benchmarks/evaluation_overlap.py --dataset_path cube-single-play-v0.npz --out overlap

trains FQL on one core three ways, without evaluation, with evaluations between the updates, and with evaluations in worker
processes beside them, each in a process of its own, and prints a table. It is to be read: nothing is asserted but that both
kinds of evaluation find the same. Seconds are those until the last update, without compilation; the evaluation after it, which
nothing hides, stands apart.
"""

import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))
# With a single thread in the client of the CPU an action would wait for the end of a whole call of updates. Both threads are
# held to the core of training, see `keep_apart`.
ONE_CORE = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "NPROC": "2"}


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    dataset_path: Path
    """The data."""
    env_name: str = "cube-single-play-singletask-v0"
    """The task."""
    out: Path = Path("overlap")
    """Where the table goes."""
    updates: int = 1000
    """Updates of a run."""
    eval_interval: int = 100
    """Updates between two evaluations."""
    episodes: int = 8
    """Episodes of an evaluation."""
    workers: int = 1
    """Processes that play them."""
    repeats: int = 3
    """Runs of each kind, in turn; the median of each counts."""


@dataclass(frozen=True)
class RunCost:
    """The wall-clock seconds of one run until its last update, without compilation; of them, those of the updates' calls; the
    seconds of its evaluations; and those of the last one."""

    kind: str
    seconds: float
    updates: float
    evaluations: float
    last: float
    returns: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One kind of run, the median of its repeats."""

    kind: str
    seconds: float
    added: float
    least: float
    most: float
    updates: float
    evaluations: float
    last: float


def keep_apart() -> None:
    """Gives all that JAX computes one core, and the workers, with the thread that plays, the others."""
    from floqzoo.training.run_evaluations import BackgroundEvaluation

    cores, play = os.sched_getaffinity(0), BackgroundEvaluation._play

    def play_elsewhere(evaluation: BackgroundEvaluation) -> None:
        os.sched_setaffinity(0, cores - {min(cores)})
        play(evaluation)

    BackgroundEvaluation._play = play_elsewhere
    os.sched_setaffinity(0, {min(cores)})


def run(settings: Settings, kind: str, episodes: int, workers: int) -> RunCost:
    """One run."""
    from floqzoo.runs import RunConfig, read_metrics
    from floqzoo.runs.recipe import agent_builder
    from floqzoo.tasks import load
    from floqzoo.training import train
    from recipes.fql import RECIPE, FQLConfig

    keep_apart()
    agent = FQLConfig(alpha=300.0)
    config = RunConfig(
        agent=agent,
        env_name=settings.env_name,
        offline_steps=settings.updates,
        log_interval=settings.eval_interval,
        eval_interval=settings.eval_interval,
        save_interval=0,
        eval_episodes=episodes,
        eval_workers=workers,
    )
    task = load(settings.env_name, dataset_path=settings.dataset_path)
    sizes = {"observation_dim": task.observation_dim, "action_dim": task.action_dim}
    build = agent_builder(RECIPE, agent, **sizes, reward_range=task.reward_range)
    with tempfile.TemporaryDirectory() as name:
        spent = train(build, task, config, Path(name)).seconds
        trained = read_metrics(Path(name) / "train.csv")["time/total_time"][-1]
        seconds = trained - spent.compilation
        if not episodes:
            return RunCost(kind, seconds, spent.updates, 0.0, 0.0, ())
        rows = read_metrics(Path(name) / "eval.csv")
    last = rows["time/total_time"][-1] - trained
    return RunCost(kind, seconds, spent.updates, spent.evaluation, last, tuple(rows["evaluation/episode.return"]))


def row(costs: list[RunCost], without: float) -> Row:
    """The run of median length, beside the median without evaluation."""
    costs = sorted(costs, key=lambda cost: cost.seconds)
    middle = costs[len(costs) // 2]
    return Row(
        middle.kind,
        middle.seconds,
        middle.seconds / without - 1,
        costs[0].seconds,
        costs[-1].seconds,
        middle.updates,
        middle.evaluations,
        middle.last,
    )


def main(settings: Settings) -> None:
    """Measures and prints the table."""
    from floqzoo.studies.report import number, print_table, write_rows

    settings = replace(settings, dataset_path=settings.dataset_path.expanduser().resolve())
    kinds = {"none": (0, 0), "between": (settings.episodes, 0), "beside": (settings.episodes, settings.workers)}
    costs: dict[str, list[RunCost]] = {kind: [] for kind in kinds}
    for _ in range(settings.repeats):
        for kind, (episodes, workers) in kinds.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                costs[kind].append(alone.submit(run, settings, kind, episodes, workers).result())
    if len({cost.returns for kind in ("between", "beside") for cost in costs[kind]}) != 1:
        raise RuntimeError("the evaluations between and beside the updates must find the same; they did not.")
    without = sorted(cost.seconds for cost in costs["none"])[settings.repeats // 2]
    rows = [row(cost, without) for cost in costs.values()]
    cells = [[number(value) if isinstance(value, float) else value for value in vars(each).values()] for each in rows]
    print_table("Evaluation beside training, seconds", list(vars(rows[0])), cells)
    print(f"table: {write_rows(rows, settings.out / 'evaluation_overlap.csv')}")


if __name__ == "__main__":
    os.environ |= ONE_CORE
    main(tyro.cli(Settings, description=__doc__))
