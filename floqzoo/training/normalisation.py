"""Adds a normaliser of observations to the agents of a run if the run's settings enable it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from floqzoo.networks.normaliser import Normaliser
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import with_normaliser
from floqzoo.typing import Array


def normalising(build: Callable[[Array], PyTree], config: RunConfig, task: Any) -> Callable[[Array], PyTree]:
    """Wraps `build` so that its agents normalise observations.

    Returns `build` itself if `config.normalize_observations` is False, or if the agents already have a normaliser.

    **Raises** the same errors as `fitted_normaliser`.
    """
    if not config.normalize_observations:
        return build
    if getattr(eqx.filter_eval_shape(build, jax.random.key(0)), "normaliser", None) is not None:
        return build
    return with_normaliser(build, fitted_normaliser(task))


def fitted_normaliser(task: Any) -> Normaliser:
    """Fits a normaliser to the observations of a task's training data.

    **Raises** `ValueError` if the dataset of the task has no `observations`.
    """
    observations = getattr(task.dataset, "observations", None)
    if observations is None:
        raise ValueError(
            "`normalize_observations` needs a dataset with `observations`, to which the normaliser is fitted; got a "
            f"{type(task.dataset).__name__}."
        )
    return Normaliser.from_observations(observations)
