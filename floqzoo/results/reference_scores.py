"""Scores from other sources, such as the tables of papers, to compare with your own runs."""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from floqzoo.runs.run_store import SUCCESS_METRIC


PUBLISHED_SCORES = Path(__file__).with_name("published_scores.csv")
"""The scores of the papers whose methods floqzoo implements; each row names its source and protocol."""


@dataclass(frozen=True)
class ReferenceScore:
    """One score of a method that was trained elsewhere.

    - `method`: The name of the method in the source.
    - `environment`: The name of a task; or the first part of such a name, such as `cube-single-play`, for a mean over
      the tasks whose names start with it.
    - `step`: The number of steps before the evaluation.
    - `seed`: The seed, or None for a mean over seeds.
    - `score`: The score, in the unit of the metric; success rates are in [0, 1].
    - `spread`: What the source prints after ±, or None.
    - `source`, `protocol`: Where the number is from, and how it was measured.
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
    """All scores of one method in one environment, from one source and with one protocol: a learning curve.

    Scores from different sources or protocols are never in one group, so that no mean mixes them.

    - `points`: The steps, ascending, each with its scores: one for each seed, or a single mean.
    """

    method: str
    environment: str
    source: str
    protocol: str
    points: tuple[tuple[int, tuple[ReferenceScore, ...]], ...]

    def concerns(self, task: str) -> bool:
        """Whether the environment is the task, or contains it."""
        return _contains(self.environment, task)

    @property
    def curve(self) -> list[tuple[int, float]]:
        """The mean over seeds at each step."""
        return [(step, math.fsum(each.score for each in scores) / len(scores)) for step, scores in self.points]


def read_reference_scores(path: str | Path) -> tuple[ReferenceScore, ...]:
    """Reads reference scores from a CSV file with the fields of `ReferenceScore` as columns.

    `seed` and `spread` may be empty. `PUBLISHED_SCORES` is such a file.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` for other columns, a missing value, or a value
    that is not a number; the message names the line.
    """
    names = [field.name for field in fields(ReferenceScore)]
    with Path(path).open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != names:
            raise ValueError(f"{path} must have the columns {', '.join(names)}; it has {reader.fieldnames}.")
        return tuple(_score_of(row, f"line {reader.line_num} of {path}") for row in reader)


def chosen_references(choice: str | None) -> tuple[ReferenceScore, ...]:
    """The scores that the flag `--reference` selects: those of `PUBLISHED_SCORES` for "published", none for None, and
    otherwise those of the file `choice`."""
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
    """Groups the scores that concern any of the tasks; sorted by environment, method, source and protocol.

    **Raises** `ValueError` if the metric is the success rate and a score is outside [0, 1], or if a group has, at one
    step, two scores of the same seed or a mean over seeds in addition to another score.
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
