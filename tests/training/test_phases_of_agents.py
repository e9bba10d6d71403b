"""Phases of an agent in a run: the trainer knows where they end, and a run that stops in any of them resumes in it."""

import math
import shutil
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st
from toy_run import ToyConfig, build_toy, toy_config, toy_state, toy_task

import floqzoo as fz
from floqzoo.learner import build_agents
from floqzoo.results.plot import draw
from floqzoo.results.series import gather
from floqzoo.runs import StoredRun, read_metrics, restore_checkpoint
from floqzoo.runs.run_directory import record_data, record_flags, record_machine
from floqzoo.training import plot_learning_curve, train
from floqzoo.training.phases import phase_starts, updates_in_a_call


FIRST = 7


def standing(policy, batch, agent, key):
    """A loss without a gradient, which reads no reward."""
    return jnp.zeros(()), {"stood": jnp.sum(batch.action) * 0 + 1}


def phased_update():
    return fz.PhasedUpdate(
        fz.Phase("standing", fz.JointUpdate(optax.sgd(0.1), policy_loss=standing), FIRST),
        fz.Phase("walking", fz.JointUpdate(optax.sgd(0.1))),
    )


def build(key):
    toy = build_toy(observation_dim=2, action_dim=1, reward_range=(-1.0, 0.0), config=ToyConfig(), key=key)
    return fz.Agent(critic=toy.critic, policy=toy.policy, update_rule=phased_update())


def trained(directory, *, resumed=False, **changes):
    config = toy_config(offline_steps=16, seeds=2, **changes)
    if not resumed:
        directory.mkdir()
        record_flags(directory, "toy", config)
        record_data(directory, toy_task())
        record_machine(directory)
    return train(build, toy_task(), config, directory, resumed=resumed)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    return trained(directory), directory


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))]


@pytest.mark.slow
def test_a_phase_ends_with_a_row_a_checkpoint_and_an_evaluation(whole):
    """At 7, which is a multiple of no interval; no row mixes the metrics of two phases."""
    _, directory = whole
    train_rows, evaluations = (read_metrics(directory / name) for name in ("train.csv", "eval.csv"))
    assert sorted(set(train_rows["step"])) == [7, 10, 16]
    assert set(evaluations["step"]) >= {7, 10, 16}
    before = train_rows["step"] <= FIRST
    assert np.all(train_rows["training/actor/stood"][before] == 1)
    assert np.isnan(train_rows["training/actor/stood"][~before]).all()
    others = {name for name in train_rows if name.startswith("training/actor/")} - {"training/actor/stood"}
    assert others and all(np.isnan(train_rows[name]).tolist() == before.tolist() for name in others)
    assert StoredRun(directory).checkpoint_steps == [7, 10, 16]


@pytest.mark.slow
def test_the_first_phase_has_the_losses_of_the_first_phase(whole):
    """The policy stands for 7 updates and walks afterwards."""
    _, directory = whole
    policies = {
        step: restore_checkpoint(StoredRun(directory).checkpoints, state(), step).tree.agents.policy for step in (7, 10)
    }
    untrained = state().agents.policy
    assert all(np.array_equal(a, b) for a, b in zip(leaves(policies[7]), leaves(untrained), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(leaves(policies[10]), leaves(untrained), strict=True))


def state():
    """The untrained agents of the run."""
    return replace(toy_state(0, 1), agents=build_agents(build, (0, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, FIRST, 11])
def test_a_run_resumes_in_its_phase(whole, tmp_path, stop):
    """Stopped in the first phase, between both, or in the second one: the result is bitwise that of one run."""
    result, _ = whole
    trained(tmp_path / "run", save_interval=stop, log_interval=stop, eval_interval=stop)
    checkpoints = StoredRun(tmp_path / "run").checkpoints
    for step in StoredRun(tmp_path / "run").checkpoint_steps:
        if step > stop:
            shutil.rmtree(next(checkpoints.glob(f"*{step}*")))
    again = trained(tmp_path / "run", resumed=True)
    for one, other in zip(jax.tree.leaves(result.agents), jax.tree.leaves(again.agents), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.slow
def test_figures_mark_the_start_of_a_phase(whole):
    _, directory = whole
    assert StoredRun(directory).phases == {"standing": 0, "walking": FIRST}
    gathered = gather([StoredRun(directory)], "evaluation/success")
    axes = draw(gathered, "evaluation/success").axes[0]
    verticals = {line.get_label(): list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2}
    assert [7, 7] in verticals.values()
    assert any("walking" in label for label in verticals)
    assert plot_learning_curve(directory, "phases").read_bytes().startswith(b"\x89PNG")


@given(
    updates=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    earlier=st.integers(0, 20),
    step=st.integers(0, 10),
    offline=st.integers(1, 20),
)
def test_the_phases_of_a_run_are_those_of_its_updates(updates, earlier, step, offline):
    """The start of a phase is the first step of the run whose update is in it; earlier updates are those of another run."""
    names = [f"phase {index}" for index in range(len(updates) + 1)]
    rule = fz.JointUpdate(optax.sgd(0.1))
    phases = [fz.Phase(name, rule, number) for name, number in zip(names, updates, strict=False)]
    agent = fz.Agent(
        critic=fz.NullCritic(),
        policy=fz.FunctionPolicy(lambda s: s),
        update_rule=fz.PhasedUpdate(*phases, fz.Phase(names[-1], rule)),
    )
    agent = eqx.tree_at(lambda agent: agent.step, agent, jnp.asarray(earlier + step, jnp.int32))
    bounds = [*np.cumsum(updates), math.inf]
    of_step = [
        next(name for name, bound in zip(names, bounds, strict=True) if earlier + s < bound) for s in range(offline)
    ]
    wanted = {name: of_step.index(name) for name in dict.fromkeys(of_step)}
    assert phase_starts(agent, step, offline) == wanted


def test_an_agent_without_phases_has_none():
    agent = fz.Agent(critic=fz.NullCritic(), policy=fz.FunctionPolicy(lambda s: s))
    assert agent.phase_starts == {} == phase_starts(agent, 0, 10)


@given(start=st.integers(1, 60))
def test_no_call_runs_past_the_start_of_a_phase(start):
    config = toy_config(offline_steps=60, log_interval=20, eval_interval=30, save_interval=60)
    assert start % updates_in_a_call(config, 0, 10, starts=[start]) == 0


@pytest.mark.parametrize(
    ("phases", "error"),
    [
        (lambda rule: (), r"`phases` must be one or more phases with different names; got \[\]"),
        (lambda rule: (fz.Phase("a", rule, 1), fz.Phase("a", rule)), "with different names; got"),
        (lambda rule: (fz.Phase("a", rule), fz.Phase("b", rule)), "`updates` of the phase 'a', which is not the last"),
        (lambda rule: (fz.Phase("", rule),), "`name` must not be empty"),
        (lambda rule: (fz.Phase("a", rule, -1),), "`updates` must be at least 0, or None; got -1"),
    ],
)
def test_phases_that_cannot_be_meant_are_refused(phases, error):
    with pytest.raises(ValueError, match=error):
        fz.PhasedUpdate(*phases(fz.JointUpdate()))


def test_phases_share_one_state_of_the_optimisers():
    rules = fz.JointUpdate(optax.adam(0.1)), fz.JointUpdate(optax.sgd(0.1))
    update = fz.PhasedUpdate(*(fz.Phase(name, rule, 1) for name, rule in zip("ab", rules, strict=True)))
    with pytest.raises(
        ValueError, match="the optimisers of the phases 'a' and 'b' must have states of the same structure"
    ):
        fz.Agent(critic=fz.NullCritic(), policy=build(jax.random.key(0)).policy, update_rule=update)
