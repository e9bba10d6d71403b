import dataclasses
import math
import re

import pytest
from toy_run import ToyConfig, toy_config

from floqzoo.runs import RunConfig
from floqzoo.sweeps.sweep import Resources
from recipes.floq import FloqConfig


# The least size of a replay buffer depends on the batch size, and offline runs have no buffer.
RUN = [
    field.name
    for field in dataclasses.fields(RunConfig)
    if field.name != "buffer_size"
    and (type(getattr(toy_config(), field.name)) in (int, float) or field.name == "dataset_replace_interval")
]
RESOURCES = [field.name for field in dataclasses.fields(Resources)]


def batches_of(batch_size):
    return toy_config(agent=ToyConfig(batch_size=batch_size))


def refusal(build, name, value):
    """What is said of a value of a setting; None if it is accepted, or contradicts only another setting."""
    try:
        build(**{name: value})
    except ValueError as error:
        return (
            str(error)
            if re.match(rf"`((resources|agent)\.)?{name}` must be (at least|at most|above|in \[|0,)", str(error))
            else None
        )
    return None


@pytest.mark.parametrize(
    ("build", "name"),
    [(toy_config, name) for name in RUN] + [(Resources, name) for name in RESOURCES] + [(batches_of, "batch_size")],
    ids=[*RUN, *RESOURCES, "batch_size"],
)
def test_a_setting_has_the_range_that_its_error_states(build, name):
    wrong = -1024.0 if name in ("p_aug", "gpu", "memory_gb") else -1024
    message = refusal(build, name, wrong)
    assert message is not None and "got -1024" in message
    number = r"(\d+(?:\.\d+)?)"
    if found := re.search(rf"at least {number}", message):
        accepted, refused = [int(found[1])], [int(found[1]) - 1]
    elif found := re.search(rf"in \[{number}, {number}\]", message):
        low, high = map(float, found.groups())
        accepted, refused = [low, high], [low - 1e-6, high + 1e-6]
    elif found := re.search(rf"above {number}", message):
        accepted, refused = [float(found[1]) + 1e-6], [float(found[1])]
    else:
        assert "must be 0, a fraction of one, or a whole number" in message
        accepted, refused = [0.0, 1e-6, 0.999, 1.0, 2.0], [-1e-6, 1.001, 1.5]
    assert [value for value in accepted if refusal(build, name, value) is not None] == []
    assert [value for value in refused if refusal(build, name, value) is None] == []


def test_one_update_more_than_the_most_is_refused():
    most = 2**30 - 1
    assert toy_config(offline_steps=most).total_steps == most
    with pytest.raises(ValueError, match=r"must be less than 2\^30; got 1073741824"):
        toy_config(offline_steps=most + 1)


@pytest.mark.parametrize("lr", [-1e-3, 0.0, math.inf, math.nan])
def test_a_learning_rate_that_is_none_is_refused(lr):
    with pytest.raises(ValueError, match=rf"`agent.lr` must be above 0 and finite; got {lr}"):
        toy_config(agent=FloqConfig(lr=lr))


def test_a_run_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="`offline_steps` and `online_steps` must not both be 0"):
        toy_config(offline_steps=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"online_steps": 9, "online_environments": 2}, r"`online_steps` must be a multiple of .* \(2\), .* got 9"),
        ({"log_interval": 5, "online_environments": 2}, "`log_interval` must be a multiple .* got 5"),
        ({"offline_steps": 5, "online_environments": 2}, "`offline_steps` must be a multiple .* got 5"),
        ({"buffer_size": 7}, r"`buffer_size` must be at least `agent.batch_size` \(8\).* got 7"),
        ({"buffer_size": 8, "online_environments": 10}, r"`buffer_size` .* `online_environments` \(10\); got 8"),
        ({"online_start": 20}, r"`online_start` must be at most 19, `online_steps` \(20\) .* got 20"),
        ({"utd_ratio": 2**26}, r"the number of updates, must be less than 2\^30; got 1342177300"),
        ({"balanced_sampling": True, "agent": ToyConfig(batch_size=3)}, "`agent.batch_size` must be even .* got 3"),
    ],
)
def test_online_settings_that_contradict_one_another_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        toy_config(**{"online_steps": 20, "buffer_size": 100} | changes)


@pytest.mark.parametrize(
    "setting",
    [
        {"online_environments": 2},
        {"online_processes": True},
        {"online_start": 5},
        {"utd_ratio": 4},
        {"balanced_sampling": True},
        {"buffer_size": 10},
    ],
)
def test_an_online_setting_without_online_steps_is_refused(setting):
    ((name, value),) = setting.items()
    with pytest.raises(
        ValueError, match=f"`{name}` must be .* if `online_steps` is 0, .* online training; got {value}"
    ):
        toy_config(**setting)


@pytest.mark.parametrize("name", ["run_group", "save_dir"])
def test_an_empty_name_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must not be empty"):
        toy_config(**{name: ""})


@pytest.mark.parametrize(("seed", "seeds"), [(2**32, 1), (2**32 - 1, 2)])
def test_seeds_that_would_be_others_are_refused(seed, seeds):
    """JAX takes the remainder by 2^32: seed 2^32 would be the same run as seed 0."""
    with pytest.raises(ValueError, match=rf"`seed` \+ `seeds` must be at most 2\^32; got {seed} \+ {seeds}"):
        toy_config(seed=seed, seeds=seeds)
    assert toy_config(seed=2**32 - 1).seed_numbers == (2**32 - 1,)


@pytest.mark.parametrize("group", ["../../x", "a/../../b", "/elsewhere"])
def test_a_run_group_stays_within_the_folder_of_runs(group):
    with pytest.raises(ValueError, match="`run_group` must be a folder within `save_dir`"):
        toy_config(run_group=group)
    assert toy_config(run_group="a/b..c").run_group == "a/b..c"


def test_seeds_are_counted_from_the_first():
    assert toy_config(seed=3, seeds=4).seed_numbers == (3, 4, 5, 6)
