"""What evaluation adds to the wall-clock of a run: between the updates, and beside them.

    python benchmarks/evaluation_overlap.py overlap --dataset_path cube-single-play-v0.npz --out overlap

trains FQL on one core three ways, without evaluation, with evaluations between the updates, and with evaluations in worker
processes beside them, each in a process of its own, and prints a table. It is to be read: nothing is asserted but that both
kinds of evaluation find the same. Seconds are those until the last update, without compilation; the evaluation after it, which
nothing hides, stands apart.

    python benchmarks/evaluation_overlap.py waits --dataset_path cube-single-play-v0.npz --rates 600 1200 --workers 0 1 2

shows how long training waits for evaluations at the published interval, by the number of workers and the updates a second. The
environments, the policy and the schedule are those of a run; the updates are not computed: this process sleeps for as long as they
would take at the given rate, as one does whose updates run on an accelerator.
"""

import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))
# With a single thread in the client of the CPU an action would wait for the end of a whole call of updates. Both threads are
# held to the core of training, see `keep_apart`.
ONE_CORE = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "NPROC": "2"}


@dataclass(frozen=True)
class Overlap:
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


def run(settings: Overlap, kind: str, episodes: int, workers: int) -> RunCost:
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


def overlap(settings: Annotated[Overlap, tyro.conf.arg(name="")]) -> None:
    """Compares runs without evaluation, with evaluations between the updates, and with evaluations beside them."""
    os.environ |= ONE_CORE
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


@dataclass(frozen=True)
class Waits:
    """What is simulated."""

    dataset_path: Path
    """The data."""
    env_name: str = "cube-single-play-singletask-v0"
    """The task."""
    out: Path = Path("overlap")
    """Where the table goes."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Numbers of processes that play an evaluation."""
    rates: tuple[float, ...] = (600.0, 1200.0)
    """Updates a second."""
    eval_interval: int = 100_000
    """Updates between two evaluations."""
    intervals: int = 4
    """Intervals of a run, at least 3, each with an evaluation at its end; in the last one the behaviour flow plays, too."""
    episodes: int = 50
    """Episodes of an evaluation."""


@dataclass(frozen=True)
class Wait:
    """A simulated run: the seconds of one evaluation, the seconds that the updates take, how long training waited for evaluations
    before the last one, the share of that in the time between the first and the last one, and how long it waited for the last."""

    workers: int
    rate: float
    evaluation: float
    updates: float
    waited: float
    share: float
    last: float


def simulated_run(settings: Waits, workers: int, rate: float) -> Wait:
    """A run whose updates are slept through."""
    from floqzoo.learner import UniformBatches, build_agents
    from floqzoo.runs import RunConfig
    from floqzoo.runs.recipe import agent_builder
    from floqzoo.runs.run_store import RunStore, Stopwatch
    from floqzoo.tasks import load
    from floqzoo.training.progress import ProgressReport
    from floqzoo.training.run_evaluations import RunEvaluations
    from recipes.fql import RECIPE, FQLConfig

    config = RunConfig(
        agent=FQLConfig(alpha=300.0),
        env_name=settings.env_name,
        offline_steps=settings.intervals * settings.eval_interval,
        eval_episodes=settings.episodes,
        eval_workers=workers,
    )
    task = load(settings.env_name, dataset_path=settings.dataset_path)
    sizes = {"observation_dim": task.observation_dim, "action_dim": task.action_dim}
    agents = build_agents(agent_builder(RECIPE, config.agent, **sizes, reward_range=task.reward_range), [0])
    seconds, start, period = Stopwatch(), time.monotonic(), settings.eval_interval / rate
    with tempfile.TemporaryDirectory() as name, ProgressReport("", "updates", quiet=True) as progress:
        store = RunStore(Path(name), 1, False)
        evaluations = RunEvaluations(
            task.make_environment, config, store, progress, seconds, lambda: time.monotonic() - start, UniformBatches()
        )
        for step in range(settings.eval_interval, config.total_steps + 1, settings.eval_interval):
            time.sleep(period)
            evaluations.begin(step, agents.parts, task.dataset)
            if step < config.total_steps:
                waited = seconds.waiting
        evaluations.finish(config.total_steps)
        evaluations.close()
    last, updates = seconds.waiting - waited, settings.intervals * period
    # The last evaluation counts twice: policy and behaviour flow.
    each = seconds.evaluation / (settings.intervals + 1)
    between = updates - period
    return Wait(workers, rate, each, updates, waited, waited / (between + waited), last)


def waits(settings: Annotated[Waits, tyro.conf.arg(name="")]) -> None:
    """Simulates runs, and shows how long training waits for evaluations."""
    from floqzoo.studies.report import number, print_table, write_rows

    if settings.intervals < 3:  # training waits for the first evaluation, if at all, when it begins the second
        raise ValueError(f"`intervals` must be at least 3; got {settings.intervals}.")
    settings = replace(settings, dataset_path=settings.dataset_path.expanduser().resolve())
    rows = [simulated_run(settings, workers, rate) for workers in settings.workers for rate in settings.rates]
    cells = [[number(float(value)) for value in vars(each).values()] for each in rows]
    print_table("Waiting for evaluations, seconds", list(vars(rows[0])), cells)
    print(f"table: {write_rows(rows, settings.out / 'evaluation_waits.csv')}")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"overlap": overlap, "waits": waits}, description=__doc__, use_underscores=True
    )
