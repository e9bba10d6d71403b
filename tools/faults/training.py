"""Faults of data, of the compiled loop and of evaluation."""

from .fault import Fault, law


BESIDE = "tests/training/test_run_evaluations.py"
EVALUATION = "tests/training/test_evaluation.py"
SCAN = "tests/training/test_scanned_update.py"

TRAINING = (
    Fault(
        "the next state is the state itself",
        "floqzoo/tasks/dataset.py",
        "next_observation=self.observations[at + 1]",
        "next_observation=self.observations[at]",
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
        "floqzoo/learner/batch_sources.py",
        "ahead = 1 + (jnp.log1p",
        "ahead = (jnp.log1p",
        ("tests/tasks/test_future_dataset.py::test_futures_are_geometric_within_their_episode[0.9]",),
    ),
    Fault(
        "an n-step return crosses the end of an episode",
        "floqzoo/learner/batch_sources.py",
        "further = jnp.minimum(store.steps_left(at), self.n - 1)",
        "further = jnp.full_like(store.steps_left(at), self.n - 1)",
        (law("a_reader_stays_in_the_episode", "NStep-1"),),
    ),
    Fault(
        "an n-step return discounts its rewards once too often",
        "floqzoo/learner/batch_sources.py",
        "reward + gamma * discount * step.reward",
        "reward + gamma**2 * discount * step.reward",
        ("tests/training/test_batch_source.py::test_n_step_returns_of_a_dataset_are_those_of_a_plain_loop",),
    ),
    Fault(
        "the ring writes one slot too far",
        "floqzoo/tasks/replay_buffer.py",
        "slots, before = number % ring,",
        "slots, before = (number + 1) % ring,",
        ("tests/tasks/test_replay_buffer.py::test_the_ring_holds_the_latest_transitions_as_a_list_would",),
    ),
    Fault(
        "the next action is that of the next episode",
        "floqzoo/tasks/replay_buffer.py",
        "continues = (self.written[:, None] > 0) & (",
        "continues = (self.written[:, None] > 0) | (",
        ("tests/tasks/test_future_replay.py::test_next_actions_and_futures_are_those_of_the_list",),
    ),
    Fault(
        "a full buffer forgets new transitions before old ones",
        "floqzoo/learner/batch_sources.py",
        "dataset.starts[jnp.where(is_new, 0, dataset.size - 1 - (age - known))]",
        "dataset.starts[jnp.where(is_new, 0, age - known)]",
        ("tests/training/test_batch_source.py::test_a_ring_that_holds_all_new_ones_need_not_have_room_for_the_data",),
    ),
    Fault(
        "both halves of a balanced batch are data",
        "floqzoo/learner/batch_sources.py",
        "jnp.concatenate([old, new])",
        "jnp.concatenate([old, old])",
        ("tests/training/test_batch_source.py::test_balanced_halves_come_from_each",),
    ),
    Fault(
        "an episode that is cut off ends its value",
        "floqzoo/rollout/exploration.py",
        "float(not outcome.terminated)",
        "float(not outcome.over)",
        ("tests/training/test_exploration.py::test_each_environment_is_what_it_is_alone",),
    ),
    Fault(
        "exploration begins where evaluation begins",
        "floqzoo/rollout/exploration.py",
        "environment.begin(FIRST_EPISODE + index % self._environments)",
        "environment.begin(index % self._environments)",
        ("tests/training/test_exploration.py::test_each_environment_is_what_it_is_alone",),
    ),
    Fault(
        "a run that goes on has forgotten what it explored",
        "floqzoo/training/phases.py",
        'self.update.spread(self._stored_replay(_with_prefix("replay.", state)))',
        "jax.jit(self._empty, out_shardings=self.update.by_seed)()",
        ("tests/training/test_online.py::test_a_longer_run_keeps_what_was_explored",),
    ),
    Fault(
        "every update of a scan has the same key",
        "floqzoo/learner/scanned_update.py",
        "jax.random.fold_in(key, step)",
        "jax.random.fold_in(key, 0)",
        (f"{SCAN}::test_a_scan_is_the_sequence_of_its_updates",),
    ),
    Fault(
        "arrays that are donated share a buffer",
        "floqzoo/update_rules.py",
        "jnp.array(leaf) if eqx.is_array(leaf)",
        "jnp.asarray(leaf) if eqx.is_array(leaf)",
        (f"{SCAN}::test_an_aliased_target_can_be_donated",),
    ),
    Fault(
        "every step of an episode has the same key",
        "floqzoo/rollout/batched_policy.py",
        "jax.random.fold_in(jax.random.fold_in(key, episode), step)",
        "jax.random.fold_in(key, episode)",
        ("tests/training/test_batched_policy.py::test_each_row_is_the_policy_with_the_key_of_its_episode_and_step",),
    ),
    Fault(
        "success at any step counts",
        "floqzoo/rollout/environment_worker.py",
        "self.success = outcome.observation, outcome.success",
        "self.success = outcome.observation, max(self.success, outcome.success)",
        (f"{EVALUATION}::test_success_is_that_of_the_last_step",),
    ),
    Fault(
        "an episode whose process crashed goes on from its start",
        "floqzoo/rollout/environment_worker.py",
        "for number, request in enumerate(self._requests):",
        "for number, request in enumerate([self._requests[0], *self._requests[-1:]]):",
        ("tests/training/test_environment_worker.py::test_an_episode_whose_process_is_killed_is_the_same",),
    ),
    Fault(
        "an evaluation beside training looks at agents that are trained on",
        "floqzoo/training/run_evaluations.py",
        "        evaluation.keep()\n",
        "",
        (f"{BESIDE}::test_it_is_the_same_run",),
    ),
    Fault(
        "an evaluation that was given up is lost",
        "floqzoo/runs/run_store.py",
        "progress = describe_progress(mean, rows, seconds, awaited)",
        "progress = describe_progress(mean, rows, seconds, None)",
        (f"{BESIDE}::test_rows_that_came_after_a_checkpoint_are_cut_and_what_was_awaited_comes_back[later0]",),
    ),
    Fault(
        "an evaluation that was given up is played with the agents of later updates",
        "floqzoo/training/run_evaluations.py",
        "return AwaitedEvaluation(evaluation.step, evaluation.parts)",
        "return AwaitedEvaluation(step, evaluation.parts)",
        (f"{BESIDE}::test_stopped_it_gives_the_evaluation_up_at_once_and_goes_on_as_the_same_run",),
    ),
    Fault(
        "calls of a run that goes on miss its intervals",
        "floqzoo/training/phases.py",
        "math.gcd(step, config.offline_steps",
        "math.gcd(config.offline_steps",
        ("tests/training/test_loop.py::test_a_call_divides_every_interval_and_the_way_to_it",),
    ),
    Fault(
        "actions of an evaluation have the keys of updates",
        "floqzoo/learner/seeds.py",
        "ACTIONS = 4",
        "ACTIONS = 1",
        ("tests/training/test_seed_keys.py::test_no_two_draws_of_a_run_have_the_same_key",),
    ),
    Fault(
        "an episode depends on those before it",
        "floqzoo/rollout/episode_player.py",
        "self._global = np.random.MT19937(entropy)",
        "self._global.jumped()",
        (f"{EVALUATION}::test_an_episode_is_the_same_beside_any_other[2]",),
    ),
)
