"""A run with normalised observations: fitted to the training data, stored with the agent, and kept."""

import dataclasses
import json
import shutil
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_run import FLOAT, TOY_RECIPE, Walker, build_toy, change_flags, toy_build, toy_config, toy_task

import floqzoo as fz
from floqzoo.networks.normaliser import Normaliser
from floqzoo.results.value_map import _values
from floqzoo.rollout import evaluate
from floqzoo.runs import Recipe, StoredRun
from floqzoo.runs.checkpoint import restore_beside
from floqzoo.runs.recipe import with_normaliser
from floqzoo.training import prepared_run, resume
from floqzoo.training.normalisation import fitted_normaliser
from floqzoo.training.prepared_run import prepare
from floqzoo.training.run_evaluations import behaviour_of, diagnosis


SIZES, OFFSETS = np.array([50.0, 0.02], FLOAT), np.array([7.0, 100.0], FLOAT)
NORMALISER = Normaliser(OFFSETS, SIZES)


def task_of(sizes=SIZES, offsets=OFFSETS):
    task = toy_task()
    observations = jnp.asarray(np.asarray(task.dataset.observations) * sizes + offsets)
    return dataclasses.replace(task, dataset=eqx.tree_at(lambda data: data.observations, task.dataset, observations))


def use(patch, task):
    patch.setattr(prepared_run, "load_task", lambda config: task)


def assert_same(one, other):
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    directory.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        use(patch, task_of())
        result = prepare(TOY_RECIPE, toy_config(normalize_observations=True, seeds=2), directory).train()
    return directory, result


def test_its_numbers_are_those_of_the_data_and_come_back_bit_for_bit(trained):
    directory, result = trained
    for seed in (0, 1):
        stored, kept = StoredRun(directory).agent(TOY_RECIPE, seed), result.agent(seed)
        assert_same(stored, kept)
        assert_same(stored.normaliser, Normaliser.from_observations(task_of().dataset.observations))
        x = jnp.asarray(OFFSETS + SIZES)
        assert_same(stored.act(x, jax.random.key(1)), kept.act(x, jax.random.key(1)))


def test_what_was_trained_sees_normalised_observations(trained, tmp_path):
    """The same run on data normalised beforehand: the numbers differ by rounding only."""
    dataset = task_of().dataset
    x = np.asarray(dataset.observations, np.float64)
    z = jnp.asarray(((x - x.mean(axis=0)) / x.std(axis=0)).astype(FLOAT))
    plain = dataclasses.replace(toy_task(), dataset=eqx.tree_at(lambda data: data.observations, dataset, z))
    wanted = fz.train(toy_build, plain, toy_config(eval_episodes=0), tmp_path).agent(0)
    found = trained[1].agent(0)
    for ours, theirs in zip(jax.tree.leaves(found.policy), jax.tree.leaves(wanted.policy), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:the resumed run differs:UserWarning")
def test_a_resumed_run_keeps_the_numbers_that_it_was_trained_with(trained, tmp_path, monkeypatch):
    """Even where the data changed and that is allowed: the networks were trained with the first ones."""
    directory = shutil.copytree(trained[0], tmp_path / "run")
    change_flags(directory, offline_steps=30)
    use(monkeypatch, task_of(2 * SIZES))
    with pytest.raises(ValueError, match="would resume with different settings or data"):
        resume(directory, recipe=TOY_RECIPE)
    agent = resume(directory, recipe=TOY_RECIPE, allow_changes=True).agent(0)
    assert_same(agent.normaliser, trained[1].agent(0).normaliser)


@pytest.mark.filterwarnings("ignore:the resumed run differs:UserWarning")
def test_it_is_not_resumed_without_its_normaliser(trained, tmp_path, monkeypatch):
    directory = shutil.copytree(trained[0], tmp_path / "run")
    change_flags(directory, normalize_observations=False)
    use(monkeypatch, task_of())
    with pytest.raises(ValueError, match="`normalize_observations` was True and is False"):
        resume(directory, recipe=TOY_RECIPE)
    with pytest.raises(ValueError, match="normaliser"):
        resume(directory, recipe=TOY_RECIPE, allow_changes=True)


@pytest.mark.parametrize("ours", [True, False])
def test_a_run_starts_from_one_that_normalises_as_it_does(trained, tmp_path, monkeypatch, ours):
    use(monkeypatch, task_of())
    config = toy_config(normalize_observations=ours, start_from=str(trained[0]), save_dir=str(tmp_path))
    if not ours:
        with pytest.raises(
            ValueError,
            match=r"`start_from` must be a run with the same `normalize_observations`: here it is False, in .* True",
        ):
            prepare(TOY_RECIPE, config)
        return
    begun = prepare(TOY_RECIPE, config).start
    assert begun is not None
    state = begun.begin_with(begun.run.restore(TOY_RECIPE).tree)
    assert_same(jax.tree.map(lambda leaf: leaf[0], state.agents.normaliser), trained[1].agent(0).normaliser)


def test_a_run_of_an_earlier_version_does_not_normalise(trained, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(trained[0], directory)
    flags = json.loads((directory / "flags.json").read_text())
    del flags["normalize_observations"]
    (directory / "flags.json").write_text(json.dumps(flags))
    agent = eqx.filter_eval_shape(StoredRun(directory).builder(TOY_RECIPE), jax.random.key(0))
    assert agent.normaliser is None


@pytest.mark.slow
def test_online_steps_keep_the_numbers_of_the_data_and_store_observations_as_they_are(tmp_path, monkeypatch):
    use(monkeypatch, task_of())
    config = toy_config(
        normalize_observations=True,
        offline_steps=2,
        online_steps=8,
        log_interval=2,
        eval_interval=0,
        save_interval=0,
        eval_episodes=0,
        buffer_size=200,
    )
    result = prepare(TOY_RECIPE, config, tmp_path).train()
    assert_same(result.agent(0).normaliser, fitted_normaliser(task_of()))
    seen = restore_beside(tmp_path / "checkpoints", 10)["replay.transitions.observation"]
    # A goal of the environment is within 3; normalised it would be about -5000.
    assert (np.abs(seen[..., 1]) <= 3).all() and (seen[..., 1] != 0).any()


def walker(normaliser=None):
    return fz.ActorCritic(None, Walker(jnp.asarray(0.3)), normaliser)


def test_evaluations_act_on_normalised_observations():
    """Episodes of a walker with a normaliser are those of one that maps observations itself."""

    class Mapping(Walker):
        def act(self, observation, critic, key):
            return super().act((observation - jnp.array([0.5, -1.0])) / jnp.array([2.0, 4.0]), critic, key)

    normaliser = Normaliser(np.array([0.5, -1.0]), np.array([2.0, 4.0]))
    make = toy_task().make_environment
    found = evaluate(walker(normaliser), make, episodes=3, seed=1)
    wanted = evaluate(fz.ActorCritic(None, Mapping(jnp.asarray(0.3))), make, episodes=3, seed=1)
    assert found.mean_return == wanted.mean_return
    assert found.mean_return != evaluate(walker(), make, episodes=3, seed=1).mean_return


class Cautious(Walker):
    @property
    def behaviour(self):
        return Walker(self.gain)


def test_the_behaviour_policy_has_the_normaliser_of_the_policy():
    behaviour = behaviour_of(fz.ActorCritic(None, Cautious(jnp.asarray(0.3)), NORMALISER))
    assert behaviour is not None
    assert behaviour.normaliser is NORMALISER


def flow_critic(key):
    field_key, readout_key = jax.random.split(key)
    field = partial(fz.ConditionalField, 1, 3, build=partial(fz.MLP, hidden=(8,)))
    return fz.FlowCritic(
        fz.Ensemble.build(lambda key: field(key=key), 2, key=field_key),
        fz.QEnsemble(2, 1, build=partial(fz.MLP, hidden=(4,)), key=readout_key),
        fz.UniformPrior(-1.0, 0.0),
        solver=fz.Euler(2),
    )


@pytest.mark.slow
def test_a_critic_is_diagnosed_on_normalised_observations(getkey):
    critic, raw = flow_critic(getkey()), task_of().dataset
    normaliser = Normaliser.from_observations(raw.observations)
    inner = eqx.tree_at(lambda data: data.observations, raw, jax.vmap(normaliser.normalise)(raw.observations))
    found = diagnosis(fz.ActorCritic(critic, None, normaliser), raw, 0)
    wanted = diagnosis(fz.ActorCritic(critic, None), inner, 0)
    assert found.keys() == wanted.keys() and found
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-4)


def test_a_value_map_is_of_normalised_positions(getkey):
    critic, places, key = flow_critic(getkey()), jnp.asarray([[-40.0, 100.01], [60.0, 99.98]], FLOAT), getkey()
    policy = Walker(jnp.asarray(0.3))
    actions, values = _values(fz.ActorCritic(critic, policy, NORMALISER), places, key)
    inner = jax.vmap(NORMALISER.normalise)(places)
    wanted_actions, wanted = _values(fz.ActorCritic(critic, policy), inner, jax.random.clone(key))
    np.testing.assert_allclose(actions, wanted_actions, rtol=1e-5)
    np.testing.assert_allclose(values, wanted, rtol=1e-5)


class OtherData:
    """A dataset that samples, and has no table of observations."""


@pytest.mark.parametrize("which", ["dataset", "agent"])
def test_what_cannot_be_normalised_is_refused_in_one_sentence(tmp_path, monkeypatch, which):
    task, recipe = task_of(), TOY_RECIPE
    if which == "dataset":
        task = dataclasses.replace(task, dataset=OtherData())
        message = "`normalize_observations` needs a dataset with `observations`.*; got a OtherData"
    else:
        recipe = Recipe(name="toy", build=lambda **_: Walker(jnp.zeros(())), presets=TOY_RECIPE.presets)
        message = "`normalize_observations` must be False for this recipe: it builds a Walker, which has no field"
    use(monkeypatch, task)
    with pytest.raises(ValueError, match=message) as error:
        prepare(recipe, toy_config(normalize_observations=True, save_dir=str(tmp_path)))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_agents_without_the_flag_are_as_they_were():
    build = partial(build_toy, observation_dim=2, action_dim=1, reward_range=(-1.0, 0.0), config=toy_config().agent)
    assert with_normaliser(build, None) is build
    agent = build(key=jax.random.key(0))
    assert agent.normaliser is None
    unfitted = with_normaliser(lambda key: build(key=key), Normaliser.unfitted(2))(jax.random.key(0))
    assert len(jax.tree.leaves(unfitted)) == len(jax.tree.leaves(agent)) + 2


def test_the_setting_holds_for_an_agent_that_is_built_in_python(trained, tmp_path):
    found = fz.train(toy_build, task_of(), toy_config(normalize_observations=True, eval_episodes=0), tmp_path).agent(0)
    assert_same(found.parts, trained[1].agent(0).parts)


def test_a_normaliser_that_an_agent_has_is_kept(tmp_path):
    build = with_normaliser(toy_build, NORMALISER)
    found = fz.train(build, task_of(), toy_config(normalize_observations=True, eval_episodes=0), tmp_path).agent(0)
    assert_same(found.normaliser, NORMALISER)
