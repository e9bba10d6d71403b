"""A stored run is read back as it was, and what is no run of ours is refused in a sentence."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st
from toy_run import TOY_RECIPE, ToyConfig, build_toy, new_run, toy_build, toy_config, toy_task

import recipes
from floqzoo.runs import Recipe, RunConfig, StoredRun, find_recipe, load_recipe
from floqzoo.runs.stored_config import config_from_flags
from floqzoo.training import prepared_run, resume, train
from floqzoo.training.profile import profile_run
from recipes import NAMES


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    directory = new_run(tmp_path_factory.mktemp("runs") / "run", seed=3, seeds=2)
    result = train(toy_build, toy_task(), toy_config(seed=3, seeds=2), directory)
    return directory, result


def test_what_was_trained_comes_back(stored):
    directory, result = stored
    run = StoredRun(directory)
    assert (run.recipe_name, run.env_name, run.seeds, run.checkpoint_steps) == ("toy", "line", (3, 4), [10, 20])
    assert run.config(TOY_RECIPE) == toy_config(seed=3, seeds=2)
    np.testing.assert_array_equal(run.train["seed"], [3, 4, 3, 4])
    np.testing.assert_array_equal(run.eval["step"], [10, 10, 20, 20])
    for seed in (3, 4):
        ours, theirs = run.agent(TOY_RECIPE, seed), result.agent(seed)
        for our_leaf, their_leaf in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(our_leaf, their_leaf)
    earlier, later = (jax.tree.leaves(run.agent(TOY_RECIPE, 3, step).policy)[0] for step in (10, 20))
    assert not np.array_equal(earlier, later)


def test_a_seed_or_step_that_is_not_there_is_named(stored):
    run = StoredRun(stored[0])
    with pytest.raises(ValueError, match="`seed` must be one of 3, 4, as in the run; got 5"):
        run.agent(TOY_RECIPE, 5)
    with pytest.raises(FileNotFoundError, match="must contain a checkpoint of step 15; it has 10, 20"):
        run.agent(TOY_RECIPE, 3, 15)


@pytest.mark.parametrize("use", [resume, lambda run, recipe: profile_run(run, run / "trace", recipe=recipe)])
def test_a_run_without_a_checkpoint_whose_networks_exceed_the_memory_is_refused_before_they_are_made(
    use, tmp_path, monkeypatch
):
    directory = new_run(tmp_path / "run")
    rewrite(directory / "flags.json", agent={"batch_size": 8, "alpha": 10.0, "width": 10**12})
    monkeypatch.setattr(prepared_run, "load_task", lambda config: pytest.fail("the data were loaded"))
    with pytest.raises(ValueError, match=r"the agents must fit into the memory of this machine, .* GB. Choose smaller"):
        use(directory, recipe=TOY_RECIPE)


def test_a_run_that_claims_larger_networks_or_more_seeds_is_refused_before_they_are_made(stored, tmp_path):
    directory = shutil.copytree(stored[0], tmp_path / "run")
    rewrite(directory / "flags.json", agent={"batch_size": 8, "alpha": 10.0, "width": 10**7})
    for use in (lambda: StoredRun(directory).agent(TOY_RECIPE, 3), lambda: resume(directory, recipe=TOY_RECIPE)):
        with pytest.raises(
            ValueError, match=r"the shape of `agents\.\S+` must be .*10000000.*, as in the agent; in .* it is"
        ):
            use()
    rewrite(directory / "flags.json", seeds=10**12)
    with pytest.raises(ValueError, match="must have at most 65536 `seeds`; it has 1000000000000"):
        StoredRun(directory)


def test_a_new_run_that_does_not_fit_into_memory_is_refused(tmp_path, toy_data):
    config = toy_config(agent=ToyConfig(width=10**9), save_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"the agents must fit into the memory of this machine, .* GB. Choose smaller"):
        prepared_run.prepare(TOY_RECIPE, config)
    assert not list(tmp_path.iterdir())


def rewrite(path, **changes):
    """None takes a value away."""
    content = json.loads(path.read_text()) | changes
    gone = {name for name, value in changes.items() if value is None}
    path.write_text(json.dumps({name: value for name, value in content.items() if name not in gone}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "machine.json",
            {"floqzoo": "0.0.1", "format": 2},
            "by floqzoo 0.0.1 in the run format 2; this is .* reads the run format 3",
        ),
        ("machine.json", {"format": None}, "in the run format 1; "),
        ("flags.json", {"seeds": None}, "must have `seeds`, an integer of at least 0; it has None"),
        ("flags.json", {"seed": -1}, "must have `seed`, an integer of at least 0; it has -1"),
        ("flags.json", {"offline_steps": "20"}, "must have `offline_steps`, an integer of at least 0; it has '20'"),
        ("flags.json", {"online_steps": None}, "must have `online_steps`, an integer of at least 0; it has None"),
        ("machine.json", {"earlier": 3}, "must have `earlier`, a list of objects; it has 3"),
        ("machine.json", {"earlier": [3]}, r"must have `earlier`, a list of objects; it has \[3\]"),
        ("machine.json", {"started": 3}, "must have `started`, a string; it has 3"),
        ("flags.json", {"recipe": ["floq"]}, "must have `recipe`, a string"),
        ("flags.json", {"offline_step": 3}, "`offline_step`, which this version does not know; .* `offline_steps`"),
        ("flags.json", {"agent": None}, "no setting `agent`, which this version needs"),
        ("flags.json", {"agent": {"batch_size": 8, "alpha": 1.0, "beta": 2}}, "a setting `agent.beta`"),
        ("flags.json", {"agent": "os.system"}, "`agent` must be ToyConfig; got 'os.system'"),
        ("flags.json", {"log_interval": "5"}, "`log_interval` must be int; got '5'"),
        ("flags.json", {"log_interval": True}, "`log_interval` must be int"),
        ("flags.json", {"success_timing": "now"}, "`success_timing` must be"),
        ("flags.json", {"dataset_path": 3}, "`dataset_path` must be"),
        ("flags.json", {"recipe": "floq"}, "made by the recipe 'floq'; got the recipe 'toy'"),
        ("data.json", {"action_dim": "1"}, "must have `action_dim`, an integer of at least 0; it has '1'"),
        ("data.json", {"reward_range": [0.0]}, "must have `reward_range`, two numbers"),
    ],
)
def test_records_that_do_not_fit_are_refused(stored, tmp_path, file, changes, message):
    directory = shutil.copytree(stored[0], tmp_path / "run")
    rewrite(directory / file, **changes)
    with pytest.raises(ValueError, match=message):
        StoredRun(directory).agent(TOY_RECIPE, 3)


def test_a_run_of_another_version_and_the_same_format_is_read(stored, tmp_path):
    """Settings that did not exist then have their defaults."""
    directory = shutil.copytree(stored[0], tmp_path / "run")
    rewrite(directory / "machine.json", floqzoo="0.0.1")
    rewrite(directory / "flags.json", tensorboard=None, agent={"batch_size": 8})
    run = StoredRun(directory)
    assert run.config(TOY_RECIPE) == StoredRun(stored[0]).config(TOY_RECIPE)
    ours, theirs = (jax.tree.leaves(each.agent(TOY_RECIPE, 3).policy) for each in (run, StoredRun(stored[0])))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("text", [b"", b"[]", b"\x80\x04.", b"[" * 100_000])
def test_flags_that_are_no_object_are_refused(stored, tmp_path, text):
    directory = shutil.copytree(stored[0], tmp_path / "run")
    (directory / "flags.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"flags\.json"):
        StoredRun(directory)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        StoredRun(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is not the folder of a run: it has no flags\.json"):
        StoredRun(tmp_path)


def test_a_run_without_checkpoints_says_so(tmp_path):
    run = StoredRun(new_run(tmp_path / "run"))
    assert run.checkpoint_steps == []
    with pytest.raises(FileNotFoundError, match="must contain a checkpoint; it has none"):
        run.agent(TOY_RECIPE, 0)
    with pytest.raises(FileNotFoundError, match="no metric log"):
        _ = run.eval


def test_every_recipe_has_its_name():
    files = {path.stem for path in Path(recipes.__file__).parent.glob("*.py")}
    assert files == {"__init__", "common", *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_of_every_recipe_is_read_back(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    for preset in recipe.presets.values():
        config = preset(None)
        flags = json.loads(json.dumps({"recipe": name, **dataclasses.asdict(config)}))
        assert config_from_flags(recipe, flags) == config


@dataclasses.dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = ()
    pair: tuple[str, float] = ("a", 0.0)


@dataclasses.dataclass(frozen=True)
class Rich:
    batch_size: int = 1
    inner: Inner = Inner()
    maybe: int | str | None = None
    switch: bool = False


@given(
    st.builds(
        Rich,
        inner=st.builds(Inner, st.lists(st.integers()).map(tuple), st.tuples(st.text(), st.floats(allow_nan=False))),
        maybe=st.none() | st.integers() | st.text(),
        switch=st.booleans(),
    )
)
def test_settings_of_every_kind_are_read_back(agent):
    recipe = Recipe(
        name="rich", build=build_toy, presets={"default": lambda env: RunConfig(agent=Rich(), env_name="l")}
    )
    config = RunConfig(agent=agent, env_name="line")
    flags = json.loads(json.dumps({"recipe": "rich", **dataclasses.asdict(config)}))
    assert config_from_flags(recipe, flags) == config


@pytest.mark.parametrize("name", ["flok", "os", "../evil", "__init__", ""])
def test_only_recipes_are_found(name):
    with pytest.raises(ValueError, match=r"there is no recipe .*; the recipes are bc, c51"):
        find_recipe(name)


def test_a_recipe_of_ones_own_comes_from_its_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from floqzoo.runs import Recipe, RunConfig\n"
        "RECIPE = Recipe(name='mine', build=lambda **_: None, presets={'default': lambda env: None})\n"
    )
    assert load_recipe(path).name == "mine"
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="must have a `RECIPE`"):
        load_recipe(tmp_path / "empty.py")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="must be a Python file"):
        load_recipe(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_recipe(tmp_path / "nowhere.py")


def test_an_agents_settings_are_those_of_its_recipe():
    flags = {"recipe": "toy", **dataclasses.asdict(toy_config())}
    assert config_from_flags(TOY_RECIPE, json.loads(json.dumps(flags))).agent == ToyConfig()


def test_a_recipe_of_ones_own_may_import_what_is_beside_it(tmp_path):
    (tmp_path / "beside_it.py").write_text("NAME = 'mine'\n")
    text = "from beside_it import NAME\nfrom floqzoo.runs import Recipe\n"
    (tmp_path / "mine.py").write_text(text + "RECIPE = Recipe(name=NAME, build=dict, presets={'default': dict})\n")
    before = list(sys.path)
    assert load_recipe(tmp_path / "mine.py").name == "mine"
    assert sys.path == before
