"""What policies did when they were played again, beside what their run logged, as a table."""

import math
from collections.abc import Sequence
from pathlib import Path

from floqzoo.results.run_evaluation import EvaluatedSeed
from floqzoo.results.text_table import text_table


COLUMNS = ["seed", "episodes", "success", "logged", "return", "length"]


def evaluation_text(run: str | Path, results: Sequence[EvaluatedSeed]) -> str:
    """The results of `evaluate_run` as a table."""
    return text_table(f"{run} after {results[0].step:,} updates", COLUMNS, [_line(result) for result in results])


def _line(result: EvaluatedSeed) -> list[str]:
    played = result.evaluation
    logged = "-" if math.isnan(result.logged) else f"{100 * result.logged:.0f} ± {100 * result.logged_error:.0f} %"
    means = (f"{played.episode_return.mean():.1f}", f"{played.length.mean():.1f}")
    return [str(result.seed), str(played.episodes), str(played), logged, *means]
