"""Runs an exported function in each runtime, and compares the results with JAX."""

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
"""The largest allowed difference from JAX, relative to the scale of the output; all runtimes compute in float32."""
CALLS = 200
"""The number of calls that are timed to measure the latency, which is their median time."""

Runtime = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Parity:
    """The result of comparing a runtime with JAX.

    - `runtime`: The name and version of the runtime.
    - `golden`: The largest difference on the golden inputs. For an action, it is relative to the largest possible
      absolute value of each coordinate, which is 1 for actions in [-1, 1]. For a critic, it is relative to the largest
      absolute score on these inputs, or to 1 if all scores are smaller.
    - `random`: The largest relative difference on the random inputs.
    - `ties`: The number of rows in which a best-of-N policy chose a different candidate than in JAX, because two scores
      are equal up to rounding. These rows are excluded from the differences.
    - `latency_ms`: The median time of a call with one observation, in milliseconds, on a CPU of the exporting machine.
    """

    runtime: str
    golden: float
    random: float
    ties: int
    latency_ms: float

    def record(self) -> dict[str, Any]:
        """Returns the fields as a dictionary."""
        return asdict(self)


class ParityError(ValueError):
    """Raised if the results of a runtime differ from the results in JAX by more than `TOLERANCE`."""


def onnx_runtime(path: Path) -> Runtime:
    """Loads an ONNX file, and returns a function of NumPy arrays that runs it in ONNX Runtime on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *inputs: np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])


def stablehlo_runtime(path: Path) -> Runtime:
    """Loads a function that was serialised with `jax.export`, and returns it as a function of NumPy arrays."""
    call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    return lambda *inputs: np.asarray(call(*inputs))


def torch_runtime(source: Path, weights: Path) -> Runtime:
    """Loads a generated PyTorch module with its weights on the CPU, and returns it as a function of NumPy arrays."""
    import torch  # pyright: ignore[reportMissingImports]

    scope: dict[str, Any] = {}
    exec(compile(source.read_text(), source, "exec"), scope)  # which this process has just written
    policy = scope["Policy"]().load(weights)

    def run(*inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return policy(*map(torch.tensor, inputs)).numpy()

    return run


def has_torch() -> bool:
    """Returns whether PyTorch is installed."""
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
    """Compares an exported function in a runtime with the same function in JAX.

    - `name`: The name and version of the runtime.
    - `runtime`, `reference`: The function in the runtime, and the function in JAX.
    - `golden`, `random`: The golden inputs and the random inputs, by name.
    - `size`: The scale by which differences are divided: a single number, or a number for each coordinate of the
      output.
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
    """Measures the median time of a call to `runtime` with these inputs, in milliseconds."""
    inputs, times = list(inputs), []
    for _ in range(CALLS):
        start = time.perf_counter()
        np.asarray(runtime(*inputs))
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)
