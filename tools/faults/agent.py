"""Faults of the agent's update, and of the numbers that are not learnt."""

from .fault import Fault


FILE = "floqzoo/agent.py"
TESTS = "tests/test_agent.py"

AGENT = (
    Fault(
        "the target is an alias of the online critic",
        FILE,
        "jax.tree.map(lambda leaf: jnp.array(leaf) if eqx.is_array(leaf) else leaf, critic)",
        "critic",
        (f"{TESTS}::test_at_first_the_target_is_a_copy_of_the_critic_and_no_alias",),
    ),
    Fault(
        "the target follows the critic from after the step",
        FILE,
        "polyak_step(self.target_critic, self.critic, self.tau)",
        "polyak_step(self.target_critic, critic, self.tau)",
        (f"{TESTS}::test_the_target_follows_the_critic_from_before_each_step[1.0]",),
    ),
    Fault(
        "tau is the share of the old target",
        FILE,
        "old + tau.value.astype(old.dtype) * (new - old)",
        "new + tau.value.astype(old.dtype) * (old - new)",
        (f"{TESTS}::test_the_target_follows_the_critic_from_before_each_step[0.0]",),
    ),
    Fault(
        "the critic's loss trains the policy",
        FILE,
        "self.target_critic, frozen(policy), critic_key)",
        "self.target_critic, policy, critic_key)",
        (f"{TESTS}::test_neither_loss_trains_what_it_is_given",),
    ),
    Fault(
        "the policy's loss trains the critic",
        FILE,
        "policy.policy_loss(batch, frozen(critic), policy_key)",
        "policy.policy_loss(batch, critic, policy_key)",
        (f"{TESTS}::test_neither_loss_trains_what_it_is_given",),
    ),
    Fault(
        "both losses draw from one key",
        FILE,
        "policy.policy_loss(batch, frozen(critic), policy_key)",
        "policy.policy_loss(batch, frozen(critic), critic_key)",
        ("tests/test_agent_of_floq.py::test_training_goes_by_the_key_alone",),
    ),
    Fault(
        "hyperparameters are trained",
        "floqzoo/hyperparameter.py",
        "eqx.is_inexact_array, is_leaf=lambda node: isinstance(node, Hyperparameter))",
        "eqx.is_inexact_array)",
        ("tests/test_hyperparameter.py::test_trainable_are_the_floating_arrays_that_no_hyperparameter_holds",),
    ),
    Fault(
        "what is frozen learns",
        "floqzoo/hyperparameter.py",
        "eqx.combine(jax.lax.stop_gradient(trainable), rest)",
        "eqx.combine(trainable, rest)",
        ("tests/test_hyperparameter.py::test_a_frozen_part_is_the_same_but_for_its_gradient",),
    ),
)
