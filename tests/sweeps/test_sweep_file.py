"""What a sweep file means, and what is refused before anything starts."""

import re
import warnings
from itertools import combinations, pairwise
from math import prod
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from floqzoo.sweeps import read_sweep
from floqzoo.sweeps.sweep_file import _packed
from floqzoo.training.command_line import parse_arguments
from recipes import floq, fql


pytest.importorskip("yaml")
pytest.importorskip("ogbench")
GOOD = {
    "recipes": "[floq, {recipe: fql, preset: 2m}]",
    "tasks": "[cube-single-play-singletask-task1-v0, scene-play-singletask-task2-v0]",
    "seeds": "3",
    "fields": "{offline_steps: 1000, agent.lr: [1e-3, 3e-4]}",
}


@pytest.fixture
def read(tmp_path):
    """Reads a sweep file with some lines changed, added, or taken away."""

    def read(text=None, **lines):
        content = "\n".join(f"{key}: {value}" for key, value in (GOOD | lines).items() if value is not None)
        (tmp_path / "mine.yaml").write_text(content if text is None else text)
        return read_sweep(tmp_path / "mine.yaml", save_dir=tmp_path)

    return read


VARIED = {"offline_steps": "[1000, 2000]", "log_interval": "[100, 200]", "agent.lr": "[1e-3, 3e-4]"}


@pytest.mark.parametrize("names", [names for size in range(4) for names in combinations(VARIED, size)])
def test_a_sweep_tells_methods_apart_by_the_run_settings_that_differ(read, names):
    """Its table and its curves are by these, and by the settings of the agents."""
    fields = {"offline_steps": "1000"} | {name: VARIED[name] for name in names}
    sweep = read(fields="{" + ", ".join(f"{name}: {values}" for name, values in fields.items()) + "}")
    assert {*sweep.distinguishing} == {name for name in names if not name.startswith("agent.")}


def test_trials_are_the_product_of_recipes_fields_tasks_and_seeds(read, tmp_path):
    sweep = read()
    assert (sweep.name, sweep.folder) == ("mine", tmp_path / "floqzoo" / "mine")
    assert len(sweep.trials) == prod((2, 2, 2))
    for trial in sweep.trials:
        source = {"floq": floq.RECIPE, "fql": fql.RECIPE}[trial.recipe.name]
        published = source.presets[trial.preset](trial.config.env_name)
        assert (trial.config.seed, trial.config.seeds, trial.config.offline_steps) == (0, 3, 1000)
        assert trial.config.agent.lr in (1e-3, 3e-4)
        assert trial.config.agent.alpha == published.agent.alpha
        parts = trial.directory.name.split("_")
        assert (parts[0], parts[-2:]) == (trial.recipe.name, ["sd000-002", trial.identity])
    assert len({trial.directory for trial in sweep.trials}) == len(sweep.trials)
    assert {trial.method for trial in sweep.trials} == {
        "floq lr=0.001",
        "floq lr=0.0003",
        "fql 2m lr=0.001",
        "fql 2m lr=0.0003",
    }
    assert read().trials[0].directory == sweep.trials[0].directory


def test_fields_of_one_recipe_and_fields_of_all(read):
    sweep = read(recipes="[fql, {recipe: floq, fields: {agent.critic_flow_steps: [4, 8]}}]", fields="{agent.tau: 0.01}")
    assert {trial.method for trial in sweep.trials} == {"fql", "floq critic_flow_steps=4", "floq critic_flow_steps=8"}
    assert {trial.config.agent.tau for trial in sweep.trials} == {0.01}


def test_a_list_in_a_list_is_one_value_that_is_a_list(read):
    sweep = read(fields="{agent.actor_hidden_dims: [[8, 8], [16]], dataset_path: null}")
    assert {trial.config.agent.actor_hidden_dims for trial in sweep.trials} == {(8, 8), (16,)}


def test_a_pattern_stands_for_tasks(read):
    def tasks(pattern):
        return [trial.config.env_name for trial in read(tasks=[pattern], recipes="[fql]", fields=None).trials]

    singles = [f"cube-single-play-singletask-task{number}-v0" for number in range(1, 6)]
    assert tasks("cube-single-play-singletask-task?-v0") == singles
    assert tasks("cube-single-play-*") == [*singles, "cube-single-play-singletask-v0"]
    assert tasks("cube-single-play-oraclerep*") == ["cube-single-play-oraclerep-v0"]


def test_the_order_of_a_file_says_nothing_about_who_a_trial_is(read):
    first = read(fields="{offline_steps: 1000, agent.lr: 1e-3}")
    second = read(fields="{agent.lr: 0.001, offline_steps: 1000, collect_workers: 7}")
    assert [t.identity for t in first.trials] == [t.identity for t in second.trials]
    other = read(fields="{agent.lr: 0.001, offline_steps: 1001}")
    assert {t.identity for t in first.trials}.isdisjoint(t.identity for t in other.trials)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        "{agent.actor_hidden_dims: [[8, 8]], agent.layer_norm: false, agent.q_agg: min, agent.lr: 1e-3}",
        "{dataset_path: null, success_timing: post, precision: bfloat16, tensorboard: true, save_interval: 0}",
    ],
)
def test_the_command_of_a_trial_says_what_the_trial_is(read, fields):
    for trial in read(fields=fields).trials:
        head, rest = trial.words[:2], trial.words[2:]
        assert head == [f"--run_directory={trial.directory}", f"--recipe={trial.recipe.name}"]
        assert parse_arguments(trial.recipe, rest) == trial.config


@given(st.sets(st.integers(0, 40), min_size=1), st.one_of(st.none(), st.integers(1, 9)))
def test_seeds_are_packed_whole_once_and_in_a_row(seeds, at_once):
    packs = _packed(sorted(seeds), at_once)
    assert [seed for first, count in packs for seed in range(first, first + count)] == sorted(seeds)
    assert all(1 <= count <= (at_once or len(seeds)) for _, count in packs)
    for (first, count), (following, _) in pairwise(packs):
        assert following > first + count or count == at_once


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ({"recipes": "[flok]"}, "there is no recipe 'flok'.*Did you mean floq"),
        ({"recipes": "[{recipe: floq, preset: bests}]"}, "floq has no preset 'bests'; did you mean best?"),
        ({"recipes": "[{recipe: floq, presets: best}]"}, "a recipe has no key 'presets'; did you mean preset"),
        ({"recipes": "[3]"}, "`recipe` must be the name of a recipe; got 3"),
        ({"recipes": "[nowhere.py]"}, "there is no file .*nowhere.py"),
        ({"recipes": "floq"}, "`recipes` must be a list; got 'floq'"),
        ({"recipes": None}, "`recipes` is required"),
        ({"recipes": "[]"}, "`recipes` must not be empty"),
        ({"recipes": "[floq, floq]"}, "two trials have the same settings: floq lr=0.001 on cube-single"),
        (
            {"recipes": "[floq, {recipe: floq, preset: best}]"},
            "two trials have the same settings: floq best lr=0.001 on cube-sing",
        ),
        ({"tasks": "[cube-singel-play-singletask-task1-v0]"}, "Similar names: cube-single-play-singletask"),
        ({"tasks": "['cube-nonuple-play-singletask-task*-v0']"}, "no task of OGBench matches"),
        ({"tasks": "[7]"}, "`tasks` must be names; got 7"),
        ({"tasks": "[]"}, "`tasks` must not be empty"),
        ({"tasks": "[scene-play-singletask-task1-v0, 'scene-play-singletask-task?-v0']"}, "task1-v0 appears twice"),
        ({"seeds": "0"}, "`seeds` must be at least 1; got 0"),
        ({"seeds": "[]"}, "`seeds` must be an integer or a list of integers; got \\[\\]"),
        ({"seeds": "[0, -1]"}, "`seeds` must be at least 0; got -1"),
        ({"seeds": "[1, 2, 1]"}, "`seeds` must list each seed once; 1 appears twice"),
        ({"seeds": "many"}, "`seeds` must be .*; got 'many'"),
        ({"seeds": "true"}, "`seeds` must be .*; got True"),
        ({"seeds_at_once": "0"}, "`seeds_at_once` must be at least 1; got 0"),
        ({"fields": "{agent.alfa: 3}"}, "floq has no field 'agent.alfa'; did you mean agent.alpha"),
        ({"fields": "{alpha: 3}"}, "floq has no field 'alpha'; did you mean agent.alpha"),
        ({"fields": "{agent.critic_flow_steps: 4}"}, "fql has no field 'agent.critic_flow_steps'"),
        ({"fields": "{agent: {alpha: 3}}"}, "floq has no field 'agent'"),
        ({"fields": "{offline_steps: 1e3}"}, "`offline_steps` must be int; got 1000.0"),
        ({"fields": "{offline_steps: '1000'}"}, "`offline_steps` must be int; got '1000'"),
        ({"fields": "{agent.lr: fast}"}, "`agent.lr` must be float; got 'fast'"),
        ({"fields": "{agent.q_agg: max}"}, "`agent.q_agg` must be one of mean, min; got 'max'"),
        ({"fields": "{agent.layer_norm: 1}"}, "`agent.layer_norm` must be bool; got 1"),
        ({"fields": "{agent.actor_hidden_dims: [8, 8]}"}, "must be tuple.*; got 8. A list is read as alternatives"),
        ({"fields": "{agent.lr: []}"}, "`agent.lr` must not be an empty list"),
        ({"fields": "{agent.lr: [1e-3, 0.001]}"}, "`agent.lr` must list each value once; 0.001 appears twice"),
        ({"fields": "{agent.lr: 1e-3, agent.lr: 3e-4}"}, "`agent.lr` is set twice"),
        ({"fields": "{env_name: scene}"}, "`env_name` is not a field of a sweep: it is set by `tasks`"),
        ({"fields": "{seed: [0, 1]}"}, "`seed` is not a field of a sweep: it is set by `seeds`"),
        ({"fields": "{}"}, "`fields` must not be empty"),
        ({"fields": "{agent.batch_size: 0}"}, "floq on cube-single-.*: `agent.batch_size` must be at least 1; got 0"),
        ({"fields": "{agent.tau: 5.0}"}, r"floq on cube-single-.*: `agent.tau` must be in \[0, 1\]; got 5"),
        ({"recipes": "[{recipe: floq, fields: {agent.lr: 1e-3}}]"}, "`agent.lr` is set twice for floq"),
        ({"recipes": "[{recipe: floq, fields: [1]}]"}, "`fields` of floq must be a mapping"),
        ({"resources": "{gpus: 1}"}, "`resources` has no 'gpus'; did you mean gpu?"),
        ({"resources": "{cpu: 0}"}, "`resources.cpu` must be at least 1; got 0"),
        ({"resources": "{gpu: 1.5}"}, "`resources.gpu` must be 0, a fraction of one, or a whole number; got 1.5"),
        ({"resources": "{memory_gb: much}"}, "`resources.memory_gb` must be float | None; got 'much'"),
        ({"resources": "{memory_gb: 0}"}, "`resources.memory_gb` must be above 0"),
        ({"restarts": "-1"}, "`restarts` must be at least 0; got -1"),
        ({"name": "../elsewhere"}, "`name` must consist of letters"),
        ({"name": "7"}, "`name` must be str; got 7"),
        ({"seed": "3"}, "no key 'seed'; did you mean seeds?"),
    ],
)
def test_what_is_refused(read, tmp_path, lines, says):
    with warnings.catch_warnings(action="ignore"), pytest.raises((ValueError, FileNotFoundError), match=says) as error:
        read(**lines)
    assert str(error.value).startswith(str(tmp_path / "mine.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recipes: [floq", "is not valid YAML"),
        ("- floq", "must be a mapping; it is a list"),
        ("", "must be a mapping; it is a NoneType"),
        ("seeds: 1\ntasks: [a]\nseeds: 2", "line 3: `seeds` is set twice, first in line 1"),
        ("name: !!python/object/apply:os.getcwd []", "is not valid YAML: could not determine a constructor"),
        ("[" * 5000, "is not valid YAML"),
    ],
)
def test_what_is_no_sweep_file(read, text, says):
    with pytest.raises(ValueError, match=says):
        read(text=text)


def test_contradictory_flags_are_refused(read):
    with pytest.raises(ValueError, match="`utd_ratio` must be 1 if `online_steps` is 0"):
        read(fields="{utd_ratio: 4}")
    with pytest.raises(ValueError, match="`utd_ratio` must be at least 1; got 0"):
        read(fields="{utd_ratio: 0, online_steps: 100}")


def test_a_sweep_that_is_not_there():
    with pytest.raises(FileNotFoundError, match=r"there is no file nowhere\.yaml"):
        read_sweep("nowhere.yaml")
    with pytest.raises(FileNotFoundError, match=r"no published sweep 'floq-deff'; did you mean floq-def"):
        read_sweep("floq-deff")


def test_what_sets_trials_apart_beside_their_agents(read):
    assert read().distinguishing == ()
    assert read(fields="{precision: [float32, bfloat16], agent.lr: [1e-3, 3e-4]}").distinguishing == ("precision",)
    assert read(recipes="[fql, {recipe: fql, preset: 2m}]", fields=None).distinguishing == ("offline_steps",)


def test_the_example_of_the_guide_is_a_sweep(read):
    page = (Path(__file__).parents[2] / "docs" / "guides" / "sweeps.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    trials = read(text=example).trials
    assert len(trials) == 36 and "36 *trials*" in page
    assert {trial.config.seeds for trial in trials} == {3}
