"""Formats the results of a new evaluation as a table, next to the results that the run logged."""

import math
from collections.abc import Sequence
from pathlib import Path

from floqzoo.results.run_evaluation import EvaluatedSeed
from floqzoo.results.text_table import text_table


COLUMNS = ["seed", "episodes", "success", "logged", "return", "length"]
WITHOUT_SUCCESS = ["seed", "episodes", "return", "logged", "length"]


def evaluation_text(run: str | Path, results: Sequence[EvaluatedSeed]) -> str:
    """Formats the results of `evaluate_run` as a table, with one row for each seed."""
    columns = COLUMNS if results[0].evaluation.reports_success else WITHOUT_SUCCESS
    return text_table(f"{run} after {results[0].step:,} updates", columns, [_line(result) for result in results])


def _line(result: EvaluatedSeed) -> list[str]:
    played = result.evaluation
    length = f"{played.length.mean():.1f}"
    if not played.reports_success:
        error = "" if math.isnan(result.logged_error) else f" ± {result.logged_error:.3g}"
        logged = "-" if math.isnan(result.logged) else f"{result.logged:.4g}{error}"
        return [str(result.seed), str(played.episodes), str(played), logged, length]
    logged = "-" if math.isnan(result.logged) else f"{100 * result.logged:.0f} ± {100 * result.logged_error:.0f} %"
    return [str(result.seed), str(played.episodes), str(played), logged, f"{played.mean_return:.1f}", length]
