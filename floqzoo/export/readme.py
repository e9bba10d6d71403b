"""Writes the README of an export: the policy, how to run it in each runtime, and the parity of the runtimes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from floqzoo.export.runtimes import TOLERANCE, Parity
from floqzoo.rollout.evaluation import RETURN, SUCCESS
from floqzoo.tasks.layouts import counted


ONNX = """import numpy as np, onnxruntime

policy = onnxruntime.InferenceSession("policy.onnx")
with np.load("example.npz") as file:
    example = dict(file)
inputs = {{name: example[name] for name in {inputs}}}
(action,) = policy.run(["action"], inputs)
assert np.abs(action - example["action"]).max() <= {tolerance}"""
TORCH = """import numpy as np, torch
from policy_torch import Policy

policy = Policy().load("weights.safetensors")
with np.load("example.npz") as file:
    example = dict(file)
with torch.inference_mode():
    action = policy(*(torch.from_numpy(example[name]) for name in {inputs}))
assert np.abs(action.numpy() - example["action"]).max() <= {tolerance}"""
JAX = """import jax.export, numpy as np, pathlib

policy = jax.export.deserialize(bytearray(pathlib.Path("policy.stablehlo").read_bytes()))
with np.load("example.npz") as file:
    example = dict(file)
action = policy.call(*(example[name] for name in {inputs}))
assert np.abs(action - example["action"]).max() <= {tolerance}"""
FLOQZOO = """import floqzoo, jax, jax.numpy as jnp, numpy as np

agent = floqzoo.load_agent(".")
with np.load("example.npz") as file:
    observation = jnp.asarray(file["observation"][0])
action = agent.act(observation, jax.random.key(0))"""


def readme_text(spec: Mapping[str, Any], parity: Sequence[Parity], *, hub: bool) -> str:
    """Returns the text of the README of an export.

    - `spec`: The contents of the export's `spec.json`.
    - `parity`: A comparison with JAX for each runtime.
    - `hub`: Whether the README begins with the metadata of a Hugging Face Hub model card.
    """
    inputs = json.dumps([each["name"] for each in spec["inputs"]])
    runtimes = [("ONNX Runtime", ONNX), ("PyTorch", TORCH), ("Plain JAX", JAX)]
    if spec["agent"] is not None:
        runtimes.append(("floqzoo, with the critic", FLOQZOO))
    tolerance = f"{TOLERANCE * np.abs(spec['outputs'][0]['range']).max():.1e}".replace(".0e", "e")
    code = {name: text.format(inputs=inputs, tolerance=tolerance) for name, text in runtimes}
    sections = [f"## {name}\n\n```python\n{text}\n```\n" for name, text in code.items()]
    return "\n".join([*([_card(spec)] if hub else []), _introduction(spec), *sections, _parity(spec, parity)])


def _introduction(spec: Mapping[str, Any]) -> str:
    action = spec["outputs"][0]
    low, high = map(_bound, action["range"])
    actions = action["units"]
    if action["units"] == "the environment's":
        actions = f"between {low} and {high} in the environment's units, to which they are scaled and clipped inside"
    title = f"{spec['method']} on {spec['environment']}" if spec["environment"] else "A policy"
    return f"""# {title}

A policy exported by floqzoo {spec["versions"]["floqzoo"]}, as one function in several runtimes; none of them needs floqzoo.
{_checkpoint(spec)}
{_table(("array", "shape", "meaning"), [(f"`{each['name']}`", _shape(each), each["meaning"]) for each in _arrays(spec)])}

n is the size of the batch; all arrays are float32. {_noise(spec)}{_chunks(spec)}{_normalisation(spec)}
Actions are {actions}.
`spec.json` describes inputs, outputs and files, `example.npz` holds inputs and outputs to test with. {_control(spec)}
"""


def _bound(bounds: Sequence[float]) -> str:
    numbers = [f"{bound:g}" for bound in bounds]
    return numbers[0] if len({*numbers}) == 1 else f"({', '.join(numbers)})"


def _checkpoint(spec: Mapping[str, Any]) -> str:
    if spec["step"] is None:
        return ""
    logged = ", ".join(
        f"{name} {value:.4g}"
        for name, value in (spec["metrics"] or {}).items()
        if name.startswith("evaluation/") and not name.endswith("_error")
    )
    metrics = f" The run logged for it: {logged}." if logged else ""
    return f"It is the {checkpoint(spec)}.{metrics}\n"


def _chunks(spec: Mapping[str, Any]) -> str:
    if spec["chunk_length"] is None:
        return ""
    return (
        f" An output is a chunk of {spec['chunk_length']} actions: take the first {spec['execution_horizon']} of them, one in "
        "each control step, and then call the policy again."
    )


def _normalisation(spec: Mapping[str, Any]) -> str:
    if spec["normalisation"] is None:
        return ""
    return " Observations are given as they are: the policy normalises them itself, by the numbers in `spec.json`."


def _arrays(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    critic = [] if spec["critic"] is None else spec["critic"]["outputs"]
    return [
        *spec["inputs"],
        *spec["outputs"],
        *({**each, "meaning": f"{each['meaning']}, of `critic.onnx`"} for each in critic),
    ]


def _shape(array: Mapping[str, Any]) -> str:
    return f"({', '.join(map(str, array['shape']))})"


def _noise(spec: Mapping[str, Any]) -> str:
    drawn = next((each["distribution"] for each in spec["inputs"] if "distribution" in each), None)
    if drawn is None:
        return "The policy is deterministic."
    if drawn["kind"] == "normal":
        how = (
            f"a normal distribution with mean {drawn['mean']:g} and standard deviation {drawn['standard_deviation']:g}"
        )
    else:
        how = f"the uniform distribution on [{drawn['low']:g}, {drawn['high']:g}]"
    return f"Draw new noise for every action, each number from {how}."


def _control(spec: Mapping[str, Any]) -> str:
    rate = spec["control_rate_hz"]
    return "" if rate is None else f"The policy was trained to act at {rate:g} Hz."


def _parity(spec: Mapping[str, Any], parity: Sequence[Parity]) -> str:
    rows = [(row.runtime, f"{row.golden:.1e}", f"{row.random:.1e}", f"{row.latency_ms:.3f}") for row in parity]
    text = (
        "## Parity\n\nThe largest difference from JAX, and the median time of one action on the CPU that exported it;\n"
    )
    text += "that of a critic is relative to its largest value, that of an action to its bounds.\n\n"
    text += _table(("runtime", "golden inputs", "random inputs", "latency (ms)"), rows) + "\n"
    if not any(row.runtime.startswith("PyTorch") for row in parity):
        text += "\nPyTorch was not installed, so its module was not compared.\n"
    played = spec["evaluation"]
    if played is not None:
        name = NAMES[played["metric"]].capitalize()
        error = f" (standard error {reached(played, 'standard_error')})" if played["standard_error"] is not None else ""
        text += (
            f"\n{name} in {counted(played['episodes'], 'episode')} with the same seeds: ONNX {reached(played, 'onnx')}, "
            f"JAX {reached(played, 'jax')}{error}.\n"
        )
    return text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _card(spec: Mapping[str, Any]) -> str:
    """The metadata of a model card, as YAML; JSON strings are valid YAML."""
    tags = ["reinforcement-learning", "offline-rl", "flow-matching", "jax", "onnx", spec["method"], spec["environment"]]
    lines = ["library_name: floqzoo", "pipeline_tag: reinforcement-learning", "tags:"]
    lines += [f"- {json.dumps(tag)}" for tag in tags if tag]
    played = spec["evaluation"]
    if played is not None:
        lines += [
            "model-index:",
            f"- name: {json.dumps(spec['method'])}",
            "  results:",
            "  - task:",
            "      type: reinforcement-learning",
            "    dataset:",
            f"      name: {json.dumps(spec['environment'])}",
            f"      type: {json.dumps(spec['environment'])}",
            "    metrics:",
            f"    - type: {'success_rate' if played['metric'] == SUCCESS else 'mean_return'}",
            f"      value: {played['jax']:.6g}",
        ]
    return "\n".join(["---", *lines, "---", ""])


def checkpoint(spec: Mapping[str, Any]) -> str:
    """Describes which checkpoint was exported, and how it was chosen."""
    reasons = {None: "", "step": "", "latest": ", the latest"}
    why = reasons.get(spec["chosen_by"], f", the best by {spec['chosen_by']}")
    return f"checkpoint of update {spec['step']:,}, seed {spec['seed']}{why}"


NAMES = {SUCCESS: "success", RETURN: "mean return"}


def reached(played: Mapping[str, Any], name: str) -> str:
    """Formats one result of an evaluation as text: a success rate in per cent, or a mean return."""
    return f"{100 * played[name]:.0f} %" if played["metric"] == SUCCESS else f"{played[name]:.4g}"
