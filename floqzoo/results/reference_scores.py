"""Reads scores from other sources, such as the tables of papers, to compare them with your own runs."""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from floqzoo.runs.run_store import SUCCESS_METRIC


PUBLISHED_SCORES = Path(__file__).with_name("published_scores.csv")
"""A file of scores from the papers whose methods floqzoo implements; each row names its source and protocol."""


@dataclass(frozen=True)
class ReferenceScore:
    """A score of a method from another source.

    - `method`: The name of the method in the source.
    - `environment`: The name of a task. For a mean over several tasks, the first part of a name, such as
      `cube-single-play`, which stands for all tasks whose names start with it.
    - `step`: The number of training steps before the evaluation.
    - `seed`: The seed; None for a mean over seeds.
    - `score`: The score, in the unit of the metric; success rates are in [0, 1].
    - `spread`: The number that the source prints after ±, if any, or else None.
    - `source`, `protocol`: Where the score comes from, and how it was measured.
    """

    method: str
    environment: str
    step: int
    seed: int | None
    score: float
    spread: float | None
    source: str
    protocol: str


@dataclass(frozen=True)
class ReferenceGroup:
    """All scores of one method in one environment from one source, measured with one protocol: a learning curve.

    Scores from different sources or protocols belong to different groups, so they are never averaged together.

    - `points`: The steps in ascending order, each with its scores: one score for each seed, or a single mean over
      seeds.
    """

    method: str
    environment: str
    source: str
    protocol: str
    points: tuple[tuple[int, tuple[ReferenceScore, ...]], ...]

    def concerns(self, task: str) -> bool:
        """Returns whether the environment is the given task, or stands for several tasks that include it."""
        return _contains(self.environment, task)

    @property
    def curve(self) -> list[tuple[int, float]]:
        """The steps in ascending order, each with the mean score over seeds."""
        return [(step, math.fsum(each.score for each in scores) / len(scores)) for step, scores in self.points]


def read_reference_scores(path: str | Path) -> tuple[ReferenceScore, ...]:
    """Reads reference scores from a CSV file, whose columns are the fields of `ReferenceScore`.

    The cells of `seed` and `spread` may be empty. `PUBLISHED_SCORES` is such a file.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` if it has other columns, or if a value is
    missing or is not a number (the message names the line).
    """
    names = [field.name for field in fields(ReferenceScore)]
    with Path(path).open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != names:
            raise ValueError(f"{path} must have the columns {', '.join(names)}; it has {reader.fieldnames}.")
        return tuple(_score_of(row, f"line {reader.line_num} of {path}") for row in reader)


def chosen_references(choice: str | None) -> tuple[ReferenceScore, ...]:
    """Reads the scores that the flag `--reference` selects.

    - `choice`: "published" for the scores in `PUBLISHED_SCORES`, None for no scores, or else the path of a CSV file.

    **Raises** the same errors as `read_reference_scores`.
    """
    if choice is None:
        return ()
    return read_reference_scores(PUBLISHED_SCORES if choice == "published" else choice)


def _contains(environment: str, task: str) -> bool:
    return task == environment or task.startswith(f"{environment}-")


def _score_of(row: dict[str, str], place: str) -> ReferenceScore:
    cells = {name: (text or "").strip() for name, text in row.items()}
    texts = {name: cells[name] for name in ("method", "environment", "source", "protocol")}
    for name, text in texts.items():
        if not text:
            raise ValueError(f"`{name}` in {place} is empty; every score must have one.")
    return ReferenceScore(
        **texts,
        step=_number(cells, "step", int, place),
        seed=_number(cells, "seed", int, place) if cells["seed"] else None,
        score=_number(cells, "score", float, place),
        spread=_number(cells, "spread", float, place) if cells["spread"] else None,
    )


def _number(cells: dict[str, str], name: str, kind: Callable[[str], Any], place: str) -> Any:
    try:
        value = kind(cells[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        whole = "a whole number" if kind is int else "a finite number"
        raise ValueError(f"`{name}` in {place} must be {whole}; got {cells[name]!r}.")
    return value


def reference_groups(scores: Iterable[ReferenceScore], tasks: Sequence[str], metric: str) -> tuple[ReferenceGroup, ...]:
    """Groups the scores of the given tasks, sorted by environment, method, source and protocol; other scores are
    ignored.

    **Raises** `ValueError` if the metric is the success rate and a score is outside [0, 1], or if a group has two
    scores of the same seed at one step, or a mean over seeds in addition to another score at the same step.
    """
    found: dict[tuple[str, str, str, str], dict[int, list[ReferenceScore]]] = {}
    for score in scores:
        if not any(_contains(score.environment, task) for task in tasks):
            continue
        if metric == SUCCESS_METRIC and not 0 <= score.score <= 1:
            raise ValueError(
                f"the reference score of {score.method} on {score.environment} must be a success rate in [0, 1]; got "
                f"{score.score:g}. Divide percentages by 100."
            )
        key = (score.environment, score.method, score.source, score.protocol)
        at_step = found.setdefault(key, {}).setdefault(score.step, [])
        if any(score.seed is None or other.seed in (None, score.seed) for other in at_step):
            raise ValueError(
                f"two reference scores of {score.method} on {score.environment} after {score.step:,} steps have the same "
                f"source, protocol and seed; give one score for each seed, or a single mean."
            )
        at_step.append(score)
    return tuple(
        ReferenceGroup(method, environment, source, protocol, tuple((s, tuple(points[s])) for s in sorted(points)))
        for (environment, method, source, protocol), points in sorted(found.items())
    )
