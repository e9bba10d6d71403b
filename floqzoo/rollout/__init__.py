"""Running policies in environments: evaluation and exploration."""

from floqzoo.rollout.environment_process import WorkerCrashedError as WorkerCrashedError
from floqzoo.rollout.environment_worker import EnvironmentWorker as EnvironmentWorker
from floqzoo.rollout.episode_player import EpisodePlayer as EpisodePlayer, StepOutcome as StepOutcome
from floqzoo.rollout.evaluation import (
    Evaluation as Evaluation,
    EvaluationStoppedError as EvaluationStoppedError,
    Evaluator as Evaluator,
    evaluate as evaluate,
)
from floqzoo.rollout.exploration import Exploration as Exploration
from floqzoo.rollout.open_loop import OpenLoop as OpenLoop
