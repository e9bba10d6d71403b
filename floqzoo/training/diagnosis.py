"""What a critic looks like from inside while it is trained."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.critics.flow_diagnostics import FlowDiagnostics, flow_diagnostics
from floqzoo.training.leaves import named_leaves
from floqzoo.training.seed_keys import SeedUse, seed_key
from floqzoo.typing import Key


TRANSITIONS = 256
"""Transitions that a diagnosis looks at."""


def diagnosis(critic: Any, dataset: PyTree, seed: int) -> dict[str, float]:
    """The diagnostics of a flow critic by name; empty for another critic, and for fields that do not tell their features.

    All diagnoses of a seed are of the same transitions and noises, so that only the critic differs.

    - `dataset`: Has `sample(key, batch_size)`.
    """
    if not (isinstance(critic, FlowCritic) and _tells_features(critic)):
        return {}
    found = _diagnose(critic, dataset, seed_key(seed, SeedUse.DIAGNOSIS))
    return {name: float(value) for name, value in named_leaves(found).items()}


@eqx.filter_jit
def _diagnose(critic: FlowCritic, dataset: PyTree, key: Key) -> FlowDiagnostics:
    batch_key, noise_key = jax.random.split(key)
    return flow_diagnostics(critic, dataset.sample(batch_key, TRANSITIONS), noise_key)


def _tells_features(critic: FlowCritic) -> bool:
    field: Any = critic.fields.members
    return hasattr(field, "last_features") and hasattr(getattr(field, "network", None), "features")
