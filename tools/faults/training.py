"""Faults of data, of the compiled loop and of evaluation."""

from .fault import Fault


BESIDE = "tests/training/test_run_evaluations.py"
EVALUATION = "tests/training/test_evaluation.py"
SCAN = "tests/training/test_scanned_update.py"

TRAINING = (
    Fault(
        "the next state is the state itself",
        "floqzoo/tasks/dataset.py",
        "next_observation=self.observations[state + 1]",
        "next_observation=self.observations[state]",
        ("tests/tasks/test_dataset.py::test_a_draw_never_leaves_its_episode",),
    ),
    Fault(
        "draws leave out the last transition",
        "floqzoo/tasks/dataset.py",
        "jax.random.randint(key, (batch_size,), 0, self.size)",
        "jax.random.randint(key, (batch_size,), 0, self.size - 1)",
        ("tests/tasks/test_dataset.py::test_draws_are_uniform",),
    ),
    Fault(
        "futures begin at the next state itself",
        "floqzoo/tasks/future_dataset.py",
        "ahead = 1 + (jnp.log1p",
        "ahead = (jnp.log1p",
        ("tests/tasks/test_future_dataset.py::test_futures_are_geometric_within_their_episode[0.9]",),
    ),
    Fault(
        "every update of a scan has the same key",
        "floqzoo/training/scanned_update.py",
        "jax.random.fold_in(key, step)",
        "jax.random.fold_in(key, 0)",
        (f"{SCAN}::test_a_scan_is_the_sequence_of_its_updates",),
    ),
    Fault(
        "arrays that are donated share a buffer",
        "floqzoo/training/leaves.py",
        "jnp.array(leaf, copy=True)",
        "jnp.asarray(leaf)",
        (f"{SCAN}::test_an_aliased_target_can_be_donated",),
    ),
    Fault(
        "every step of an episode has the same key",
        "floqzoo/training/batched_policy.py",
        "jax.random.fold_in(jax.random.fold_in(key, episode), step)",
        "jax.random.fold_in(key, episode)",
        ("tests/training/test_batched_policy.py::test_each_row_is_the_policy_with_the_key_of_its_episode_and_step",),
    ),
    Fault(
        "success at any step counts",
        "floqzoo/training/evaluation.py",
        "self.success = outcome.observation, outcome.success",
        "self.success = outcome.observation, max(self.success, outcome.success)",
        (f"{EVALUATION}::test_success_is_that_of_the_last_step",),
    ),
    Fault(
        "an episode whose process crashed goes on from its start",
        "floqzoo/training/environment_worker.py",
        "for number, request in enumerate(self._requests):",
        "for number, request in enumerate([self._requests[0], *self._requests[-1:]]):",
        ("tests/training/test_environment_worker.py::test_an_episode_whose_process_is_killed_is_the_same",),
    ),
    Fault(
        "an evaluation beside training looks at agents that are trained on",
        "floqzoo/training/background_evaluation.py",
        "        evaluation.keep()\n",
        "",
        (f"{BESIDE}::test_it_is_the_same_run",),
    ),
    Fault(
        "the row of an evaluation that outlived its run is lost",
        "floqzoo/training/run_store.py",
        "return rows - rows % seeds",
        "return 0",
        (f"{BESIDE}::test_rows_that_came_after_a_checkpoint_are_kept_by_their_step",),
    ),
    Fault(
        "an episode depends on those before it",
        "floqzoo/training/episode_player.py",
        "self._global = np.random.MT19937(entropy)",
        "self._global.jumped()",
        (f"{EVALUATION}::test_an_episode_is_the_same_beside_any_other[2]",),
    ),
)
