"""The folder of an export: complete, true to its description, and read back without executing any of it."""

import json
import re
import shutil
from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stored_arrays import arrays_of

import floqzoo as fz
from floqzoo.export import ParityError, export_policy, load_exported_agent
from floqzoo.export.runtimes import compare, has_torch
from floqzoo.networks.precision import with_compute_dtype
from floqzoo.records import ActorCritic
from floqzoo.runs import DamagedError, find_recipe
from floqzoo.tasks.files import sha256_of
from recipes.ifql import ifql


BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def agent():
    """A small agent of IFQL: best-of-N over a flow, with its critic."""
    return ifql(observation_dim=3, action_dim=2, reward_range=(-1.0, 0.0), config=settings(), key=jax.random.key(0))


def settings():
    return replace(
        find_recipe("ifql").presets["quickstart"](None).agent,
        actor_hidden_dims=(8, 8),
        value_hidden_dims=(8, 8),
        num_samples=4,
    )


@pytest.fixture(scope="module")
def exported(agent, tmp_path_factory):
    observations = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    facts = {
        "method": "ifql",
        "environment": "cube-single-play-singletask-task1-v0",
        "control_rate_hz": 20.0,
        "agent": json.loads(
            json.dumps(
                {
                    "recipe": "ifql",
                    "env_name": "cube-single-play-singletask-task1-v0",
                    "precision": "float32",
                    "agent": asdict(settings()),
                    "observation_dim": 3,
                    "action_dim": 2,
                    "reward_range": (-1.0, 0.0),
                }
            )
        ),
    }
    out = tmp_path_factory.mktemp("export") / "folder"
    return export_policy(agent, out, observations=observations, critic=True, hub_layout=True, facts=facts)


def test_every_file_is_there_and_has_its_hash(exported):
    spec = json.loads((exported.folder / "spec.json").read_text())
    assert spec["files"] == {
        path.name: sha256_of(path) for path in exported.folder.iterdir() if path.name != "spec.json"
    }
    assert {"policy.onnx", "critic.onnx", "policy.stablehlo", "policy_torch.py", "weights.safetensors"} < spec[
        "files"
    ].keys()
    assert not list(exported.folder.parent.glob(".*"))  # nothing half written is left


def test_the_example_has_the_shapes_and_ranges_of_the_spec(exported, agent):
    example = arrays_of(exported.folder / "example.npz")
    critic = exported.spec["critic"]
    arrays = [*exported.spec["inputs"], *exported.spec["outputs"], *critic["outputs"]]
    assert [each["name"] for each in arrays] == ["observation", "noise", "action", "value"] == list(example)
    assert [each["name"] for each in critic["inputs"]] == ["observation", "action"]
    for each in arrays:
        assert ["n", *example[each["name"]].shape[1:]] == each["shape"]
        assert example[each["name"]].dtype == each["dtype"]
        low, high = each.get("range") or (-np.inf, np.inf)
        assert (example[each["name"]] >= low).all() and (example[each["name"]] <= high).all()
    for observation, noise, action in zip(example["observation"], example["noise"], example["action"], strict=True):
        wanted = agent.policy.act_from_noise(jnp.asarray(observation), agent.critic, jnp.asarray(noise))
        np.testing.assert_allclose(action, wanted, atol=1e-6)


def test_the_code_of_the_readme_runs_in_every_runtime(exported, monkeypatch):
    monkeypatch.chdir(exported.folder)
    monkeypatch.syspath_prepend(str(exported.folder))
    text = (exported.folder / "README.md").read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == 4
    for block in blocks:
        assert len(block.splitlines()) <= 10
        code = compile(block, "README.md", "exec")
        if has_torch() or "torch" not in block:
            exec(code, {})
    assert text.startswith("---\nlibrary_name: floqzoo\n")
    assert ("PyTorch was not installed" in text) != has_torch()


def test_the_module_refuses_weights_that_are_not_its_own(exported, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    scope = {}
    exec((exported.folder / "policy_torch.py").read_text(), scope)
    state = load_file(exported.folder / "weights.safetensors")
    name = sorted(state)[0]
    for wrong in (
        {key: value for key, value in state.items() if key != name},
        state | {"another": torch.ones(1)},
        state | {name: torch.ones(1)},
    ):
        save_file(wrong, tmp_path / "wrong.safetensors")
        with pytest.raises(RuntimeError):
            scope["Policy"]().load(tmp_path / "wrong.safetensors")


def test_the_agent_is_read_back_bit_for_bit(exported, agent):
    again = load_exported_agent(exported.folder)
    observation = jnp.array([0.5, -1.0, 2.0])
    for seed in range(5):
        wanted = agent.act(observation, jax.random.key(seed))
        np.testing.assert_array_equal(again.act(observation, jax.random.key(seed)), wanted)
    assert jax.tree.structure(again) == jax.tree.structure(agent.parts)


def test_a_folder_that_was_changed_is_refused(exported, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(exported.folder, changed)
    content = bytearray((changed / "agent.safetensors").read_bytes())
    content[-1] ^= 1
    (changed / "agent.safetensors").write_bytes(content)
    with pytest.raises(DamagedError, match=r"agent\.safetensors"):
        load_exported_agent(changed)
    (changed / "agent.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"agent\.safetensors"):
        load_exported_agent(changed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recipe": "os"}, "no recipe 'os'"),
        ({"observation_dim": 4}, "belongs to another agent"),
        ({"observation_dim": "3"}, "observation_dim"),
        ({"agent": {"__class__": "x"}}, "agent"),
    ],
)
def test_settings_that_do_not_fit_are_refused(exported, tmp_path, change, reason):
    changed = tmp_path / "changed"
    shutil.copytree(exported.folder, changed)
    spec = json.loads((changed / "spec.json").read_text())
    spec["agent"] |= change
    (changed / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match=reason):
        load_exported_agent(changed)


def test_an_agent_trained_in_bfloat16_is_exported_as_it_is_evaluated(agent, exported, tmp_path):
    """In float32, so that its actions are those of the same weights in float32."""
    observations = arrays_of(exported.folder / "example.npz")["observation"]
    half = with_compute_dtype(agent, jnp.bfloat16)
    again = export_policy(half, tmp_path / "out", observations=observations, critic=True)
    for name, wanted in arrays_of(exported.folder / "example.npz").items():
        np.testing.assert_array_equal(arrays_of(again.folder / "example.npz")[name], wanted)


def test_a_folder_with_files_is_not_written_to(agent, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ValueError, match="new or empty"):
        export_policy(agent, tmp_path, observations=np.zeros((2, 3), np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_is_refused_leaves_nothing(tmp_path):
    actor = ActorCritic(None, fz.FunctionPolicy(lambda observation: observation))
    with pytest.raises(ValueError, match="FunctionPolicy"):
        export_policy(actor, tmp_path / "out", observations=np.zeros((2, 3), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_differs_is_an_error():
    rows = {"observation": np.linspace(-1, 1, 8, dtype=np.float32)[:, None]}
    for error, raises in ((9e-6, False), (2e-5, True), (np.nan, True)):
        wrong = lambda x, error=error: x + np.where(x == x.max(), np.float32(error), 0)  # noqa: E731
        if raises:
            with pytest.raises(ParityError, match="nothing was exported"):
                compare("wrong", wrong, lambda x: x, rows, rows)
        else:
            assert 0 < compare("right", wrong, lambda x: x, rows, rows).golden <= 1e-5


def test_only_ties_are_left_out_of_the_differences():
    rows = {"observation": np.arange(4, dtype=np.float32)[:, None]}
    wrong = lambda x: x + (x == 2)  # noqa: E731
    parity = compare("tied", wrong, lambda x: x, rows, rows, tied=lambda x, found, wanted: x[:, 0] == 2)
    assert (parity.ties, parity.golden, parity.random) == (2, 0, 0)
    with pytest.raises(ParityError):
        compare("not tied", wrong, lambda x: x, rows, rows, tied=lambda x, found, wanted: x[:, 0] == 1)


def test_differences_are_relative_to_the_size_of_each_coordinate():
    rows = {"observation": np.full((3, 2), 100, np.float32)}
    wrong = lambda x: x + np.array([5e-4, 0], np.float32)  # noqa: E731
    parity = compare("within", wrong, lambda x: x, rows, rows, size=np.array([100.0, 1.0]))
    np.testing.assert_allclose(parity.golden, 5e-6, rtol=0.05)
    with pytest.raises(ParityError):
        compare("beyond", wrong, lambda x: x, rows, rows, size=np.array([1.0, 100.0]))
