"""Runs the exported function in each runtime, and compares it with JAX."""

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np


TOLERANCE = 1e-5
"""The largest allowed difference from JAX, relative to the size of the output; all runtimes compute in float32."""
CALLS = 200
"""The number of calls whose median time is the latency."""

Runtime = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Parity:
    """The comparison of a runtime with JAX.

    - `runtime`: The name and version of the runtime.
    - `golden`: The largest difference on the golden inputs, relative to the largest possible absolute value of each
      coordinate of an action, which is 1 for actions in [-1, 1]; for a critic, relative to the larger of 1 and
      its largest absolute score on these inputs.
    - `random`: The largest relative difference on random inputs.
    - `ties`: The number of rows in which a best-of-N policy chose another candidate than in JAX, because two scores are
      equal up to rounding; these rows are left out of the differences.
    - `latency_ms`: The median time of a call with one observation on this CPU, in milliseconds.
    """

    runtime: str
    golden: float
    random: float
    ties: int
    latency_ms: float

    def record(self) -> dict[str, Any]:
        """The fields as a dictionary."""
        return asdict(self)


class ParityError(ValueError):
    """The results of a runtime differ from those of JAX."""


def onnx_runtime(path: Path) -> Runtime:
    """Loads an ONNX file into ONNX Runtime, on one CPU thread; returns it as a function of NumPy arrays."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *inputs: np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])


def stablehlo_runtime(path: Path) -> Runtime:
    """Loads a function that was serialised by `jax.export`; returns it as a function of NumPy arrays."""
    call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    return lambda *inputs: np.asarray(call(*inputs))


def torch_runtime(source: Path, weights: Path) -> Runtime:
    """Loads a generated PyTorch module and its weights, on the CPU; returns it as a function of NumPy arrays."""
    import torch  # pyright: ignore[reportMissingImports]

    scope: dict[str, Any] = {}
    exec(compile(source.read_text(), source, "exec"), scope)  # which this process has just written
    policy = scope["Policy"]().load(weights)

    def run(*inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return policy(*map(torch.tensor, inputs)).numpy()

    return run


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def compare(
    name: str,
    runtime: Runtime,
    reference: Runtime,
    golden: Mapping[str, np.ndarray],
    random: Mapping[str, np.ndarray],
    *,
    size: float | np.ndarray = 1.0,
    tied: Callable[..., np.ndarray] | None = None,
) -> Parity:
    """Compares a runtime with JAX.

    - `name`: The name and version of the runtime.
    - `runtime`, `reference`: The function in the runtime and in JAX.
    - `golden`, `random`: Inputs by name.
    - `size`: The scale by which differences are divided: a number, or one for each coordinate of the output.
    - `tied`: A function `tied(observations, runtime_actions, jax_actions)` that returns a Boolean mask of the rows in
      which both actions have the same score, up to rounding. Such rows are excluded if their actions differ by more
      than `TOLERANCE`.

    **Raises** `ParityError` if a difference is NaN or above `TOLERANCE`.
    """
    differences, ties = [], 0
    for inputs in (golden, random):
        found, wanted = runtime(*inputs.values()), np.asarray(reference(*inputs.values()))
        rows = (np.abs(found - wanted) / size).reshape(len(wanted), -1).max(axis=1)
        if tied is not None and (rows > TOLERANCE).any():
            left_out = (rows > TOLERANCE) & tied(inputs["observation"], found, wanted)
            ties, rows = ties + int(left_out.sum()), np.where(left_out, 0, rows)
        differences.append(float(rows.max()))
    largest = np.max(differences)  # NaN if one of them is
    if not largest <= TOLERANCE:
        raise ParityError(f"{name} differs from JAX by {largest:.1e}, more than {TOLERANCE:.0e}: nothing was exported.")
    golden_difference, random_difference = differences
    return Parity(
        name, golden_difference, random_difference, ties, latency(runtime, [array[:1] for array in golden.values()])
    )


def latency(runtime: Runtime, inputs: Iterable[np.ndarray]) -> float:
    """The median time of a call, in milliseconds."""
    inputs, times = list(inputs), []
    for _ in range(CALLS):
        start = time.perf_counter()
        np.asarray(runtime(*inputs))
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)
