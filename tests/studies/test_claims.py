"""Studies of claims: how they are judged, resumed and read, and what their instruments measure."""

import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

from benchmarks.counted_flops import matrix_flops
from floqzoo.critics import MonolithicCritic
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.flow import Euler
from floqzoo.learner import agent_of
from floqzoo.networks import MLP
from floqzoo.networks.ensemble import Ensemble
from floqzoo.records import Transition
from floqzoo.studies.claims import capacity, noise_interval, plasticity, recovery, study_named, study_names
from floqzoo.studies.critic_lab import (
    CORNERS,
    MAZE,
    GreedyPolicy,
    LabData,
    LabSettings,
    checks,
    flow_agents,
    lab_data,
    monolithic_agents,
    policy_score,
    scores_of,
    train,
    value_error,
    with_fixed_targets,
)
from floqzoo.studies.report import read_table
from floqzoo.studies.statistics import Estimate
from floqzoo.studies.study import (
    SETTINGS,
    Measurement,
    Statement,
    Study,
    Table,
    draw_study,
    judge,
    measurements,
    record_settings,
    report_text,
    run_study,
)
from floqzoo.update_rules import freeze_features_after


TINY = LabSettings(seeds=2, transitions=50, hidden=(4, 4), updates=3, batch_size=4, num_noise_samples=2, flow_steps=2)
MEASURED = Path(__file__).parents[2] / "docs" / "studies"


class Exact(eqx.Module):
    """A critic that is right, up to a factor and an offset."""

    factor: float = 1.0
    offset: float = 0.0

    def score(self, observation, action):
        return self.factor * MAZE.q_value(MAZE.optimal_values(), observation, action) + self.offset

    def critic_loss(self, batch, agent, key):
        return jnp.zeros(()), None


class TestLab:
    @pytest.mark.slow
    def test_a_critic_that_is_right_has_no_error_and_the_best_policy(self):
        where = checks(looks=1)
        assert float(value_error(Exact(), where)) < 1e-4
        assert abs(float(policy_score(Exact(), where)) - 1) < 1e-4
        np.testing.assert_allclose(value_error(Exact(offset=3.0), where), 3.0, rtol=1e-4)
        assert abs(float(policy_score(Exact(factor=2.0, offset=3.0), where)) - 1) < 1e-4
        assert float(policy_score(Exact(factor=-1.0), where)) < 0

    @pytest.mark.slow
    def test_the_greedy_policy_takes_the_corner_with_the_highest_score(self):
        where = checks(looks=1)
        best = np.asarray(scores_of(Exact(), where))[:, 0].argmax(axis=1)
        acts = jax.vmap(lambda observation: GreedyPolicy().act(observation, Exact(), jax.random.key(0)))
        np.testing.assert_array_equal(acts(where.observation[:, 0, 0]), CORNERS[best])

    @given(seed=st.integers(0, 1000), count=st.integers(1, 20), noise=st.floats(0, 4, width=32))
    def test_batches_are_of_the_first_transitions_with_the_stated_noise(self, seed, count, noise):
        rows = jnp.arange(20.0)
        zeros = jnp.zeros((20, 2))
        data = LabData(Transition(zeros, zeros, rows, rows, zeros), jnp.asarray(count), jnp.asarray(noise, float))
        batch = data.sample(jax.random.key(seed), 4_000)
        assert set(np.asarray(batch.discount, int)) <= set(range(count))
        difference = np.asarray(batch.reward - batch.discount)
        assert abs(difference.mean()) <= 6 * noise / 4_000**0.5 + 1e-6
        assert abs(difference.std() - noise) <= 0.1 * noise + 1e-6

    @pytest.mark.slow
    def test_seeds_have_data_and_networks_of_their_own_and_arms_share_the_data(self):
        data, again = lab_data(TINY), lab_data(TINY, target_noise=2.0)
        np.testing.assert_array_equal(data.transitions.observation, again.transitions.observation)
        assert not np.array_equal(data.transitions.observation[0], data.transitions.observation[1])
        one, two = (agent_of(monolithic_agents(TINY), seed).critic for seed in range(2))
        assert not eqx.tree_equal(one, two)

    @pytest.mark.slow
    def test_fixed_targets_are_the_exact_values_and_bootstrap_from_nothing(self):
        data = with_fixed_targets(lab_data(TINY))
        step = jax.tree.map(lambda array: array[0], data.transitions)
        exact = jax.vmap(partial(MAZE.q_value, MAZE.optimal_values()))(step.observation, step.action)
        np.testing.assert_allclose(step.reward, exact, rtol=1e-5)
        assert not np.any(step.discount)

    @pytest.mark.slow
    def test_more_training_means_a_smaller_error(self):
        where, errors = checks(looks=1), []
        for updates in (500, 2_000):
            settings = LabSettings(seeds=1, transitions=3_000, hidden=(32,), updates=updates)
            agents = train(monolithic_agents(settings), lab_data(settings), settings)
            errors.append(float(value_error(agent_of(agents, 0).critic, where)))
        assert errors[1] < 0.95 * errors[0]


def rows_of(values: dict[tuple[str, float], list[float]], metric: str = "m") -> list[Measurement]:
    return [row for (arm, level), each in values.items() for row in measurements(arm, level, {metric: each})]


def study_of(trials, statements=()):
    return Study(
        name="s",
        claim="A claim.",
        design="",
        settings=TINY,
        trials=trials,
        level="level",
        panels={"m": "m"},
        statements=statements,
    )


class TestStudy:
    @pytest.mark.parametrize(("shift", "verdict"), [(1.0, "reproduced"), (-1.0, "not reproduced"), (0.0, "undecided")])
    def test_a_statement_is_judged_by_the_interval_of_its_paired_effect(self, shift, verdict):
        """Seeds differ by more than the arms do; only pairing shows the effect."""
        random = np.random.default_rng(0)
        seeds, noise = 100 * random.normal(size=12), 0.1 * random.normal(size=12)
        table = Table(rows_of({("a", 0.0): list(seeds + shift + noise - noise.mean()), ("b", 0.0): list(seeds)})[::-1])
        statement = Statement("a > b", lambda table: table.of("a", 0, "m") - table.of("b", 0, "m"), "")
        found = judge(study_of(dict, [statement]), table)[0]
        assert found.verdict == verdict and abs(found.effect.value - shift) < 0.1

    @pytest.mark.parametrize(
        ("shift", "verdict"), [(-0.1, "reproduced"), (-0.5, "undecided"), (-0.9, "not reproduced")]
    )
    def test_a_statement_with_a_margin_allows_for_an_effect_below_zero(self, shift, verdict):
        table = Table(rows_of({("a", 0.0): list(shift + np.linspace(-0.1, 0.1, 12))}))
        statement = Statement("a is at most 0.5 below 0", lambda table: table.of("a", 0, "m"), "", margin=0.5)
        assert judge(study_of(dict, [statement]), table)[0].verdict == verdict

    def test_an_effect_of_zero_is_printed_as_zero(self):
        """The interquartile mean of differences that cancel is not exactly 0."""
        table = Table(rows_of({("a", 0.0): [0.1, 0.2, -0.3, 0.4, -0.4]}))
        found = judge(study_of(dict, [Statement("a > 0", lambda table: table.of("a", 0, "m"), "points")]), table)[0]
        assert 0 < abs(found.effect.value) < 1e-15
        assert str(found).startswith("0 [-0.") and str(found).endswith("] points")
        assert str(replace(found, effect=Estimate(1e-20, -1e-20, 2e-20))) == "1e-20 [-1e-20, 2e-20] points"

    @pytest.mark.slow
    def test_an_interrupted_study_goes_on_and_a_finished_one_trains_nothing(self, tmp_path):
        calls = []

        def trial(name, fails=False):
            calls.append(name)
            if fails:
                raise KeyboardInterrupt
            return rows_of({(name, 1.5): [1 / 3, -2e-9]})

        def trials(fails):
            return lambda settings: {name: partial(trial, name, fails and name == "b") for name in "abc"}

        with pytest.raises(KeyboardInterrupt):
            run_study(study_of(trials(True)), TINY, tmp_path)
        table = run_study(study_of(trials(False)), TINY, tmp_path)
        assert calls == ["a", "b", "b", "c"]
        again = run_study(study_of(trials(False)), TINY, tmp_path)
        assert calls == ["a", "b", "b", "c"] and again.rows == table.rows
        assert tuple(read_table(Measurement, tmp_path / "measurements.csv")) == table.rows
        np.testing.assert_array_equal(table.of("c", 1.5, "m"), [1 / 3, -2e-9])
        with pytest.raises(ValueError, match=r"`tau` is .*, here it is 0\.5"):
            run_study(study_of(trials(False)), replace(TINY, tau=0.5), tmp_path)
        with pytest.raises(ValueError, match=r"`study` is .*, here it is another"):
            run_study(replace(study_of(trials(False)), name="another"), TINY, tmp_path)

    def test_what_was_not_measured_is_asked_for_in_vain(self):
        with pytest.raises(ValueError, match="there is no measurement of 'm' for 'b'"):
            Table(rows_of({("a", 0.0): [1.0]})).of("b", 0, "m")

    @pytest.mark.parametrize("name", study_names())
    def test_the_stored_measurements_of_each_study_can_be_judged_and_drawn(self, name, tmp_path):
        study = study_named(name)
        assert study.name == name
        rows = read_table(Measurement, MEASURED / name / "measurements.csv")
        assert {row.seed for row in rows} == set(range(study.settings.seeds))
        shutil.copy(MEASURED / name / SETTINGS, tmp_path)
        # Refuses other settings than those of the measurements.
        record_settings({"study": name, **asdict(study.settings)}, tmp_path)
        text = report_text(study, Table(rows), judge(study, Table(rows)))
        assert all(statement.text in text for statement in study.statements)
        assert draw_study(study, Table(rows), tmp_path / "figure.png").stat().st_size > 0

    def test_another_name_is_refused(self):
        with pytest.raises(ValueError, match="a study must be one of backups"):
            study_named("alchemy")


def maze_pairs():
    where = checks(looks=1)
    return where.observation.reshape(-1, 2), where.action.reshape(-1, 2)


class StraightField(eqx.Module):
    """$v = c$, or with a pull $v = (y - z) / (1 - t)$, whose last step removes every error."""

    speed: jax.Array
    pull: bool = eqx.field(static=True)

    def encode(self, observation, action):
        return observation[0]

    def velocity(self, t, x, code):
        return (code - x) / (1 - t) if self.pull else jnp.broadcast_to(self.speed, x.shape)


@pytest.mark.slow
@pytest.mark.parametrize(("pull", "expected"), [(False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("size", [0.1, 1.0])
def test_a_constant_field_passes_a_perturbation_on_and_a_contracting_one_removes_it(pull, expected, size):
    fields = Ensemble.build(lambda key: StraightField(jax.random.normal(key), pull), 2, key=jax.random.key(0))
    critic = replace(agent_of(flow_agents(replace(TINY, seeds=1)), 0).critic, solver=Euler(4), fields=fields)
    errors = recovery.flow_errors(critic, maze_pairs(), jnp.asarray(3.7 * size))
    assert list(errors) == [0.0, 0.25, 0.5, 0.75]
    np.testing.assert_allclose(list(errors.values()), expected, atol=1e-3)


@pytest.mark.slow
def test_the_larger_critics_cost_as_much_as_floq():
    settings = replace(LabSettings(), seeds=1, transitions=100)
    data = jax.tree.map(lambda array: array[0], lab_data(settings))

    def flops(agents):
        agent = agent_of(agents, 0)

        def update(key):
            sample_key, update_key = jax.random.split(key)
            return jax.tree.leaves(agent.update(data.sample(sample_key, settings.batch_size), update_key)[1])

        return matrix_flops(update, jax.random.key(0))

    wanted = flops(capacity.BUILDERS["floq"](settings))
    costs = [flops(capacity.BUILDERS[arm](settings)) for arm in capacity.LARGER]
    assert 0.99 * wanted < min(costs) and max(costs) < 1.06 * wanted


@pytest.mark.slow
def test_one_linear_unit_passes_a_perturbation_on():
    build = partial(MLP, hidden=(1,), activation=lambda x: x)
    critic = MonolithicCritic(QEnsemble(2, 2, build=build, key=jax.random.key(0)))
    errors = recovery.monolithic_errors(critic, maze_pairs(), 0.3)
    assert list(errors) == [0.5]
    np.testing.assert_allclose(errors[0.5], 1.0, rtol=0.1)


@pytest.mark.parametrize(
    ("agents", "trained"), [(monolithic_agents, ()), (flow_agents, ()), (flow_agents, ("distilled",))]
)
@pytest.mark.slow
def test_frozen_features_stay_and_the_last_layers_go_on(agents, trained):
    def after(updates, frozen):
        optimiser = freeze_features_after(frozen, optax.adam(TINY.lr), except_for=trained)
        settings = replace(TINY, updates=updates)
        return train(agents(settings, optimiser=optimiser), lab_data(settings), settings).critic

    plain = replace(TINY, updates=2)
    unfrozen = train(agents(plain), lab_data(plain), plain).critic
    assert eqx.tree_equal(after(2, 2), unfrozen, rtol=1e-5, atol=1e-6)
    before, later = (eqx.filter(tree, eqx.is_inexact_array) for tree in (after(2, 2), after(4, 2)))
    changed = {}
    for (path, one), two in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(later), strict=True):
        changed[jax.tree_util.keystr(path)] = not np.array_equal(one, two)
    free = {
        path for path in changed if ".layers[1]." in path or path.startswith(tuple(f".{name}." for name in trained))
    }
    assert {path for path, different in changed.items() if different} == free


@pytest.mark.slow
def test_a_constant_network_has_one_direction_and_dormant_units():
    critic = agent_of(monolithic_agents(replace(TINY, seeds=1)), 0).critic
    layers = critic.networks.networks.members
    # The first unit of the second layer is never active, and nothing depends on the input.
    still = eqx.tree_at(
        lambda m: (m.stem.weight, m.layers[0].weight, m.layers[0].bias),
        layers,
        (
            jnp.zeros_like(layers.stem.weight),
            jnp.zeros_like(layers.layers[0].weight),
            jnp.broadcast_to(jnp.array([0.0, 1.0, 2.0, 3.0]), layers.layers[0].bias.shape),
        ),
    )
    still = eqx.tree_at(lambda m: m.stem.bias, still, jnp.ones_like(layers.stem.bias))
    critic = eqx.tree_at(lambda c: c.networks.networks.members, critic, still)
    rank, dormant = plasticity.inside(critic, checks(looks=1))
    assert float(rank) == 1 and float(dormant) == 0.125


class AcceleratingField(eqx.Module):
    """$v = 2 c t$, whose paths are $z_0 + c t^2$."""

    speed: jax.Array

    def encode(self, observation, action):
        return observation

    def velocity(self, t, x, code):
        return jnp.broadcast_to(2 * t * self.speed, x.shape)


@pytest.mark.slow
def test_the_curvature_is_that_of_the_known_paths(getkey):
    r"""$c^2 \int (2 t - 1)^2 dt = c^2 / 3$, less what 32 steps leave out; the mean over members."""
    fields = Ensemble.build(lambda key: AcceleratingField(jax.random.normal(key)), 2, key=getkey())
    critic = replace(agent_of(flow_agents(replace(TINY, seeds=1)), 0).critic, fields=fields)
    found = noise_interval.curvature(critic, checks(looks=1))
    steps = np.arange(32) / 32
    expected = np.mean(np.asarray(fields.members.speed) ** 2) * np.mean((2 * steps - np.mean(2 * steps)) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
