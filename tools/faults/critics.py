"""Faults of critics: of TD targets, of losses and of what their gradients reach."""

from .fault import Fault, law


FLOW = "floqzoo/critics/flow_critic.py"
MONOLITHIC = "floqzoo/critics/monolithic_critic.py"
IQL = "floqzoo/critics/iql_critic.py"
REBRAC = "floqzoo/critics/rebrac_critic.py"
SAC = "floqzoo/critics/sac_critic.py"
SAC_TESTS = "tests/recipes/test_transcription_of_sac.py"
RETURN = "floqzoo/critics/return_flow_critic.py"
STEPPED = "floqzoo/critics/step_conditioned_critic.py"
SHARED_STEPS = (
    "tests/policies/test_shortcut_policy.py"
    "::test_one_number_of_steps_is_shared_by_both_sides_of_the_td_error_and_by_the_batch"
)
BASELINES = "tests/recipes/test_transcription_of_baselines.py"
TARGETS = "tests/critics/test_td_targets.py"
ARITHMETIC = f"{TARGETS}::test_targets_are_reward_plus_discounted_value_of_the_next_state"
MASKED = f"{TARGETS}::test_a_masked_transition_is_worth_its_reward_whatever_follows"
CONSTANT = f"{TARGETS}::test_a_constant_reward_is_worth_itself_over_one_minus_the_discount"
LOSSES = "tests/critics/test_flow_critic.py"
GRADIENTS = "tests/critics/test_critic_gradients.py"
RETURNS = "tests/critics/test_return_flow_critic.py"
VALUE_FLOWS = "tests/recipes/test_transcription_of_value_flows.py"
STILL = f"{RETURNS}::test_the_losses_of_a_field_that_stands_still_are_the_squared_velocities"

CRITICS = (
    Fault(
        "a solver that is no dataclass is taken for one that can take a single step",
        "floqzoo/critics/flow_diagnostics.py",
        "        if can_change_steps(critic.solver)\n",
        '        if hasattr(critic.solver, "num_steps")\n',
        ("tests/critics/test_solver_steps.py::test_only_the_value_in_one_step_is_left_out[plain]",),
    ),
    Fault(
        "the discount of the transition is missing from a monolithic target",
        MONOLITHIC,
        "target.discount.value * batch.discount * next_q",
        "target.discount.value * next_q",
        (f"{MASKED}[mean-monolithic]",),
    ),
    Fault(
        "the discount of the transition is missing from a flow's target",
        FLOW,
        "target.discount.value * batch.discount",
        "target.discount.value * jnp.ones_like(batch.discount)",
        (f"{MASKED}[mean-expected]",),
    ),
    Fault(
        "the discount counts twice",
        FLOW,
        "target.discount.value * batch.discount",
        "target.discount.value**2 * batch.discount",
        (f"{CONSTANT}[mean-expected]",),
    ),
    Fault(
        "the discount counts twice in a monolithic target",
        MONOLITHIC,
        "target.discount.value * batch.discount * next_q",
        "target.discount.value**2 * batch.discount * next_q",
        (f"{TARGETS}::test_two_steps_from_the_goal_the_reward_is_discounted_once_and_nothing_comes_after[monolithic]",),
    ),
    Fault(
        "the least of the members is their mean",
        "floqzoo/critics/td_targets.py",
        "return jnp.min(values, axis=0)",
        "return jnp.mean(values, axis=0)",
        (f"{ARITHMETIC}[0-min]",),
    ),
    Fault(
        "the mean of the members is the least",
        "floqzoo/critics/td_targets.py",
        "return jnp.mean(values, axis=0)",
        "return jnp.min(values, axis=0)",
        (f"{ARITHMETIC}[0-mean]",),
    ),
    Fault(
        "members are added up",
        "floqzoo/critics/td_targets.py",
        "return jnp.mean(values, axis=0)",
        "return jnp.sum(values, axis=0)",
        (law("an_aggregate_lies_among_its_members", "MeanOverEnsemble-0"),),
    ),
    Fault(
        "the expected backup is a sum over noise samples",
        "floqzoo/critics/td_targets.py",
        "jnp.mean(next_values)",
        "jnp.sum(next_values)",
        (law("known_values_are_backed_up_exactly", "ExpectedBackup-0"),),
    ),
    Fault(
        "the distributional backup is the expected one",
        "floqzoo/critics/td_targets.py",
        "return reward + continuation * next_values",
        "return jnp.broadcast_to(reward + continuation * next_values.mean(), next_values.shape)",
        (f"{ARITHMETIC}[0-mean]",),
    ),
    Fault(
        "the target flow starts at the state that was left",
        FLOW,
        "(batch.next_observation, next_action, next_noise)",
        "(batch.observation, next_action, next_noise)",
        (f"{ARITHMETIC}[0-mean]",),
    ),
    Fault(
        "all noise samples share one next action",
        FLOW,
        "jax.random.split(key, next_noise.shape[:2]))",
        "jnp.broadcast_to(jax.random.split(key, len(next_noise))[:, None], next_noise.shape[:2]))",
        (f"{TARGETS}::test_each_copy_draws_a_next_action_of_its_own",),
    ),
    Fault(
        "the noise of the regression is reused by the target",
        FLOW,
        "self.prior.sample(fresh_key,",
        "self.prior.sample(jax.random.clone(noise_key),",
        (f"{LOSSES}::test_shared_noise_is_the_regressions_own_and_independent_noise_is_not",),
    ),
    Fault(
        "a random key is used twice",
        FLOW,
        "self.times.sample_times(time_key,",
        "self.times.sample_times(noise_key,",
        (f"{LOSSES}::test_keys_decide_the_loss",),
    ),
    Fault(
        "the target is not stopped",
        FLOW,
        "return jax.lax.stop_gradient(td_target), flow_q",
        "return td_target, flow_q",
        (f"{GRADIENTS}::test_no_loss_reaches_the_target_or_the_policy[target-flow]",),
    ),
    Fault(
        "a monolithic target is not stopped",
        MONOLITHIC,
        "jax.lax.stop_gradient(self.targets_of(batch, agent, key))",
        "self.targets_of(batch, agent, key)",
        (f"{GRADIENTS}::test_no_loss_reaches_the_target_or_the_policy[target-monolithic]",),
    ),
    Fault(
        "the online critic is its own target",
        FLOW,
        "target = agent.target.critic",
        "target = agent.critic",
        (f"{LOSSES}::test_the_flow_loss_of_a_constant_offset_is_its_square_for_each_copy",),
    ),
    Fault(
        "online and target outputs are exchanged where they are integrated together",
        FLOW,
        "return outputs[:size], outputs[size:]",
        "return outputs[size:], outputs[:size]",
        (f"{LOSSES}::test_target_and_online_outputs_are_those_of_each_alone[gpu-None]",),
    ),
    Fault(
        "the flow loss is a mean over noise samples",
        FLOW,
        "return jnp.sum(losses)",
        "return jnp.mean(losses)",
        (f"{LOSSES}::test_the_flow_loss_of_a_constant_offset_is_its_square_for_each_copy",),
    ),
    Fault(
        "the distillation trains the flow through its integration",
        FLOW,
        "next_starts, agent.critic, starts)",
        "next_starts, self, starts)",
        (f"{GRADIENTS}::test_the_distillation_reaches_the_readout_alone_and_nothing_passes_through_the_integration",),
    ),
    Fault(
        "the distilled critic is trained on the last noise samples and not on the first",
        FLOW,
        "noise[:, : self.num_distillation_samples]",
        "noise[:, -(self.num_distillation_samples or 0) :]",
        ("tests/critics/test_flow_critic.py::test_the_readout_is_learnt_from_the_first_of_the_noises[1--1.25]",),
    ),
    Fault(
        "the target flow is distilled",
        FLOW,
        "next_starts, agent.critic, starts)",
        "next_starts, target, starts)",
        (
            "tests/recipes/test_traps.py::test_trap_4_the_readout_is_distilled_from_the_online_flow_and_not_from_the_target",
        ),
    ),
    Fault(
        "V regresses to the mean over members",
        IQL,
        "gap = jnp.min(target_q, axis=0) - v",
        "gap = jnp.mean(target_q, axis=0) - v",
        (f"{BASELINES}::test_v_regresses_to_the_minimum_of_the_target_and_the_loss_of_q_is_a_sum_over_members",),
    ),
    Fault(
        "the expectile is that of the other side",
        IQL,
        "jnp.where(gap < 0, 1 - self.expectile.value, self.expectile.value)",
        "jnp.where(gap > 0, 1 - self.expectile.value, self.expectile.value)",
        (f"{BASELINES}::test_v_regresses_to_the_minimum_of_the_target_and_the_loss_of_q_is_a_sum_over_members",),
    ),
    Fault(
        "the penalty of ReBRAC is not discounted",
        REBRAC,
        "batch.discount * (next_q - penalty))",
        "batch.discount * next_q - penalty)",
        (f"{BASELINES}::test_the_penalty_of_rebrac_is_discounted_with_the_value_that_it_is_taken_from",),
    ),
    Fault(
        "the target of SAC has an entropy bonus that nobody asked for",
        SAC,
        "if self.entropy_backup:",
        "if True:",
        (f"{SAC_TESTS}::test_the_target_has_the_entropy_bonus_only_where_it_is_asked_for[False]",),
    ),
    Fault(
        "the entropy bonus of SAC stays where the episode ended",
        SAC,
        "self.discount.value * batch.discount * next_value",
        "self.discount.value * next_value",
        (f"{SAC_TESTS}::test_the_target_has_the_entropy_bonus_only_where_it_is_asked_for[True]",),
    ),
    Fault(
        "the critic of SAC bootstraps from itself",
        SAC,
        "networks = agent.target.critic.networks",
        "networks = agent.critic.networks",
        (f"{SAC_TESTS}::test_three_updates_are_those_of_the_equations[fql]",),
    ),
    Fault(
        "smoothing noise has no limit",
        REBRAC,
        "jnp.clip(noise, -self.limit.value, self.limit.value)",
        "noise",
        (f"{BASELINES}::test_rebrac_explores_with_clipped_noise_within_the_box",),
    ),
    Fault(
        "the next action takes the steps of evaluation",
        STEPPED,
        "policy.act_in_steps(observation[:-1], self.critic, key, self.steps)",
        "policy.act(observation[:-1], self.critic, key)",
        (SHARED_STEPS,),
    ),
    Fault(
        "the next state is valued at the steps of evaluation",
        STEPPED,
        "lambda observation: with_steps(observation, steps))",
        "lambda observation: with_steps("
        "observation, StepCount.known(self.num_steps) if observation is batch.next_observation else steps))",
        (SHARED_STEPS,),
    ),
    Fault(
        "DCFM imitates the next state after the end of an episode",
        RETURN,
        "jnp.where(target.discount.value * batch.discount > 0, dcfm, 0.0)",
        "dcfm",
        (f"{VALUE_FLOWS}::test_nothing_is_bootstrapped_where_the_episode_ended",),
    ),
    Fault(
        "the label of DCFM is discounted",
        RETURN,
        "reward + continuation * stopped, velocities",
        "reward + continuation * stopped, continuation * velocities",
        (f"{STILL}[mean]",),
    ),
    Fault(
        "targets are aggregated as scores are",
        RETURN,
        "states = self.return_aggregation.aggregate(",
        "states = self.aggregation.aggregate(",
        (f"{STILL}[min]",),
    ),
    Fault(
        "the return of BCFM is stopped at the time of its transition",
        RETURN,
        "continuation * states[:, 0]",
        "continuation * states[:, 1]",
        (f"{STILL}[mean]",),
    ),
    Fault(
        "the flow of DCFM is not stopped",
        RETURN,
        "stopped = states[:, 1]",
        "stopped = states[:, 0]",
        (f"{VALUE_FLOWS}::test_three_updates_are_those_of_the_equations[best-of-n-0]",),
    ),
    Fault(
        "Q is the output of the flow",
        RETURN,
        "solver.step(lambda t, x: field.velocity(t, x, code), zero, one, z)",
        "self.solver.solve(lambda t, x: field.velocity(t, x, code), z, zero, one)",
        (f"{RETURNS}::test_q_is_one_euler_step_from_the_noise_and_not_the_output_of_the_flow",),
    ),
    Fault(
        "the confidence is that of the online flows",
        RETURN,
        "stds = target.return_stds(",
        "stds = self.return_stds(",
        (f"{RETURNS}::test_the_confidence_weight_grows_from_a_half_to_one_with_the_std",),
    ),
    Fault(
        "the spread of a return has no factor of the step",
        RETURN,
        "1 + jnp.diff(trajectory.t) * slopes",
        "1 + slopes",
        (f"{RETURNS}::test_the_std_of_a_linear_return_is_its_factor_whatever_the_clip[mean]",),
    ),
    Fault(
        "a clipped solver clips the last step alone",
        "floqzoo/flow/clipped_euler.py",
        "jnp.clip(x + dt * velocity(t, x), self.low.value, self.high.value)",
        "jnp.where(t + dt >= 1, jnp.clip(x + dt * velocity(t, x), self.low.value, self.high.value), x + dt * velocity(t, x))",
        ("tests/flow/test_fixed_step_solvers.py::test_each_step_of_a_clipped_solver_ends_in_the_range",),
    ),
    Fault(
        "the target critic selects the next action",
        "floqzoo/policies/best_of_n_next_action.py",
        "FrozenAgent(agent.critic, policy",
        "FrozenAgent(agent.target.critic, policy",
        (f"{VALUE_FLOWS}::test_the_online_critic_selects_the_next_action_whichever_policy_acts",),
    ),
    Fault(
        "the policy acts where the behaviour should",
        "floqzoo/policies/best_of_n_next_action.py",
        'getattr(agent.policy, "behaviour", agent.policy)',
        "agent.policy",
        (f"{RETURNS}::test_the_best_of_the_behaviour_is_not_the_action_of_the_policy",),
    ),
    Fault(
        "the regularised optimum is a sum and no mean",
        "floqzoo/critics/evor_critic.py",
        "jnp.log(jnp.mean(",
        "jnp.log(jnp.sum(",
        ("tests/critics/test_evor_critic.py::test_it_grows_from_the_mean_to_the_maximum_as_the_temperature_falls",),
    ),
    Fault(
        "the regularised optimum is that of one step",
        "floqzoo/critics/evor_critic.py",
        "self.returns(observation, action, noise)",
        "self._one_step(observation, action, noise[None])",
        ("tests/critics/test_evor_critic.py::test_it_is_of_the_flows_outputs_and_not_of_one_step",),
    ),
)
