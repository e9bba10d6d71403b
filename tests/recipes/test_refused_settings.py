"""Settings that a method cannot have are refused before any data are looked for."""

import pytest

from floqzoo.training.command_line import parse_arguments
from recipes import bc, c51, codac, evor, floq, fql, ifql, iql, iqn, qc, rebrac, sorl, td2_cfm, value_flows


@pytest.mark.parametrize(
    ("recipe", "words", "says"),
    [
        (floq, ["--agent.tau=5"], r"`tau` must be in \[0, 1\]; got 5"),
        (floq, ["--agent.discount=1"], r"`discount` must lie in \[0, 1\); got 1"),
        (floq, ["--agent.distillation_samples=9"], r"must be in \[1, 8\], .*; got 9"),
        (iql, ["--agent.expectile=1"], r"`expectile` must be in \(0, 1\); got 1"),
        (ifql, ["--agent.num_samples=0"], "`num_samples` must be at least 1; got 0"),
        (rebrac, ["--agent.alpha_actor=-1"], "`alpha` must be at least 0 and finite; got -1"),
        (rebrac, ["--agent.actor_freq=0"], "`policy_every` must be at least 1; got 0"),
        (sorl, ["--agent.inference_steps=3"], "`num_steps` must be a power of two, at least 1; got 3"),
        (sorl, ["--agent.max_k_backprop=16"], "`max_value_steps` must be at most `max_steps`, 8; got 16"),
        (sorl, ["--agent.num_samples=0"], "`num_samples` must be at least 1; got 0"),
        (iqn, ["--agent.kappa=0"], "`kappa` must be above 0 and finite; got 0"),
        (iqn, ["--agent.num_levels=0"], "`num_levels` must be at least 1; got 0"),
        (c51, ["--agent.num_atoms=1"], "`num_atoms` must be at least 2; got 1"),
        (codac, ["--agent.conservative_actions=0"], "`num_actions` must be at least 1; got 0"),
        (value_flows, ["--agent.num_samples=0"], "`num_samples` must be at least 1; got 0"),
        (value_flows, ["--agent.confidence_weight_temp=0"], "`temperature` must be above 0 and finite; got 0"),
        (value_flows, ["--agent.bcfm_lambda=-1"], "`bcfm_weight` must be at least 0 and finite; got -1"),
        (value_flows, ["--agent.num_score_samples=0"], "`num_score_samples` must be at least 1; got 0"),
        (evor, ["--agent.return_temperature=0"], "`return_temperature` must be above 0 and finite; got 0"),
        (evor, ["--agent.selection_temperature=-1"], "`temperature` must be above 0 and finite; got -1"),
        (evor, ["--agent.num_score_samples=0"], "`num_score_samples` must be at least 1; got 0"),
        (evor, ["--agent.num_samples=0"], "`num_samples` must be at least 1; got 0"),
        (floq, ["--agent.critic_flow_steps=0"], "`num_steps` must be at least 1; got 0"),
        (fql, ["--agent.alpha=-1"], "`alpha` must be at least 0 and finite; got -1"),
        (qc, ["--agent.num_samples=0"], "`num_samples` must be at least 1; got 0"),
        (bc, ["--agent.flow_steps=0"], "`num_steps` must be at least 1; got 0"),
        (td2_cfm, ["--agent.flow_steps=0"], "`num_steps` must be at least 1; got 0"),
        (td2_cfm, ["--agent.measure_of=trained", "--agent.policy_run=x", "--agent.tau=5"], "`tau` must be in"),
        (td2_cfm, ["--agent.method=mc-cfm", "--agent.measure_of=clone"], "mc-cfm needs `agent.measure_of` behaviour"),
    ],
)
def test_settings_that_no_agent_has(recipe, words, says):
    with pytest.raises(ValueError, match=says):
        parse_arguments(recipe.RECIPE, words)


@pytest.mark.parametrize(
    "words",
    [["--seeds=2"], ["--online_steps=5"], ["--start_from=exp"], ["--precision=bfloat16"], ["--tensorboard=True"]],
)
def test_what_a_comparison_on_an_analytic_task_does_not_have(words):
    name = words[0].removeprefix("--").split("=")[0]
    assert parse_arguments(td2_cfm.RECIPE, ["--env_name=linear-gaussian"]).env_name == "linear-gaussian"
    with pytest.raises(ValueError, match=rf"`{name}` must be .* on the analytic task linear-gaussian; got"):
        parse_arguments(td2_cfm.RECIPE, ["--env_name=linear-gaussian", *words])
