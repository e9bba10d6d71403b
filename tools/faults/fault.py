"""What a fault is, and how the tests that ought to catch it are named."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault: a text that is replaced by another.

    - `name`: What is wrong.
    - `file`: Where, from the root of the repository.
    - `sound`, `faulty`: A text that occurs once in that file, and what takes its place.
    - `tests`: Arguments of pytest: as few as ought to notice, so that a fault costs seconds.
    """

    name: str
    file: str
    sound: str
    faulty: str
    tests: tuple[str, ...]


def law(name: str, member: str) -> str:
    """The test of one law on one member of its family, such as `law("ends_at_its_data", "LinearPath-0")`."""
    return f"tests/laws/test_families.py::test_a_member_keeps_a_law[{name}-{member}]"
