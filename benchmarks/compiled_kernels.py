"""What the compiler makes of an update: its kernels and the bytes that they move, loops counted as often as they run.

    python benchmarks/compiled_kernels.py --depths 2 4
    python benchmarks/compiled_kernels.py --depths 4 --precision bfloat16 --target gpu

prints the kernels of each step of floq's update. The second command compiles for an H200 without needing one. It needs the
packages of JAX's CUDA plugin, in the version of jaxlib (`pip install --no-deps jax-cuda12-plugin jax-cuda12-pjrt`). Without a
GPU, XLA cannot time kernels, so it takes its default choices where it would otherwise autotune.
"""

import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from unittest import mock

import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))


FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}
"""What is no work of its own when a program runs."""

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\([^\n]*\) -> [^\n]*)?\{$")
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<shape>.*?[\]})]) ?(?P<kind>[a-z][\w\-]*)\((?P<operands>[^)]*)\)"
)
_NAME = re.compile(r"[\w.\-]+")
_ARRAY = re.compile(r"\b(pred|(?:s|u|f|bf)(\d+))\[([\d,]*)\]")
_FLOATS = re.compile(r"\b(?:f|bf)\d+\[")
_CALLED = re.compile(r"(?:to_apply|body|calls)=%?([\w.\-]+)")
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"\}')
_OPERATION = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Kernels:
    """Kernels of one run of a program.

    - `by_kind`: How many of each: `dot`, alone or with what was fused to it, `random` (all that loops over integers alone
      consist of: a CPU draws random bits so), `fusion`, `copy` and so on.
    - `by_operation`: How many of each JAX name, but for those that draw random bits; "" for those without one.
    - `moved`: The bytes that all of them read and write. An array of which a kernel reads a slice counts as a whole.
    """

    by_kind: Counter[str]
    by_operation: Counter[str]
    moved: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_kind.values())

    @property
    def without_random(self) -> int:
        """All but those that draw random bits, of which a CPU needs many and other devices few."""
        return self.total - self.by_kind["random"]


def kernels_of(text: str) -> Kernels:
    """Counts the kernels of a compiled program, `jax.stages.Compiled.as_text()`.

    A fusion is one kernel; what a `while` or a `call` contains is counted as often as it runs.

    **Raises** `ValueError` where a loop does not say how often it runs.
    """
    bodies, entry = _computations(text)
    by_kind, by_operation, moved = Counter[str](), Counter[str](), 0
    for kernel in _kernels(bodies, entry, 1, False):
        by_kind[kernel.kind] += kernel.times
        by_operation[kernel.operation] += kernel.times * (kernel.kind != "random")
        moved += kernel.times * kernel.moved
    return Kernels(by_kind, by_operation, moved)


@dataclass(frozen=True)
class _Kernel:
    kind: str
    operation: str
    times: int
    moved: int


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    bodies: dict[str, list[str]] = {}
    entry = current = ""
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            current = found[2]
            bodies[current] = []
            entry = current if found[1] else entry
        elif current:
            bodies[current].append(line)
    return bodies, entry


def _kernels(bodies: dict[str, list[str]], name: str, times: int, random: bool) -> Iterator[_Kernel]:
    shapes: dict[str, str] = {}
    for line in bodies[name]:
        found = _INSTRUCTION.match(line)
        if found is None:
            continue
        kind, shape = found["kind"], found["shape"]
        shapes[found["name"]] = shape
        if kind in ("while", "call"):
            repeats = _repeats(line) if kind == "while" else 1
            yield from _kernels(bodies, _called(line), times * repeats, random or not _FLOATS.search(shape))
        elif kind not in FREE:
            kind = "random" if random else "dot" if _holds_product(bodies, line) else kind
            operation = _OPERATION.search(line)
            read = sum(_bytes(shapes.get(operand, "")) for operand in _NAME.findall(found["operands"]))
            yield _Kernel(kind, operation[1] if operation else "", times, _bytes(shape) + read)


def _holds_product(bodies: dict[str, list[str]], line: str) -> bool:
    if " custom-call(" in line:
        return '"__cublas' in line
    return " fusion(" in line and any(" dot(" in inner for inner in bodies[_called(line)])


def _bytes(shape: str) -> int:
    """Of all arrays in a shape, but for the workspaces (s8) of products."""
    sizes = ((kind, int(bits or 8) // 8, dims) for kind, bits, dims in _ARRAY.findall(shape))
    return sum(size * math.prod(map(int, filter(None, dims.split(",")))) for kind, size, dims in sizes if kind != "s8")


def _called(line: str) -> str:
    found = _CALLED.search(line)
    if found is None:
        raise ValueError(f"this calls nothing: {line.strip()}")
    return found[1]


def _repeats(line: str) -> int:
    found = _TRIPS.search(line)
    if found is None:
        raise ValueError(f"a loop does not say how often it runs: {line.strip()[:200]}")
    return int(found[1])


@dataclass(frozen=True)
class Settings:
    """What is compiled."""

    depths: tuple[int, ...] = (2, 4)
    """Hidden layers of the flow critics."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the products."""
    seeds: int = 1
    """Seeds that are trained at once."""
    target: Literal["cpu", "gpu"] = "cpu"
    """The device that it is compiled for: this machine's CPU, or an H200."""


UPDATES = 10
"""Updates in the compiled call; what a call adds to them is divided among them."""

H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 150754820096
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 9 }
device_description_str: "NVIDIA H200"
"""
"""XLA's description of the device."""

GPU_FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false --xla_backend_optimization_level=0"
"""No kernel can be timed without a GPU, and none is run, so its machine code need not be fast."""


def compiled_update(settings: Settings, depth: int) -> str:
    """The text of floq's compiled update; neither parameters nor data are made for it."""
    import equinox as eqx
    import jax
    from jax.experimental import topologies

    from benchmarks.measured_update import CUBE, REWARDS, random_dataset
    from floqzoo.learner.scanned_update import ScannedUpdate
    from floqzoo.learner.seeds import build_agents, in_precision, update_keys
    from recipes.floq import FloqConfig, floq

    config = replace(FloqConfig(alpha=300.0), block_depth=depth)
    sizes = {"observation_dim": CUBE[0], "action_dim": CUBE[1]}

    def inputs():
        def build(key):
            return floq(**sizes, reward_range=REWARDS, config=config, key=key)

        agents = build_agents(in_precision(build, settings.precision), range(settings.seeds))
        return agents, random_dataset(100_000), update_keys(range(settings.seeds))

    sharding = None
    if settings.target == "gpu":
        gpu = topologies.get_topology_desc(platform="cuda", target_config=H200, topology="1x1x1").devices[0]
        sharding = jax.sharding.SingleDeviceSharding(gpu)
    with mock.patch.object(jax, "default_backend", return_value=settings.target):
        arrays, rest = eqx.partition(eqx.filter_eval_shape(inputs), lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
        agents, dataset, keys = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), arrays
        )
        return ScannedUpdate(rest[0], config.batch_size, UPDATES).compile(agents, dataset, keys, 0).as_text() or ""


def main(settings: Settings) -> None:
    """Compiles and counts."""
    from floqzoo.results.text_table import text_table
    from floqzoo.scopes import steps_of

    for depth in settings.depths:
        found = kernels_of(compiled_update(settings, depth))
        steps: Counter[str] = Counter()
        for operation, count in found.by_operation.items():
            steps[" / ".join(steps_of(operation)) or "unnamed"] += count
        rows = [[step, f"{count / UPDATES:.1f}"] for step, count in steps.most_common()]
        totals = {
            "all": found.without_random,
            "matrix products among these": found.by_kind["dot"],
            "random bits, in loops of their own": found.by_kind["random"],
        }
        rows += [[name, f"{count / UPDATES:.1f}"] for name, count in totals.items()]
        title = f"One update of floq, depth {depth}: {found.moved / UPDATES / 1e9:.2f} GB read and written"
        print(text_table(title, ["step", "kernels"], rows), end="")


if __name__ == "__main__":
    chosen = tyro.cli(Settings, description=__doc__)
    if chosen.target == "gpu":
        os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": GPU_FLAGS}
    main(chosen)
