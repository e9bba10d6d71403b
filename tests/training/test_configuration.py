import math

import pytest
from toy_run import ToyConfig, toy_config

from recipes.floq import FloqConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seeds", 0),
        ("keep_checkpoints", 0),
        ("offline_steps", -1),
        ("online_steps", -1),
        ("online_environments", 0),
        ("online_start", -1),
        ("utd_ratio", 0),
        ("buffer_size", 0),
        ("log_interval", 0),
        ("eval_interval", -1),
        ("save_interval", -5),
        ("eval_episodes", -1),
        ("eval_workers", -1),
        ("collect_episodes", -1),
        ("collect_workers", 0),
    ],
)
def test_a_number_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be at least \d; got {value}"):
        toy_config(**{name: value})


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
        ({"online_start": 20}, r"`online_start` must be at most 19, .* `online_steps` \(20\) .* got 20"),
        ({"utd_ratio": 2**26}, r"must be less than 2\^30 updates in all; got 1342177300"),
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
    with pytest.raises(ValueError, match=f"`{next(iter(setting))}` is for online training; set `online_steps`"):
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
