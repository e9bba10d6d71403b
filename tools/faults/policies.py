"""Faults of policies."""

from .fault import Fault


DISTILLED = "floqzoo/policies/distilled_flow_policy.py"
TESTS = "tests/policies/test_distilled_flow_policy.py"
BASELINES = "tests/recipes/test_transcription_of_baselines.py"
SAC = "tests/recipes/test_transcription_of_sac.py"
TANH = "floqzoo/policies/tanh_gaussian_policy.py"
TANH_TESTS = "tests/policies/test_tanh_gaussian_policy.py"
SHORTCUT = "floqzoo/policies/shortcut_policy.py"
SHORTCUTS = "tests/policies/test_shortcut_policy.py"
CLONING = "tests/policies/test_behaviour_flow.py"

POLICIES = (
    Fault(
        "actions leave their box",
        "floqzoo/policies/behaviour_flow.py",
        "self.flow.encode(observation)), -1, 1)",
        "self.flow.encode(observation)), -2, 2)",
        (f"{CLONING}::test_an_action_is_where_the_flow_ends_within_the_box",),
    ),
    Fault(
        "the behaviour flow runs from actions to noise",
        "floqzoo/policies/behaviour_flow.py",
        "self.flow.matching_loss(t, noise, action,",
        "self.flow.matching_loss(t, action, noise,",
        (f"{CLONING}::test_a_field_that_heads_for_the_datas_action_has_no_loss",),
    ),
    Fault(
        "the score sees actions outside of the box",
        DISTILLED,
        "(batch.observation, clipped)",
        "(batch.observation, action)",
        (
            f"{TESTS}::test_the_distillation_compares_the_unclipped_step_with_the_clipped_flow_and_the_score_sees"
            "_the_clipped_step",
        ),
    ),
    Fault(
        "the one-step action starts from another noise than the flow's",
        DISTILLED,
        "action = jax.vmap(self.act_from)(batch.observation, noise)",
        "action = jax.vmap(self.act_from)(batch.observation, jnp.flip(noise))",
        ("tests/policies/test_distillation_noise.py",),
    ),
    Fault(
        "alpha weighs the behaviour's loss",
        DISTILLED,
        "bc_flow_loss + self.alpha.value * distill_loss",
        "self.alpha.value * bc_flow_loss + distill_loss",
        (f"{TESTS}::test_the_loss_is_the_sum_of_its_terms_with_alpha_on_the_distillation",),
    ),
    Fault(
        "the distillation trains the behaviour flow",
        DISTILLED,
        "with_cast_weights(frozen(self.behaviour)).act_from",
        "self.behaviour.act_from",
        (f"{TESTS}::test_the_behaviour_learns_from_the_data_alone_and_the_one_step_network_from_the_rest",),
    ),
    Fault(
        "the scale of the score is differentiated",
        "floqzoo/policies/normalised_q.py",
        "jax.lax.stop_gradient(1 / jnp.maximum(jnp.mean(jnp.abs(q)), LEAST_SIZE))",
        "1 / jnp.maximum(jnp.mean(jnp.abs(q)), LEAST_SIZE)",
        (f"{TESTS}::test_the_scale_of_the_normalised_score_is_a_constant",),
    ),
    Fault(
        "the policy seeks the lowest score",
        DISTILLED,
        "q_loss = -scale * jnp.mean(q)",
        "q_loss = scale * jnp.mean(q)",
        (f"{TESTS}::test_the_normalised_score_has_no_unit",),
    ),
    Fault(
        "generalised improvement picks the worst policy",
        "floqzoo/policies/gpi_policy.py",
        "jnp.argmax(",
        "jnp.argmin(",
        ("tests/successor/test_successor_critic.py::test_the_best_policy_is_chosen_at_every_state",),
    ),
    Fault(
        "best-of-N takes the worst candidate",
        "floqzoo/policies/best_of_n_policy.py",
        "jnp.argmax(",
        "jnp.argmin(",
        (f"{BASELINES}::test_ifql_takes_the_candidate_of_which_the_online_minimum_is_highest",),
    ),
    Fault(
        "all candidates of best-of-N share one key",
        "floqzoo/policies/best_of_n_policy.py",
        "keys = jax.random.split(key, self._num_draws)",
        "keys = jnp.repeat(key[None], self._num_draws)",
        (f"{BASELINES}::test_each_candidate_of_ifql_has_a_key_of_its_own",),
    ),
    Fault(
        "the weights of AWR have no limit",
        "floqzoo/policies/awr_policy.py",
        "jnp.exp(jnp.minimum(self.alpha.value * advantage, jnp.log(self.max_weight.value)))",
        "jnp.exp(self.alpha.value * advantage)",
        (f"{BASELINES}::test_the_weight_of_an_advantage_is_at_most_100_and_of_the_online_minimum",),
    ),
    Fault(
        "a policy acts with samples and not with its mode",
        "floqzoo/policies/policy_with_mode.py",
        "        del critic, key\n        return self.mode(observation)",
        "        return self.explore(observation, critic, key)",
        (f"{BASELINES}::test_iql_explores_by_samples_and_is_evaluated_by_the_mean",),
    ),
    Fault(
        "a deterministic policy explores without noise",
        "floqzoo/policies/deterministic_policy.py",
        "return self.noise.add(self.mode(observation), key)",
        "return self.mode(observation)",
        (f"{BASELINES}::test_rebrac_explores_with_clipped_noise_within_the_box",),
    ),
    Fault(
        "a shortcut is consistent with the online policy",
        SHORTCUT,
        "target = agent.target.policy",
        "target = agent.policy",
        (f"{SHORTCUTS}::test_a_policy_around_it_changes_nothing_in_its_loss",),
    ),
    Fault(
        "what is left of a batch has half steps in self-consistency",
        SHORTCUT,
        "np.ones(size - share * len(counts))",
        "np.full(size - share * len(counts), 2)",
        (f"{SHORTCUTS}::test_the_shares_of_step_lengths_are_those_of_the_authors_code",),
    ),
    Fault(
        "the target of self-consistency is clipped",
        SHORTCUT,
        "x + half * first, code)",
        "jnp.clip(x + half * first, -1, 1), code)",
        (f"{SHORTCUTS}::test_the_target_of_self_consistency_is_not_clipped",),
    ),
    Fault(
        "the policy of the Q loss takes the steps of evaluation",
        SHORTCUT,
        "action = self.act_from(observation, x0, steps)",
        "action = self.act_from(observation, x0, StepCount.known(self.num_steps))",
        (f"{SHORTCUTS}::test_the_q_loss_is_normalised_and_differentiated_through_all_steps",),
    ),
    Fault(
        "the noise of the first candidate makes the choice",
        "floqzoo/policies/soft_best_of_n_policy.py",
        "cdf(noise[-1]",
        "cdf(noise[0]",
        ("tests/policies/test_soft_best_of_n_policy.py::test_the_choice_is_independent_of_the_candidates",),
    ),
    Fault(
        "the temperature multiplies",
        "floqzoo/policies/soft_best_of_n_policy.py",
        "/ self.temperature.value",
        "* self.temperature.value",
        ("tests/policies/test_soft_best_of_n_policy.py::test_candidates_are_chosen_as_often_as_the_softmax_says",),
    ),
    Fault(
        "the temperature's loss trains the policy",
        TANH,
        "entropy = -jnp.mean(jax.lax.stop_gradient(draws.log_prob))",
        "entropy = -jnp.mean(draws.log_prob)",
        (f"{SAC}::test_a_loss_trains_its_own_parameters_alone[temperature_loss-trained3]",),
    ),
    Fault(
        "the policy's loss trains the temperature",
        TANH,
        "jax.lax.stop_gradient(self.entropy_temperature) * draws.log_prob",
        "self.entropy_temperature * draws.log_prob",
        (f"{SAC}::test_a_loss_trains_its_own_parameters_alone[sac_loss-trained1]",),
    ),
    Fault(
        "the temperature rises while the entropy is above its target",
        TANH,
        "self.entropy_temperature * (entropy - target_entropy)",
        "self.entropy_temperature * (target_entropy - entropy)",
        (f"{TANH_TESTS}::test_the_temperature_falls_while_the_entropy_is_above_its_target_and_else_rises",),
    ),
    Fault(
        "the target entropy is that of one coordinate",
        TANH,
        "self.entropy_multiplier.value * batch.action.shape[1]",
        "self.entropy_multiplier.value",
        (f"{TANH_TESTS}::test_the_temperature_falls_while_the_entropy_is_above_its_target_and_else_rises",),
    ),
    Fault(
        "the logarithm of the slope of tanh is taken of the slope",
        TANH,
        "return 2 * (math.log(2) - size - jnp.log1p(jnp.exp(-2 * size)))",
        "return jnp.log(1 - jnp.tanh(u) ** 2) + 0 * size * math.log(2)",
        (f"{TANH_TESTS}::test_a_sample_has_a_finite_log_density_with_a_finite_gradient_however_far_its_mean_is",),
    ),
)
