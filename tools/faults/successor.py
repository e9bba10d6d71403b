"""Faults of successor measures, their targets and their values."""

from .fault import Fault, law


MEASURE = "floqzoo/successor/flow_successor.py"
RULES = "floqzoo/successor/targets.py"
TERMS = "tests/successor/test_targets.py::test_the_loss_is_the_weighted_sum_of_its_terms"
INFOM = "tests/recipes/test_transcription_of_infom.py"
TABLE = "tests/successor/test_targets.py::test_a_target_is_its_line_of_the_table"

SUCCESSOR = (
    Fault(
        "the weights of the two terms change places",
        MEASURE,
        "(1 - self.discount.value) * one_step + self.discount.value * bootstrap",
        "self.discount.value * one_step + (1 - self.discount.value) * bootstrap",
        (f"{TERMS}[td2-cfm]",),
    ),
    Fault(
        "futures are those of the state that was left",
        MEASURE,
        "target.flow.encode(step.next_observation, next_action, *fixed)",
        "target.flow.encode(step.observation, next_action, *fixed)",
        (f"{TERMS}[td2-cfm]",),
    ),
    Fault(
        "the online flow is its own target",
        MEASURE,
        "self.target_rule.regression(target.flow, next_code",
        "self.target_rule.regression(self.flow, next_code",
        (f"{TERMS}[td2-cfm]",),
    ),
    Fault(
        "the density forgets the units of the observation",
        MEASURE,
        "return log_density - self.normaliser.log_volume(self.flow.dim)",
        "return log_density",
        ("tests/successor/test_measure_laws.py::test_the_density_of_futures_integrates_to_one",),
    ),
    Fault(
        "TD rejoins its future with the noise that it came from",
        RULES,
        "flow.path.at(t, noise_of(flow, fresh_key), future)",
        "flow.path.at(t, noise_of(flow, jax.random.clone(noise_key)), future)",
        (f"{TABLE}[TDTarget-straight]",),
    ),
    Fault(
        "TD² goes to the end and not to its time",
        RULES,
        "flow.push_forward(noise_of(flow, key), code, 0.0, t)",
        "flow.push_forward(noise_of(flow, key), code)",
        (law("each_key_draws_a_different_point", "TD2Target-3"),),
    ),
    Fault(
        "Monte Carlo takes the next state for the future",
        RULES,
        'noise_of(flow, key), step.require("future", "MonteCarloTarget"))',
        "noise_of(flow, key), step.next_observation)",
        (law("targets_point_to_a_certain_future", "MonteCarloTarget-0"),),
    ),
    Fault(
        "a target's noise is always the same",
        RULES,
        "return flow.prior.sample(key, (flow.dim,))",
        "return flow.prior.sample(jax.random.key(0), (flow.dim,))",
        (law("each_key_draws_a_different_point", "CoupledTDTarget-2"),),
    ),
    Fault(
        "errors of noise are not weighed",
        "floqzoo/successor/velocity_error.py",
        "return path.noise_error_weight(t) * jnp.mean(",
        "return jnp.mean(",
        (f"{TERMS}[td2-dd]",),
    ),
    Fault(
        "coordinates are restored to the other side of the mean",
        "floqzoo/networks/normaliser.py",
        "return z * self.scale.value + self.mean.value",
        "return z * self.scale.value - self.mean.value",
        ("tests/successor/test_flow_successor.py::test_samples_and_densities_are_in_the_units_of_the_observation",),
    ),
    Fault(
        "a value is the mean reward and not the return",
        "floqzoo/successor/successor_critic.py",
        "(futures) / (1 - self.measure.discount.value)",
        "(futures)",
        ("tests/successor/test_measure_laws.py::test_a_constant_reward_is_worth_itself_over_one_minus_the_discount",),
    ),
    Fault(
        "the standard error is that of one sample over their number",
        "floqzoo/successor/successor_critic.py",
        "/ self.num_samples**0.5",
        "/ self.num_samples",
        ("tests/successor/test_successor_critic.py::test_the_standard_error_is_that_of_the_mean",),
    ),
    Fault(
        "the encoder learns from the bootstrap",
        MEASURE,
        "fixed = jax.lax.stop_gradient(conditions)",
        "fixed = conditions",
        (f"{INFOM}::test_the_encoder_learns_from_the_one_step_term_and_the_divergence_alone",),
    ),
    Fault(
        "the measure of intentions starts at the next state",
        MEASURE,
        "first = step.observation if self.from_current else step.next_observation",
        "first = step.next_observation",
        (f"{INFOM}::test_updates_of_both_phases_are_those_of_the_equations[as published-0]",),
    ),
    Fault(
        "the expectile over intentions is a lower one",
        "floqzoo/successor/intention_critic.py",
        "losses(target[None] - q, ",
        "losses(q - target[None], ",
        (f"{INFOM}::test_updates_of_both_phases_are_those_of_the_equations[as published-0]",),
    ),
    Fault(
        "values of intentions are of the target flow",
        "floqzoo/successor/intention_critic.py",
        "target = agent.critic.values_of(batch, target_key)",
        "target = agent.target.critic.values_of(batch, target_key)",
        (f"{INFOM}::test_updates_of_both_phases_are_those_of_the_equations[as published-0]",),
    ),
    Fault(
        "pre-training reads rewards",
        "floqzoo/successor/intention_critic.py",
        "return loss, PretrainingMetrics(loss, metrics)",
        "return loss + self.reward.reward_loss(batch), PretrainingMetrics(loss, metrics)",
        (f"{INFOM}::test_pre_training_reads_no_reward_and_trains_flow_encoder_and_policy_alone",),
    ),
    Fault(
        "the divergence of intentions is a sum",
        "floqzoo/successor/intentions.py",
        "0.5 * jnp.mean(self.mean**2",
        "0.5 * jnp.sum(self.mean**2",
        (f"{INFOM}::test_intentions_that_are_the_prior_have_no_divergence",),
    ),
    Fault(
        "each future has a separate intention",
        "floqzoo/successor/intentions.py",
        "return self.measure.sample_futures(observation, action, count, futures_key, self.encoder.prior(latent_key))",
        """keys = jax.random.split(latent_key, count)
        draw = lambda key: self.measure.sample_futures(observation, action, 1, key, self.encoder.prior(key))[0]
        return jax.vmap(draw)(keys)""",
        (f"{INFOM}::test_futures_of_a_value_share_one_intention",),
    ),
    Fault(
        "the futures of FB are states of the data, whatever their density",
        "floqzoo/successor/forward_backward.py",
        "p=weights / jnp.where(total > 0, total, 1)",
        "p=None",
        ("tests/studies/test_future_model.py::test_fb_draws_states_of_the_data_by_the_exact_measure[0]",),
    ),
    Fault(
        "states with a negative density count as futures of FB",
        "floqzoo/successor/forward_backward.py",
        "weights = jnp.maximum(self.densities(observation, action, states), 0)",
        "weights = jnp.abs(self.densities(observation, action, states))",
        ("tests/studies/test_future_model.py::test_negative_densities_are_never_drawn",),
    ),
    Fault(
        "futures of a task are predicted for the task of the target network",
        "floqzoo/successor/latents.py",
        'critics = [agent.critic, agent.target.critic] if hasattr(agent, "target") else [agent.critic]',
        "critics = [agent.critic]",
        ("tests/studies/test_future_model.py::test_fb_draws_states_of_the_data_by_the_exact_measure[0]",),
    ),
    Fault(
        "a log-density leaves out the scale of the normaliser",
        "floqzoo/successor/flow_successor.py",
        "return log_density - self.normaliser.log_volume(self.flow.dim)",
        "return log_density",
        ("tests/successor/test_flow_successor.py",),
    ),
    Fault(
        "the density of a measure is that of the opposite action",
        "floqzoo/successor/flow_successor.py",
        "            self.encode(observation, action, *conditions),\n            divergence=divergence",
        "            self.encode(observation, -action, *conditions),\n            divergence=divergence",
        (law("futures_are_likelier_where_they_come_from", "measure-0"),),
    ),
    Fault(
        "all futures of InFOM have one intention",
        "floqzoo/successor/intention_critic.py",
        "jax.random.split(key, count)",
        "jnp.stack([key] * count)",
        ("tests/studies/test_future_model.py::test_each_future_of_an_intention_critic_has_its_own_intention",),
    ),
    Fault(
        "recorded futures start with the next state in any case",
        "floqzoo/studies/rollouts.py",
        "observations[b + skipped : e + 1]",
        "observations[b + 1 : e + 1]",
        ("tests/studies/test_rollouts.py::test_futures_may_start_with_the_current_state",),
    ),
    Fault(
        "both terms never train InFOM's encoder",
        "floqzoo/successor/flow_successor.py",
        "if conditions and not self.bootstrap_trains_conditions:",
        "if conditions:",
        ("tests/recipes/test_transcription_of_infom.py::test_updates_of_both_phases_are_those_of_the_equations",),
    ),
    Fault(
        "FB aggregates its targets in one way, whatever its setting",
        "recipes/fb.py",
        "aggregation(config.target_agg)",
        'aggregation("mean")',
        ("tests/recipes/test_choices.py",),
    ),
)
