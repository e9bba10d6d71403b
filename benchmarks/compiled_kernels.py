"""What the compiler makes of an update: its kernels, counted in the optimised program, loops as often as they run."""

import re
from collections import Counter
from dataclasses import dataclass


FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}
"""What is no work of its own when a program runs."""

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\([^\n]*\) -> [^\n]*)?\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = .*?[\]})] ?([a-z][\w\-]*)\((.*)$")
_FLOATS = re.compile(r"\b(?:f|bf)\d+\[")
_CALLED = re.compile(r"(?:to_apply|body|calls)=%?([\w.\-]+)")
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Kernels:
    """Kernels of one run of a program.

    - `by_kind`: How many of each: `dot`, alone or with what was fused to it, `random` (all that loops over integers alone
      consist of: a CPU draws random bits so), `fusion`, `copy` and so on.
    """

    by_kind: Counter[str]

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
    return Kernels(_count(bodies, entry))


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


def _count(bodies: dict[str, list[str]], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for line in bodies[name]:
        found = _INSTRUCTION.match(line)
        if found is None or found[1] in FREE:
            continue
        if found[1] in ("while", "call"):
            repeats = _repeats(line) if found[1] == "while" else 1
            random = _FLOATS.search(line.split(f" {found[1]}(")[0]) is None
            for kind, count in _count(bodies, _called(line)).items():
                total["random" if random else kind] += repeats * count
        else:
            total["dot" if _holds_product(bodies, line) else found[1]] += 1
    return total


def _holds_product(bodies: dict[str, list[str]], line: str) -> bool:
    return " fusion(" in line and any(" dot(" in inner for inner in bodies[_called(line)])


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
