"""Settings that a method cannot have are refused before any data are looked for, under the name that the user typed."""

import contextlib
import dataclasses
import importlib
import io
import math
import re
import typing
from dataclasses import replace

import pytest

import recipes
from floqzoo.training.command_line import parse_arguments
from recipes import floq, iql, rebrac, sac, sorl, td2_cfm


# Settings under which others count that a method does not use by default.
USED_WITH = {
    "block_width": {"use_resnets": True},
    "block_depth": {"use_resnets": True},
    "num_transformations": {"use_resnets": True},
    "diffusion_steps": {"method": "td2-dd"},
    ("value_flows", "alpha"): {"acting": "one-step"},
}
ZERO = {"pretraining_steps", "features_frozen_after"}  # may be 0
OF_ANY_SIGN = {"target_entropy_multiplier", "reward_shift"}


def numeric_fields(settings):
    """The numeric fields of a dataclass, each with values that are not in its range."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
        if {int, float} & set(kinds):
            values = (-1.0, math.nan, math.inf) if float in kinds else (-1,) if field.name in ZERO else (-1, 0)
            yield field.name, [(value,) if typing.get_origin(hints[field.name]) is tuple else value for value in values]


RECIPES = [importlib.import_module(f"recipes.{name}").RECIPE for name in recipes.NAMES]
SETTINGS_OF_METHODS = [
    pytest.param(recipe, name, values, id=f"{recipe.name}-{name}")
    for recipe in RECIPES
    for name, values in numeric_fields(recipe.presets["default"](None).agent)
]
SETTINGS_OF_RUNS = [
    pytest.param(name, values, id=name) for name, values in numeric_fields(iql.RECIPE.presets["default"](None))
]


def refusal(recipe, changes):
    """What a recipe says against other settings; None if it takes them."""
    config = recipe.presets["default"](None)
    try:
        recipe.check(replace(config, agent=replace(config.agent, **changes)))
    except ValueError as error:
        return str(error)


def names_of(recipe, message):
    """The names that a message has in backticks, and which of them are no settings."""
    config = recipe.presets["default"](None)
    flags = {field.name for part in (config, config.agent) for field in dataclasses.fields(part)}
    names = [name.removeprefix("agent.") for name in re.findall(r"`([a-z_.]+)`", message)]
    return names, [name for name in names if name not in flags]


WHOLE = [case for case in SETTINGS_OF_METHODS if type(case.values[2][0]) is int]


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "name", "values"), WHOLE)
def test_an_answer_to_a_whole_number_names_settings_alone(recipe, name, values):
    """Where the setting could have the number, and other settings forbid it."""
    for value in (1, 3, 99):
        message = refusal(recipe, {name: value})
        if message is not None:
            # An argument of a part may follow a setting with its value, from which it was computed.
            named, others = names_of(recipe, message)
            assert name in named and (not others or f"`agent.{name}` ({value}): " in message), message


MAY_BE_ZERO = (
    *("seed", "online_steps", "online_start", "eval_interval", "save_interval"),
    *("eval_episodes", "eval_workers", "collect_episodes"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "name", "values"), SETTINGS_OF_METHODS)
def test_a_setting_of_a_method_out_of_range_is_refused_by_its_name(recipe, name, values):
    config = recipe.presets["default"](None)
    context = USED_WITH.get((recipe.name, name), USED_WITH.get(name, {}))
    for value in values[name in OF_ANY_SIGN :]:
        with pytest.raises(ValueError, match=rf"^`(agent\.)?{name}`"):
            recipe.check(replace(config, agent=replace(config.agent, **context, **{name: value})))


@pytest.mark.parametrize(("name", "values"), SETTINGS_OF_RUNS)
def test_a_setting_of_a_run_out_of_range_is_refused_by_its_name(name, values):
    config = iql.RECIPE.presets["default"](None)
    for value in values:
        if value < 0 or name not in MAY_BE_ZERO:
            with pytest.raises(ValueError, match=f"`{name}`"):
                replace(config, **{name: value})


def answer(recipe, words):
    """What a user reads of words that are refused."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), pytest.raises((ValueError, SystemExit)) as refused:
        parse_arguments(recipe, words)
    return re.sub(r"[\s│]+", " ", printed.getvalue()) + str(refused.value)


@pytest.mark.parametrize(
    ("recipe", "words", "says"),
    [
        (floq, ["--agent.num_bins=1"], "`agent.num_bins` must be at least 2; got 1."),
        (floq, ["--agent.critic_flow_steps=0"], "`agent.critic_flow_steps` must be at least 1; got 0."),
        (floq, ["--agent.tau=-0.1"], "`agent.tau` must be in [0, 1]; got -0.1."),
        (floq, ["--agent.discount=1"], "`agent.discount` must lie in [0, 1); got 1.0."),
        (rebrac, ["--agent.actor_freq=0"], "`agent.actor_freq` must be at least 1; got 0."),
        (sorl, ["--agent.inference_steps=3"], "`agent.inference_steps` must be a power of two, at least 1; got 3."),
        (sorl, ["--agent.denoise_steps=12"], "`agent.denoise_steps` must be a power of two, at least 2; got 12."),
        (
            sorl,
            ["--agent.max_k_backprop=16"],
            "`denoise_steps` must be at least `inference_steps`, 8, and `max_k_backprop`, 16; got 8.",
        ),
        (sac, ["--agent.num_qs=0"], "`agent.num_qs` of an ensemble must be at least 1; got 0."),
        (floq, ["--agent.n_step=0"], "Error parsing agent: `n_step` must be at least 1; got 0."),
        # The argument has another value than the flag, or two flags disagree.
        (floq, ["--agent.reward_offset=inf"], "`agent.reward_offset` (inf): `low` must be finite"),
        (
            floq,
            ["--agent.noise_samples=4", "--agent.distillation_samples=9"],
            "`agent.distillation_samples` must be in [1, 4], or None for all; got 9.",
        ),
        (td2_cfm, ["--agent.measure_of=trained", "--agent.policy_run=x", "--agent.tau=5"], "`agent.tau` must be in"),
        (
            td2_cfm,
            ["--agent.method=mc-cfm", "--agent.measure_of=clone"],
            "`agent.measure_of` must be 'behaviour' if `agent.method` is 'mc-cfm'",
        ),
        # A setting of the method is named in full.
        (floq, ["--alpha=3"], "there is no flag --alpha; did you mean --agent.alpha?"),
        (floq, ["--noise-samples", "3"], "there is no flag --noise_samples; did you mean --agent.noise_samples?"),
        (floq, ["--agent.seed=3"], "there is no flag --agent.seed; did you mean --seed?"),
    ],
)
def test_the_answer(recipe, words, says):
    assert says in answer(recipe.RECIPE, words)


@pytest.mark.parametrize(
    "words",
    [["--seeds=2"], ["--online_steps=5"], ["--start_from=exp"], ["--precision=bfloat16"], ["--tensorboard=True"]],
)
def test_what_a_comparison_on_an_analytic_task_does_not_have(words):
    name = words[0].removeprefix("--").split("=")[0]
    assert parse_arguments(td2_cfm.RECIPE, ["--env_name=linear-gaussian"]).env_name == "linear-gaussian"
    with pytest.raises(ValueError, match=rf"`{name}` must be .* on the analytic task linear-gaussian; got"):
        parse_arguments(td2_cfm.RECIPE, ["--env_name=linear-gaussian", *words])
