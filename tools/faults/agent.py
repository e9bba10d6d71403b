"""Faults of the agent's update, and of the numbers that are not learnt."""

from .fault import Fault, law


AGENT_FILE = "floqzoo/agent.py"
HYPERPARAMETER = "floqzoo/hyperparameter.py"
RULES = "floqzoo/update_rules.py"
TESTS = "tests/test_agent.py"
FREEZING = (
    "tests/recipes/test_frozen_features.py::"
    "test_frozen_features_stay_and_last_layers_policy_and_distilled_critic_are_trained[fql]"
)

AGENT = (
    Fault(
        "the target is an alias of the online critic",
        RULES,
        'NoTarget("critic") if self.critic is None else copied(parts.critic)',
        'NoTarget("critic") if self.critic is None else parts.critic',
        (f"{TESTS}::test_at_first_the_target_is_a_copy_of_the_critic_and_no_alias",),
    ),
    Fault(
        "the target follows the critic from after the step",
        RULES,
        "online = after if self.of_new else before",
        "online = after",
        (f"{TESTS}::test_the_target_follows_the_critic_from_before_each_step[1.0]",),
    ),
    Fault(
        "tau is the share of the old target",
        RULES,
        "old + step.astype(old.dtype) * (new - old)",
        "new + step.astype(old.dtype) * (old - new)",
        (f"{TESTS}::test_the_target_follows_the_critic_from_before_each_step[0.0]",),
    ),
    Fault(
        "frozen features take the steps of their optimiser",
        RULES,
        "jnp.where(count < num_updates, step, 0)",
        "step",
        (FREEZING,),
    ),
    Fault(
        "every layer but the first counts as the last",
        RULES,
        "_layer_of(path) in last",
        "_layer_of(path) is not None",
        (FREEZING,),
    ),
    Fault(
        "the state of a target is copied in every update",
        "floqzoo/update_rules.py",
        "                moved = _where(happens, moved, target)",
        "                moved = _followed(_where(happens, moved, target), online, lambda old, new: old)",
        (law("targets_move_by_their_tau", "PolyakAveraging-1"),),
    ),
    Fault(
        "targets move in every update",
        RULES,
        "_where(happens, moved, target)",
        "moved",
        (law("targets_move_by_their_tau", "PolyakAveraging-1"),),
    ),
    Fault(
        "targets move one update too early",
        RULES,
        "happens = (step + 1) % self.every == 0",
        "happens = step % self.every == 0",
        (law("targets_move_by_their_tau", "PolyakAveraging-1"),),
    ),
    Fault(
        "the state of a target stays as it is",
        RULES,
        "lambda old, new: new if is_state(new) else old",
        "lambda old, new: old",
        (law("targets_move_by_their_tau", "PolyakAveraging-0"),),
    ),
    Fault(
        "the critic's loss trains the policy",
        RULES,
        "critic_loss, critic_metrics = self.critic_loss(critic, batch, agent, critic_key)",
        "critic_loss, critic_metrics = self.critic_loss("
        "critic, batch, eqx.tree_at(lambda agent: agent.policy, agent, policy), critic_key)",
        (f"{TESTS}::test_neither_loss_trains_what_it_is_given",),
    ),
    Fault(
        "the policy's loss trains the critic",
        RULES,
        "policy_loss, policy_metrics = self._occasional_policy_loss(policy, batch, agent, policy_key)",
        "policy_loss, policy_metrics = self._occasional_policy_loss("
        "policy, batch, eqx.tree_at(lambda agent: agent.critic, agent, critic), policy_key)",
        (f"{TESTS}::test_neither_loss_trains_what_it_is_given",),
    ),
    Fault(
        "both losses draw from one key",
        RULES,
        "policy_loss, policy_metrics = self._occasional_policy_loss(policy, batch, agent, policy_key)",
        "policy_loss, policy_metrics = self._occasional_policy_loss(policy, batch, agent, critic_key)",
        ("tests/test_agent_of_floq.py::test_training_goes_by_the_key_alone",),
    ),
    Fault(
        "a phase starts one update too late",
        "floqzoo/phased_update.py",
        "jnp.sum(agent.step >= ends)",
        "jnp.sum(agent.step > ends)",
        (law("phases_are_their_rules_in_turn", "PhasedUpdate-0"),),
    ),
    Fault(
        "the trainer forgets the updates of an earlier run in the phases",
        "floqzoo/training/phases.py",
        "name: max(0, start - earlier)",
        "name: start",
        ("tests/training/test_phases_of_agents.py::test_the_phases_of_a_run_are_those_of_its_updates",),
    ),
    Fault(
        "the targets are copied one update too late",
        RULES,
        "copies = step + 1 == self.copy_after",
        "copies = step == self.copy_after",
        (law("targets_move_by_their_tau", "PolyakAveraging-2"),),
    ),
    Fault(
        "the policy of a joint update has a loss one update too early",
        RULES,
        "return (agent.step + 1) % self.policy_every == 0",
        "return agent.step % self.policy_every == 0",
        (law("a_joint_update_is_one_step_of_optax", "JointUpdate-1"),),
    ),
    Fault(
        "an alternating policy steps one update too early",
        RULES,
        "happens = (agent.step + 1) % self.policy_every == 0",
        "happens = agent.step % self.policy_every == 0",
        (f"{TESTS}::test_the_policy_steps_in_its_own_updates",),
    ),
    Fault(
        "an alternating policy steps against the critic from before its step",
        RULES,
        "        agent = eqx.tree_at(lambda agent: agent.critic, agent, with_cast_weights(frozen(critic)))\n",
        "",
        (law("alternating_steps_are_those_of_optax", "AlternatingUpdate-0"),),
    ),
    Fault(
        "the new state of a part is lost",
        RULES,
        "return metrics.metrics, partition_trainable(metrics.part)[1]",
        "return metrics.metrics, rest",
        (law("an_update_keeps_what_is_not_trained", "JointUpdate-0"),),
    ),
    Fault(
        "updates are not counted",
        AGENT_FILE,
        "optimisers, self.step + 1)",
        "optimisers, self.step)",
        (f"{TESTS}::test_updates_are_counted",),
    ),
    Fault(
        "hyperparameters are trained",
        HYPERPARAMETER,
        "eqx.is_inexact_array, is_leaf=is_not_trained)",
        "eqx.is_inexact_array)",
        ("tests/test_hyperparameter.py::test_trainable_are_the_floating_arrays_that_no_hyperparameter_holds",),
    ),
    Fault(
        "the second step of a sequential update starts from a new optimiser",
        RULES,
        "gradient_step(policy_loss, both, self.optimiser, optimisers)",
        "gradient_step(policy_loss, both, self.optimiser, self.init_optimisers(parts))",
        (
            "tests/test_sequential_update.py"
            "::test_with_a_steady_gradient_an_update_is_root_two_steps_of_a_separate_adam",
        ),
    ),
    Fault(
        "a hyperparameter has a gradient",
        HYPERPARAMETER,
        '"""The number; no gradient passes through it."""\n        return jax.lax.stop_gradient(self.stored)',
        '"""The number; no gradient passes through it."""\n        return self.stored',
        (law("no_gradient_reaches_a_number_that_is_not_learnt", "GaussianPrior-1"),),
    ),
    Fault(
        "state has a gradient",
        HYPERPARAMETER,
        '"""The array; no gradient passes through it."""\n        return jax.lax.stop_gradient(self.stored)',
        '"""The array; no gradient passes through it."""\n        return self.stored',
        ("tests/test_users_own_parts.py::test_state_is_trained_by_no_gradient_and_decayed_by_no_optimiser",),
    ),
    Fault(
        "what is frozen learns",
        HYPERPARAMETER,
        "eqx.combine(jax.lax.stop_gradient(trainable), rest)",
        "eqx.combine(trainable, rest)",
        ("tests/test_hyperparameter.py::test_a_frozen_part_is_the_same_but_for_its_gradient",),
    ),
    Fault(
        "an optimiser is given no loss",
        RULES,
        "value=value, grad=gradients",
        "value=0 * value, grad=gradients",
        (
            law("a_joint_update_is_one_step_of_optax", "JointUpdate-6"),
            f"{TESTS}::test_an_optimiser_may_need_the_loss[a step of Polyak]",
        ),
    ),
)
