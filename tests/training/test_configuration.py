import pytest
from toy_run import toy_config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seeds", 0),
        ("keep_checkpoints", 0),
        ("offline_steps", 0),
        ("log_interval", 0),
        ("eval_interval", -1),
        ("save_interval", -5),
        ("eval_episodes", -1),
        ("collect_episodes", -1),
        ("collect_workers", 0),
    ],
)
def test_a_number_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be at least \d; got {value}"):
        toy_config(**{name: value})


@pytest.mark.parametrize("name", ["run_group", "save_dir"])
def test_an_empty_name_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must not be empty"):
        toy_config(**{name: ""})


def test_seeds_are_counted_from_the_first():
    assert toy_config(seed=3, seeds=4).seed_numbers == (3, 4, 5, 6)
