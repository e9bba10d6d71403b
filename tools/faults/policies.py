"""Faults of policies."""

from .fault import Fault


DISTILLED = "floqzoo/policies/distilled_flow_policy.py"
TESTS = "tests/policies/test_distilled_flow_policy.py"
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
        "the policy loss trains the critic",
        DISTILLED,
        "frozen(critic).score",
        "critic.score",
        (f"{TESTS}::test_no_term_reaches_the_critic",),
    ),
    Fault(
        "the distillation trains the behaviour flow",
        DISTILLED,
        "frozen(self.behaviour).act_from",
        "self.behaviour.act_from",
        (f"{TESTS}::test_the_behaviour_learns_from_the_data_alone_and_the_one_step_network_from_the_rest",),
    ),
    Fault(
        "the scale of the score is differentiated",
        DISTILLED,
        "jax.lax.stop_gradient(1 / jnp.mean(jnp.abs(q)))",
        "1 / jnp.mean(jnp.abs(q))",
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
)
