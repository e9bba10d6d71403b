"""Suggestions for unknown names."""

import difflib
from collections.abc import Iterable


def require_known(problem: str, name: object, known: Iterable[str]) -> None:
    """Checks that a name is known.

    - `problem`: The beginning of the error message, such as "floq has no preset".

    **Raises** `ValueError` for an unknown name; the message suggests similar names, or lists all known names if none is
    similar.
    """
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the known names are {', '.join(known)}."
    raise ValueError(f"{problem} {name!r}; {hint}")
