r"""Compares the methods of TD-Flow on the successor measure of a trained policy, on a task of OGBench.

Every model learns the measure of the policy of a stored run, from single transitions of the data of that run. The
models are compared with episodes that the policy plays: by the earth mover's distance (EMD) between futures, by the
negative log-likelihood (NLL) of the futures in the episodes, and by the squared error of values. An interrupted study
resumes in the same folder. Source: TD-Flow (arXiv 2503.09817), section 5 and table 3, repeated here with small networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Float

from floqzoo.figures import WIDTH, legend_below, new_figure, save_figure, styled
from floqzoo.learner.seeds import agent_of
from floqzoo.networks.normaliser import Normaliser
from floqzoo.policies.fixed_policy import FixedPolicy
from floqzoo.protocols import Policy, SuccessorMeasure
from floqzoo.records import ActorCritic
from floqzoo.runs.run_data import task_of
from floqzoo.runs.stored_run import StoredRun, trained_policy
from floqzoo.studies.future_report import KINDS, FuturePoint, future_points
from floqzoo.studies.horizon_sweep import LABELS, TRUTH, SweepRow, draw, means_of, rows_of, summary
from floqzoo.studies.members import train_members
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.report import markdown_table, number, print_table, read_table, write_rows
from floqzoo.studies.rollouts import Rollout, played_rollouts
from floqzoo.studies.study import record_settings
from floqzoo.studies.successor_errors import METRICS, Probe, errors_of_truth
from floqzoo.studies.successor_training import REWARD, TrainingSettings, measure_agent
from floqzoo.successor.methods import METHODS
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.episodes import seeded
from floqzoo.tasks.files import replacing
from floqzoo.tasks.load import OGBenchTask
from floqzoo.tasks.own_task import is_reference
from floqzoo.tasks.simulator import make
from floqzoo.training.cli_errors import errors_explained
from floqzoo.training.progress import ProgressReport
from floqzoo.typing import Array, Observation, Scalar


MODELS, MAPS = "models.csv", "futures.csv"
"""The files with the errors of all models and with the points of the maps."""
MAPPED = "td2-cfm"
"""The method whose sampled futures the maps show."""
COLUMNS = ("emd", "nll", "value_mse")
"""The metrics of the table."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """The settings of the study that its measurements depend on."""

    methods: tuple[str, ...] = ("td-cfm", "td-cfm-c", "td2-cfm", "td-dd", "td2-dd")
    """Methods to train: td-cfm, td-cfm-c, td2-cfm, td-dd, td2-dd."""
    horizons: tuple[int, ...] = (10, 30, 100)
    """Effective horizons 1 / (1 - discount), each above 1."""
    seeds: int = 3
    """Number of models of each method and horizon, with different parameters, batches and noise."""
    states: int = 16
    """Number of initial states, from each of which the policy plays one episode (64)."""
    steps: int = 600
    """Number of steps of an episode (1000)."""
    samples: int = 512
    """Number of sampled futures per state for values (2048)."""
    compared: int = 256
    """Number of sampled futures, and of futures in the episode, per state for the EMD (2048)."""
    scored: int = 32
    """Number of futures in the episode per state for the NLL (2048)."""
    density_steps: int = 32
    """Number of Tsit5 steps with which densities are computed (not published)."""
    training: TrainingSettings = TrainingSettings(updates=5_000)
    """How each model is trained."""

    def __post_init__(self):
        require_positive(self)
        known = [name for name in METHODS if name != "mc-cfm"]
        unknown = [name for name in self.methods if name not in known]
        if unknown:
            raise ValueError(
                f"`methods` must be among {', '.join(known)}, since the data contain no futures of the policy; got "
                f"{', '.join(unknown)}."
            )
        if min(self.horizons) <= 1 or len({*self.horizons}) < len(self.horizons):
            raise ValueError(f"`horizons` must be different numbers above 1; got {self.horizons}.")
        if max(self.compared, self.scored) > self.samples:
            raise ValueError(f"`compared` and `scored` must be at most `samples`, {self.samples}.")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(EvaluationSettings):
    """The command line of the study; published values are in brackets."""

    policy_run: Path | None = None
    """The folder of the finished run whose policy is measured, on the task and the data of this run. The policy should
    be deterministic, since each initial state has a single episode."""
    read: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A folder with the results of this study, from which the table and the figures are made without training."""
    directory: Path = Path("exp/studies/measure_evaluation")
    """Output folder for the errors of each model (models.csv), the points of the maps (futures.csv), the table
    (report.md) and two figures (errors.png, futures.png)."""

    def __post_init__(self):
        super().__post_init__()
        if (self.policy_run is None) == (self.read is None):
            raise ValueError(
                "exactly one of `policy_run` and `from` must be given: the run whose policy is measured, or the folder of "
                f"finished results; got {self.policy_run} and {self.read}."
            )

    @property
    def settings(self) -> EvaluationSettings:
        """The settings without the paths."""
        names = EvaluationSettings.__dataclass_fields__
        return EvaluationSettings(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class MeasuredPolicy:
    """A known policy, the transitions from which its measure is learnt, and its episodes.

    All states are standardised. The rewards of the episodes are those of `plane_reward`.

    - `policy`: The policy, as a function of a standardised state.
    - `dataset`: The transitions.
    - `rollouts`: One episode of the policy for each initial state.
    - `normaliser`: The normaliser that standardises states.
    - `plane`: The indices of the two coordinates of the horizontal position.
    """

    policy: Policy | Any
    dataset: Dataset
    rollouts: Sequence[Rollout]
    normaliser: Normaliser
    plane: tuple[int, int]


def plane_reward(plane: tuple[int, int], state: Observation) -> Scalar:
    r"""Returns the reward $z_1 - \lVert z \rVert^2$ of a standardised state, where $z$ is its horizontal position."""
    return REWARD(state[jnp.asarray(plane)])


def measured_policy(directory: Path, settings: EvaluationSettings) -> tuple[MeasuredPolicy, dict[str, str]]:
    """Loads the policy and the data of a stored run, and plays the episodes of the policy, which do not end at the goal.

    Also returns the name of the run's folder, the task and the fingerprint of the data, to store with the results.

    **Raises** `ValueError` if the run is on a task of your own, or if its data are pixels or shards, or have goals; and
    the errors of `StoredRun`, `task_of` and `floqzoo.runs.trained_policy`.
    """
    run = StoredRun(directory)
    if is_reference(run.env_name):
        raise ValueError(f"`policy_run` must be a run on a task of OGBench; {directory} is a run on {run.env_name}.")
    task = task_of(run)
    if not (isinstance(task, OGBenchTask) and isinstance(task.dataset, Dataset)) or task.name.pixels:
        raise ValueError(
            f"`policy_run` must be a run whose data are one file of states without goals; the data of {directory} are not."
        )
    dataset = task.dataset
    policy = trained_policy(directory, observation_dim=task.observation_dim, action_dim=task.action_dim)
    environment = make(task.name.environment, terminate_at_goal=False, max_episode_steps=settings.steps)
    try:
        with seeded(environment, np.random.SeedSequence(0)):
            rollouts = played_rollouts(ActorCritic(None, policy), environment, settings.states, seed=0)
    finally:
        environment.close()
    normaliser = Normaliser.from_observations(np.asarray(dataset.observations), least_scale=1e-3)
    facts = {"policy": directory.resolve().name, "env_name": run.env_name, "data": dataset.fingerprint()}
    return standardised(policy, dataset, rollouts, normaliser, task.name.plane), facts


def standardised(
    policy: Policy | Any,
    dataset: Dataset,
    rollouts: Sequence[Rollout],
    normaliser: Normaliser,
    plane: tuple[int, int],
) -> MeasuredPolicy:
    """Standardises the states of data and episodes, and replaces the rewards of the episodes by `plane_reward`.

    - `policy`, `dataset`, `rollouts`: The policy, the data and the episodes, with states in the units of the task.
    - `normaliser`, `plane`: As in `MeasuredPolicy`.
    """
    normalise = jax.jit(jax.vmap(normaliser.normalise))
    reward = jax.jit(jax.vmap(partial(plane_reward, plane)))
    mean, scale = normaliser.mean.value, normaliser.scale.value
    inverse = Normaliser(-mean / scale, 1 / scale)

    def of_rollout(rollout: Rollout) -> Rollout:
        states = normalise(np.concatenate([rollout.observation[None], rollout.futures]))
        futures = np.asarray(states[1:])
        return Rollout(np.asarray(states[0]), rollout.action, futures, np.asarray(reward(futures)))

    return MeasuredPolicy(
        FixedPolicy(policy, None, inverse),
        replace(dataset, observations=normalise(dataset.observations)),
        [of_rollout(rollout) for rollout in rollouts],
        normaliser,
        plane,
    )


def rollout_probe(measured: MeasuredPolicy, horizon: int, settings: EvaluationSettings) -> Probe:
    """Returns the initial states of the episodes with futures resampled from them, and with their discounted returns.

    The futures are standardised. The time of a future has a geometric distribution, truncated at the end of the
    episode.
    """
    discount, random, rollouts = 1 - 1 / horizon, np.random.default_rng(0), measured.rollouts
    futures = [rollout.resampled(discount, 2 * settings.samples, random) for rollout in rollouts]
    return Probe(
        discount=discount,
        truth=None,
        observations=jnp.stack([rollout.observation for rollout in rollouts]),
        actions=jnp.stack([rollout.action for rollout in rollouts]),
        futures=jnp.stack(futures),
        values=jnp.asarray([rollout.discounted_return(discount) for rollout in rollouts]),
        reward=partial(plane_reward, measured.plane),
        compared=settings.compared,
        scored=settings.scored,
        density_steps=settings.density_steps,
    )


def train_measures(
    method: str,
    measured: MeasuredPolicy,
    settings: EvaluationSettings,
    progress: Callable[[int], None] | None = None,
) -> dict[int, list[SuccessorMeasure]]:
    """Trains the models of all horizons and seeds of a method in one compiled program.

    Returns the target networks of all seeds, by horizon.
    """
    members = [(horizon, seed) for horizon in settings.horizons for seed in range(settings.seeds)]
    discounts = jnp.asarray([1 - 1 / horizon for horizon, _ in members])
    keys = jax.vmap(jax.random.key)(jnp.asarray([seed for _, seed in members]))
    dim, action_dim = measured.dataset.observation_dim, measured.dataset.action_dim

    def agent(discount: Float[Array, ""], key: jax.Array) -> Any:
        return measure_agent(
            METHODS[method],
            settings.training,
            dim,
            dim + action_dim,
            measured.policy,
            partial(plane_reward, measured.plane),
            key,
            discount=discount,
            normaliser=Normaliser(0.0, 1.0),
        )

    agents, _ = train_members(
        eqx.filter_vmap(agent)(discounts, keys),
        eqx.filter_vmap(lambda key: measured.dataset)(keys),
        jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys),
        updates=settings.training.updates,
        batch_size=settings.training.batch_size,
        progress=progress,
    )
    measures: dict[int, list[SuccessorMeasure]] = {horizon: [] for horizon in settings.horizons}
    for index, (horizon, _) in enumerate(members):
        measures[horizon].append(agent_of(agents, index).target.critic.measure)
    return measures


def evaluate_measures(measured: MeasuredPolicy, settings: EvaluationSettings, directory: Path) -> list[SweepRow]:
    """Trains the models of all methods, and returns their errors.

    Methods whose errors are already in `directory` are not trained again. If the method is `MAPPED`, the points of the
    maps are also written.
    """
    probes = {horizon: rollout_probe(measured, horizon, settings) for horizon in settings.horizons}
    rows = [SweepRow.of("straight", TRUTH, horizon, -1, errors_of_truth(probe)) for horizon, probe in probes.items()]
    total = len(settings.methods) * settings.training.updates
    with ProgressReport("training", "updates") as progress:
        for index, method in enumerate(settings.methods):
            path = directory / "methods" / f"{method}.csv"

            def show(updates: int, before: int = index * settings.training.updates, method: str = method) -> None:
                progress.update(before + updates, total, LABELS[method])

            if not path.exists():
                measures = train_measures(method, measured, settings, show)
                if method == MAPPED:
                    write_rows(map_points(measured, {h: seeds[0] for h, seeds in measures.items()}), directory / MAPS)
                found = [rows_of("straight", method, h, seeds, probes[h]) for h, seeds in measures.items()]
                write_rows([row for each in found for row in each], path)
                jax.clear_caches()  # the compiled programs of a method are not used again
            rows += read_table(SweepRow, path)
    return rows


def map_points(measured: MeasuredPolicy, measures: dict[int, SuccessorMeasure], count: int = 256) -> list[FuturePoint]:
    """Returns the points of the maps, with the horizon as the panel.

    For each horizon, these are futures of the first initial state, sampled from the measure and from the episode.

    - `measures`: The measure for each horizon.
    - `count`: The number of futures of each kind and horizon.
    """
    rollout, random = measured.rollouts[0], np.random.default_rng(0)
    state, action = jnp.asarray(rollout.observation), jnp.asarray(rollout.action)
    restore = jax.vmap(measured.normaliser.restore)
    futures = [
        (
            np.asarray(restore(jnp.asarray(rollout.resampled(1 - 1 / horizon, count, random)))),
            np.asarray(restore(measure.sample_futures(state, action, count, jax.random.key(horizon)))),
        )
        for horizon, measure in measures.items()
    ]
    initial = [np.asarray(measured.normaliser.restore(state))] * len(measures)
    visited = np.asarray(restore(measured.dataset.observations))
    points = future_points(initial, futures, visited, measured.plane)
    return [replace(point, panel=(0, *measures)[point.panel]) for point in points]


@styled
def draw_maps(points: Sequence[FuturePoint], path: Path) -> Path:
    """Draws the points of `map_points`, with a panel for each horizon."""
    horizons = sorted({point.panel for point in points} - {0})
    figure = new_figure(WIDTH, 2.2 + WIDTH / len(horizons))
    panels = figure.subplots(1, len(horizons), squeeze=False, sharex=True, sharey=True)[0]
    for horizon, axes in zip(horizons, panels, strict=True):
        for kind, style in KINDS.items():
            x = [(point.x, point.y) for point in points if point.panel in (0, horizon) and point.kind == kind]
            axes.scatter(*np.array(x).reshape(-1, 2).T, label=kind, linewidth=0, **style)
        axes.set(title=f"Effective horizon {horizon}", xlabel="x position", aspect="equal")
        axes.grid(visible=False)
    panels[0].set_ylabel("y position")
    legend_below(figure, 2)
    return save_figure(figure, path)


def table_of(rows: Sequence[SweepRow]) -> tuple[list[str], list[list[str]]]:
    """Returns a table with means and standard errors over seeds, with a row per horizon and method.

    The first row of each horizon compares two sets of futures of the same episodes, whose density is unknown.
    """
    names = {TRUTH: "futures of the same episodes", **{name: LABELS[name] for name in LABELS if name != TRUTH}}

    def cell(metric: str, method: str, horizon: int) -> str:
        mean = summary(rows, metric, method, horizon)
        if method == TRUTH:
            return "" if np.isnan(mean.mean) else number(mean.mean)
        return str(mean)

    cases = sorted({(row.horizon, list(names).index(row.method)) for row in rows})
    lines = [
        [str(horizon), list(names.values())[place], *(cell(metric, list(names)[place], horizon) for metric in COLUMNS)]
        for horizon, place in cases
    ]
    return ["horizon", "method", *(METRICS[metric] for metric in COLUMNS)], lines


def main(config: Annotated[EvaluationConfig, tyro.conf.arg(name="")]) -> None:
    """Runs the study or reads its results, prints its table, and writes its table and figures."""
    source = config.read or config.directory
    if config.policy_run is not None:
        measured, facts = measured_policy(config.policy_run, config.settings)
        record_settings({"study": "measure_evaluation", **facts, **asdict(config.settings)}, config.directory)
        write_rows(evaluate_measures(measured, config.settings, config.directory), config.directory / MODELS)
    rows = read_table(SweepRow, source / MODELS)
    columns, lines = table_of(rows)
    print_table("Measures of a trained policy", columns, lines)
    report = config.directory / "report.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    with replacing(report) as temporary:
        temporary.write_text(markdown_table(columns, lines) + "\n")
    print(f"report: {report}")
    print(f"figure: {draw_errors(rows, config.directory / 'errors.png')}")
    if (source / MAPS).exists():
        print(f"figure: {draw_maps(read_table(FuturePoint, source / MAPS), config.directory / 'futures.png')}")


def draw_errors(rows: Sequence[SweepRow], path: Path) -> Path:
    """Draws the errors of all methods against the horizon, ± one standard error."""
    known = [row for row in means_of(rows) if not np.isnan(row.mean)]
    return draw(known, path, log_scale=("emd", "value_mse"))


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(EvaluationConfig, description=__doc__, use_underscores=True))
