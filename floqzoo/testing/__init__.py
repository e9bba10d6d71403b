"""Property-based tests for every protocol: one line checks your own part against the laws of its protocols.

    from floqzoo.testing import assert_obeys

    def test_my_path():
        assert_obeys(MyPath())

Requires Hypothesis (`pip install "floqzoo[test]"`).
"""

import importlib.util


if importlib.util.find_spec("hypothesis") is None:
    raise ModuleNotFoundError("floqzoo.testing needs hypothesis, which is not installed: pip install 'floqzoo[test]'.")

from floqzoo.testing.closeness import assert_close as assert_close
from floqzoo.testing.examples import Example as Example, Sizes as Sizes, examples as examples
from floqzoo.testing.families import (
    FAMILIES as FAMILIES,
    every_aggregation as every_aggregation,
    every_alternating_update as every_alternating_update,
    every_backup as every_backup,
    every_batch_source as every_batch_source,
    every_critic as every_critic,
    every_critic_with_advantage as every_critic_with_advantage,
    every_diagnosable as every_diagnosable,
    every_exploring_policy as every_exploring_policy,
    every_field as every_field,
    every_fixed_step_solver as every_fixed_step_solver,
    every_joint_update as every_joint_update,
    every_layer as every_layer,
    every_module as every_module,
    every_network as every_network,
    every_next_action as every_next_action,
    every_noise_coupling as every_noise_coupling,
    every_noisy_critic as every_noisy_critic,
    every_path as every_path,
    every_phased_update as every_phased_update,
    every_point_embedding as every_point_embedding,
    every_policy as every_policy,
    every_policy_from_noise as every_policy_from_noise,
    every_prior as every_prior,
    every_reader as every_reader,
    every_reward_model as every_reward_model,
    every_solver as every_solver,
    every_successor_measure as every_successor_measure,
    every_successor_target as every_successor_target,
    every_target_update as every_target_update,
    every_time_distribution as every_time_distribution,
    every_time_embedding as every_time_embedding,
    every_update_rule as every_update_rule,
)
from floqzoo.testing.laws import LAWS as LAWS
from floqzoo.testing.obey import assert_holds as assert_holds, assert_obeys as assert_obeys, laws_of as laws_of
