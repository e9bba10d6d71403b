"""The policy of a finished run, for other things than going on with that run."""

from pathlib import Path

from floqzoo.policies.fixed_policy import FixedPolicy
from floqzoo.training.find_recipe import find_recipe
from floqzoo.training.stored_run import StoredRun


def trained_policy(directory: str | Path, *, observation_dim: int, action_dim: int) -> FixedPolicy:
    """The policy of a run's first seed, from its latest whole checkpoint, to be used and not to be trained.

    - `directory`: The folder of a run of one of the project's own recipes.
    - `observation_dim`, `action_dim`: What the policy must fit.

    **Raises** `ValueError` if it is no run, or one of a task with other observations or actions; `FileNotFoundError` if
    there is no such folder, or no checkpoint in it.
    """
    run = StoredRun(directory)
    for name, wanted in (("observation_dim", observation_dim), ("action_dim", action_dim)):
        if run.data.get(name) != wanted:
            raise ValueError(f"the policy of {directory} must have `{name}` {wanted}; it has {run.data.get(name)}.")
    return FixedPolicy(run.agent(find_recipe(run.recipe_name), run.seeds[0]).policy)
