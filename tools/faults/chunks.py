"""Faults of action chunks: of their batches, of validity in losses, and of their execution."""

from .fault import Fault, law


PADDING = "tests/critics/test_padding.py"
QC = "tests/recipes/test_qc.py"
READER = "floqzoo/learner/batch_sources.py"
LOOP = "tests/training/test_open_loop.py"
OPEN_LOOP = "floqzoo/rollout/open_loop.py"
RECORDS = "floqzoo/records.py"

CHUNKS = (
    Fault(
        "a chunk takes the actions of the next episode",
        READER,
        "store.later(jnp.broadcast_to(at[:, None], form), jnp.minimum(steps, left))",
        "store.later(jnp.broadcast_to(at[:, None], form), steps)",
        (
            "tests/training/test_action_chunks.py::test_chunks_of_a_dataset_are_those_of_a_plain_loop",
            f"{QC}::test_three_updates_are_those_of_the_equations[QC]",
        ),
    ),
    Fault(
        "the last step of a chunk in the episode is padding",
        READER,
        "valid = (steps <= left)",
        "valid = (steps < left)",
        (law("a_chunk_holds_the_actions_of_one_episode", "ActionChunks-3"),),
    ),
    Fault(
        "TD losses look at the first step of a chunk",
        RECORDS,
        "jnp.broadcast_to(self.valid[:, -1], losses.shape)",
        "jnp.broadcast_to(self.valid[:, 0], losses.shape)",
        (f"{QC}::test_three_updates_are_those_of_the_equations[QC]",),
    ),
    Fault(
        "TD losses are averaged over the valid chunks alone",
        RECORDS,
        "losses * jnp.broadcast_to(self.valid[:, -1], losses.shape)",
        "losses * jnp.broadcast_to(self.valid[:, -1] / jnp.mean(self.valid[:, -1]), losses.shape)",
        (f"{PADDING}::test_the_loss_is_a_mean_over_the_whole_batch[monolithic]",),
    ),
    Fault(
        "behaviour cloning is masked coordinate by coordinate and not step by step",
        RECORDS,
        "jnp.repeat(self.valid, self.action.shape[-1] // self.valid.shape[-1], axis=-1)",
        "jnp.tile(self.valid, (1, self.action.shape[-1] // self.valid.shape[-1]))",
        (f"{QC}::test_three_updates_are_those_of_the_equations[QC]",),
    ),
    Fault(
        "the flow loss is not masked",
        "floqzoo/critics/flow_critic.py",
        "jnp.mean(batch.counted(self.fields.each(matching_losses)))",
        "jnp.mean(self.fields.each(matching_losses))",
        (f"{PADDING}::test_nothing_is_learnt_from_a_chunk_with_padding[flow]",),
    ),
    Fault(
        "the distilled critic is not masked",
        "floqzoo/critics/flow_critic.py",
        "jnp.mean(batch.counted((q - jnp.mean(flow_q, axis=(0, 2))[None, :]) ** 2))",
        "jnp.mean((q - jnp.mean(flow_q, axis=(0, 2))[None, :]) ** 2)",
        (f"{PADDING}::test_nothing_is_learnt_from_a_chunk_with_padding[flow]",),
    ),
    Fault(
        "the monolithic critic is not masked",
        "floqzoo/critics/monolithic_critic.py",
        "jnp.mean(batch.counted((q - td_target[None, :]) ** 2))",
        "jnp.mean((q - td_target[None, :]) ** 2)",
        (f"{PADDING}::test_nothing_is_learnt_from_a_chunk_with_padding[monolithic]",),
    ),
    Fault(
        "a chunk outlives its episode",
        OPEN_LOOP,
        "due = number == 0",
        "due = (number == 0) & np.array([steps[k] > 0 or int(rows[k]) not in self._chunks for k in range(len(rows))])",
        (f"{LOOP}::test_each_row_takes_the_first_actions_of_one_chunk_after_another",),
    ),
    Fault(
        "all of a chunk is executed whatever the horizon",
        OPEN_LOOP,
        "number = steps % self.horizon",
        "number = steps % self.chunk_length",
        (f"{LOOP}::test_an_episode_is_one_chunk_after_another[5-2]",),
    ),
    Fault(
        "a new chunk of one environment replaces those of all",
        OPEN_LOOP,
        "for row in np.flatnonzero(due))",
        "for row in range(len(rows)))",
        (f"{LOOP}::test_each_row_takes_the_first_actions_of_one_chunk_after_another",),
    ),
    Fault(
        "chunks under way are lost when a run is resumed",
        "floqzoo/training/phases.py",
        'self.open_loop.restore(_with_prefix("open_loop.", state or {}))',
        "self.open_loop.restore({})",
        (f"{LOOP}::test_a_run_that_is_resumed_in_the_middle_of_a_chunk_is_the_same_run[16]",),
    ),
    Fault(
        "best-of-N chunks are chosen by the target critic",
        "floqzoo/records.py",
        "        return self.policy.act(observation, self.critic, key)\n\n    def with_policies",
        "        return self.policy.act(observation, self.target.critic, key)\n\n    def with_policies",
        (f"{QC}::test_trap_the_online_critic_chooses_by_its_mean_and_the_target_values_the_choice",),
    ),
)
