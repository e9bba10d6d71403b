"""Describes an export: its inputs and outputs, the run that it comes from, and the versions of the software."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import numpy as np

from floqzoo._version import __version__
from floqzoo.export.action_units import ActionUnits
from floqzoo.export.agent_files import FORMAT
from floqzoo.export.onnx_graph import OPSET
from floqzoo.export.policy_function import Arrays, distribution_of
from floqzoo.export.program import Program
from floqzoo.export.runtimes import has_torch
from floqzoo.records import ActorCritic


COMPATIBILITY = (
    "JAX reads files of jax.export for at least six months after they were written, and a file can be read by a JAX that is up "
    "to three weeks older than the one that wrote it: docs.jax.dev/en/latest/export/export.html#compatibility-guarantees"
)
FACTS = ("method", "environment", "seed", "step", "chosen_by", "metrics", "control_rate_hz", "agent")
"""The entries of `spec.json` that the caller may pass, because they cannot be derived from the agent's arrays."""


def spec_of(
    actor: ActorCritic,
    units: ActionUnits,
    program: Program,
    example: Arrays,
    facts: Mapping[str, Any],
    evaluation: dict[str, Any] | None,
) -> dict[str, Any]:
    """Returns the contents of `spec.json`, except the hashes of the files.

    - `actor`: The policy, the critic and the normaliser.
    - `units`: The units of the policy's actions.
    - `program`: The exported program.
    - `example`: Example inputs and outputs by name; `value` is included only if the critic is exported.
    - `facts`: The values of the entries in `FACTS`; missing entries are null.
    - `evaluation`: The results of the policy in ONNX Runtime and in JAX; None if no episodes were played.

    **Raises** `ValueError` if `facts` contains a name that is not in `FACTS`.
    """
    policy = actor.policy
    unknown = [name for name in facts if name not in FACTS]
    if unknown:
        raise ValueError(f"`facts` must be among {', '.join(FACTS)}; got {unknown[0]}.")
    arrays = _described(policy, units, example)
    packages = ("jax", "jaxlib", "onnx", "onnxruntime", "safetensors", *(("torch",) if has_torch() else ()))
    return {
        "format": FORMAT,
        **{name: facts.get(name) for name in FACTS},
        "inputs": [arrays[value.name] for value in program.inputs],
        "outputs": [arrays["action"]],
        "normalisation": _normalisation(actor, example["observation"].shape[1]),
        "chunk_length": units.chunk_length,
        "execution_horizon": None if units.chunk_length is None else policy.execution_horizon,
        "critic": {"inputs": [arrays["observation"], arrays["action"]], "outputs": [arrays["value"]]}
        if "value" in arrays
        else None,
        "evaluation": evaluation,
        "policy": type(policy).__name__,
        "operations": len(program.steps),
        "onnx": {"opset": OPSET},
        "stablehlo": {"platforms": ["cpu", "cuda"], "compatibility": COMPATIBILITY},
        "versions": {"floqzoo": __version__} | {name: importlib.metadata.version(name) for name in packages},
    }


def _normalisation(actor: ActorCritic, dim: int) -> dict[str, Any] | None:
    """The normalisation inside the program; None if there is none."""
    if actor.normaliser is None:
        return None
    numbers = {name: getattr(actor.normaliser, name).value for name in ("mean", "scale")}
    return {
        "meaning": "(observation - mean) / scale, inside the program",
        **{name: np.broadcast_to(np.asarray(value), dim).tolist() for name, value in numbers.items()},
    }


def _described(policy: Any, units: ActionUnits, example: Arrays) -> dict[str, dict[str, Any]]:
    """The description of each array of the example, by the array's name."""
    chunk = "" if units.chunk_length is None else ", a row for each step of a chunk"
    more: dict[str, dict[str, Any]] = {
        "observation": {"meaning": "as the environment gives it", "units": "the environment's", "range": None},
        "action": {
            "meaning": f"{'for the environment as it is' if units.known else 'as the policy draws it'}{chunk}",
            "units": "the environment's" if units.known else "scaled to [-1, 1]",
            "range": [units.low.tolist(), units.high.tolist()],
        },
        "value": {"meaning": "the critic's score", "units": "a sum of discounted rewards", "range": None},
    }
    if "noise" in example:
        drawn = distribution_of(policy.noise_prior)
        bounds = [drawn["low"], drawn["high"]] if drawn["kind"] == "uniform" else None
        meaning = f"newly drawn for each {'chunk' if chunk else 'action'}"
        more["noise"] = {"meaning": meaning, "units": "none", "range": bounds, "distribution": drawn}
    return {
        name: {"name": name, "shape": ["n", *array.shape[1:]], "dtype": str(array.dtype), **more[name]}
        for name, array in example.items()
    }
