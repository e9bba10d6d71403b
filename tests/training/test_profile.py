"""The steps of an update are named in its program, and a profile gives each kernel's time to its step."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.profiler import ProfileData

import floqzoo as fz
from benchmarks.measured_update import random_dataset
from floqzoo.learner import ScannedUpdate, build_agents, update_keys
from floqzoo.scopes import steps_of, update_step
from floqzoo.training.profile import OUTSIDE, kernel_events, module_of, operation_names, profile_run, step_times
from recipes.codac import CODACConfig, codac
from recipes.evor import EVORConfig, evor
from recipes.floq import FloqConfig, floq
from recipes.rebrac import ReBRACConfig, rebrac
from recipes.td2_cfm import TD2Config, td2_cfm
from recipes.value_flows import ValueFlowsConfig, value_flows


SHAPE = {"observation_dim": 4, "action_dim": 2, "reward_range": (-1.0, 0.0)}
SMALL_FLOQ = FloqConfig(
    alpha=3.0, block_width=8, block_depth=1, actor_hidden_dims=(8,), value_hidden_dims=(8,), noise_samples=2
)
GENERAL = {("sampling",), ("critic",), ("optimiser",), ("target_update",)}
OF_FQL_POLICY = {
    ("policy",),
    *(("policy", part) for part in ("flow_matching", "behaviour_integration", "distillation", "q")),
}
OF_FLOQ = OF_FQL_POLICY | {
    ("critic", part)
    for part in ("next_actions", "target_integration", "online_integration", "flow_matching", "distillation")
}
OF_REBRAC = {("policy",), ("critic", "targets"), ("policy", "q")}
SMALL = {"actor_hidden_dims": (8,), "value_hidden_dims": (8,)}
OF_RETURNS = {("critic", "target_integration"), ("critic", "flow_matching"), ("policy", "flow_matching")}
OF_VALUE_FLOWS = OF_RETURNS | {("critic", "next_actions"), ("critic", "confidence")}
OF_CODAC = OF_FQL_POLICY | {("critic", "targets"), ("critic", "conservative_term")}
OF_TD2 = {*(("critic", part) for part in ("targets", "flow_matching", "reward")), ("policy", "flow_matching")}


def compiled(build, config):
    agents = build_agents(lambda key: build(**SHAPE, config=config, key=key), [0])
    source = fz.UniformBatches(fz.NStep(next_action=True))
    scanned, dataset = ScannedUpdate(agents, 8, 2, source=source), random_dataset(100, (4, 2))
    return scanned.compile(scanned.arrays(agents), dataset, update_keys([0]), 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "config", "steps"),
    [
        (floq, SMALL_FLOQ, OF_FLOQ),
        (rebrac, ReBRACConfig(**SMALL), OF_REBRAC),
        (value_flows, ValueFlowsConfig(**SMALL, num_samples=2), OF_VALUE_FLOWS),
        (evor, EVORConfig(**SMALL, num_samples=2), OF_RETURNS),
        (codac, CODACConfig(**SMALL), OF_CODAC),
        (td2_cfm, TD2Config(network="mlp", hidden_dims=(8,)), OF_TD2),
    ],
)
def test_every_step_of_an_update_has_its_name_and_there_are_no_others(build, config, steps):
    found = {steps_of(name) for name in operation_names(compiled(build, config).as_text()).values()}
    assert found - {()} == GENERAL | steps


def test_a_derivative_belongs_to_the_step_that_it_is_of():
    def loss(x):
        with update_step("outer"):
            return jnp.sum(update_step("inner")(jnp.tanh)(x))

    text = jax.jit(jax.grad(loss)).lower(jnp.ones(300)).compile().as_text()
    assert {steps_of(name) for name in operation_names(text).values()} >= {("outer", "inner")}
    assert steps_of("jit(f)/transpose(jvp(step:critic))/step:flow_matching/step:critic/dot_general") == (
        "critic",
        "flow_matching",
    )
    assert steps_of("jit(footstep:)/while/body/mul") == ()


def test_a_name_changes_no_number():
    def plain(x):
        return jnp.sum(jnp.tanh(x) ** 2)

    lowered = [jax.jit(jax.grad(each)).lower(jnp.ones(3)) for each in (plain, update_step("all")(plain))]
    assert len({re.sub("jit_plain", "", each.as_text()) for each in lowered}) == 1


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A loop of seven products of one step and seven sines of another: its program, and its kernels in three runs."""
    folder = tmp_path_factory.mktemp("trace")

    def loop(x, _):
        with update_step("product"):
            y = x @ x
        with update_step("sine"):
            return jnp.sin(y), None

    program = jax.jit(lambda x: jax.lax.scan(loop, x, length=7)[0]).lower(jnp.ones((200, 200))).compile()
    with jax.profiler.trace(str(folder)):
        for _ in range(3):
            jax.block_until_ready(program(jnp.ones((200, 200))))
    (trace,) = folder.rglob("*.xplane.pb")
    data = ProfileData.from_file(str(trace))
    return program.as_text(), list(kernel_events(data, module_of(program.as_text())))


def test_kernels_of_a_loop_are_counted_as_often_as_they_run_and_the_loop_is_not(traced):
    text, events = traced
    times = {each.step: each for each in step_times(events, text, 3)}
    assert {"product", "sine"} <= set(times) <= {"product", "sine", OUTSIDE}
    assert times["product"].kernels % 7 == times["sine"].kernels % 7 == 0
    loops = {operation for operation, _ in events} - set(operation_names(text))
    assert any(operation.startswith("while") for operation in loops)
    expected = sum(seconds for operation, seconds in events if operation not in loops) / 3
    np.testing.assert_allclose(sum(each.seconds for each in times.values()), expected)
    assert all(each.seconds > 0 for each in times.values())
    assert [each.seconds for each in step_times(events, text, 3)] == sorted(
        (each.seconds for each in times.values()), reverse=True
    )


def test_kernels_of_another_program_do_not_count(traced):
    text, _ = traced
    assert step_times([("not_of_this_program", 1.0)], text, 1) == ()
    name = next(operation for operation, name in operation_names(text).items() if steps_of(name) == ("sine",))
    (only,) = step_times([(name, 3.0), (name, 1.0)], text, 2)
    assert (only.step, only.seconds, only.kernels) == ("sine", 2.0, 1.0)


OWN = Path(__file__).parents[1] / "tasks" / "own.py"


@pytest.mark.slow
def test_a_run_is_profiled_and_stays_as_it_is(tmp_path, monkeypatch, capsys):
    from floqzoo import command_line
    from floqzoo.training import run_recipe
    from recipes.fql import RECIPE

    words = {"preset": "quickstart", "task": f"{OWN}:push", "offline_steps": 4, "log_interval": 2, "eval_episodes": 0}
    words |= {
        "agent.batch_size": 8,
        "agent.actor_hidden_dims": 8,
        "agent.value_hidden_dims": 8,
        "save_dir": tmp_path / "exp",
    }
    monkeypatch.setattr(
        "sys.argv", ["fql.py", *(word for pair in words.items() for word in (f"--{pair[0]}", str(pair[1])))]
    )
    run_recipe(RECIPE)
    (flags,) = tmp_path.glob("exp/floqzoo/*/*/flags.json")
    before = {file: file.read_bytes() for file in flags.parent.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match="`updates` must be at least 1; got 0"):
        profile_run(flags.parent, tmp_path / "out", updates=0)
    capsys.readouterr()
    monkeypatch.setattr(
        "sys.argv",
        ["floqzoo", "profile", str(flags.parent), f"--out={tmp_path / 'out'}", "--updates=5", f"--task={OWN}:push"],
    )
    command_line.main()
    out = capsys.readouterr().out
    assert "the mean of 6" in out  # Three calls of two updates.
    for step in ("sampling", "critic / targets", "policy / q", "optimiser"):
        assert step in out
    assert {file: file.read_bytes() for file in flags.parent.rglob("*") if file.is_file()} == before
