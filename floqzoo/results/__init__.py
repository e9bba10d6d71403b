"""Results of stored runs: lists of runs, learning curves, comparisons, and new evaluations of trained policies."""

from floqzoo.results.compare import (
    ComparedRow as ComparedRow,
    Comparison as Comparison,
    compare_runs as compare_runs,
    read_comparison as read_comparison,
)
from floqzoo.results.compare_table import (
    comparison_markdown as comparison_markdown,
    comparison_text as comparison_text,
    write_table as write_table,
)
from floqzoo.results.future_inspection import inspect_futures as inspect_futures
from floqzoo.results.inspection import Inspection as Inspection
from floqzoo.results.played_returns import PlayedReturns as PlayedReturns, played_returns as played_returns
from floqzoo.results.plot import plot_runs as plot_runs
from floqzoo.results.reference_scores import (
    PUBLISHED_SCORES as PUBLISHED_SCORES,
    ReferenceGroup as ReferenceGroup,
    ReferenceScore as ReferenceScore,
    read_reference_scores as read_reference_scores,
)
from floqzoo.results.renderer import require_video as require_video
from floqzoo.results.run_evaluation import EvaluatedSeed as EvaluatedSeed, evaluate_run as evaluate_run
from floqzoo.results.run_inspection import inspect_run as inspect_run
from floqzoo.results.run_list import RunSummary as RunSummary, list_runs as list_runs
from floqzoo.results.value_map import ValueMap as ValueMap, value_map as value_map
from floqzoo.results.video import film_run as film_run, record_video as record_video
from floqzoo.studies.statistics import (
    Estimate as Estimate,
    bootstrap_interval as bootstrap_interval,
    interquartile_mean as interquartile_mean,
    mean_score as mean_score,
    probability_of_improvement as probability_of_improvement,
)
