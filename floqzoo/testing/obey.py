"""Checks a part against the laws of its protocols."""

import textwrap
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from hypothesis import Phase, Verbosity, given, settings, strategies as st

from floqzoo.flow.flow import Flow
from floqzoo.testing.examples import Example, Sizes, examples
from floqzoo.testing.laws import LAWS


Law = Callable[[Any, Example], None]


def assert_obeys(part: object, sizes: Sizes = Sizes()) -> None:
    """Checks a part against every law of every protocol that it satisfies.

    - `part`: Any object with the methods of a protocol of `floqzoo.protocols`.
    - `sizes`: The input sizes of the part, if they are fixed.

    **Raises** `TypeError` if the part satisfies no protocol, or is a `Flow`; `AssertionError` for the first violated
    law, with a message that contains the law, the part and a counter-example.
    """
    for law in laws_of(part):
        assert_holds(law, st.just(part), sizes)


def assert_holds(law: Law, parts: st.SearchStrategy, sizes: Sizes = Sizes()) -> None:
    """Checks one law on many examples, each with a part drawn from the strategy `parts`.

    The current Hypothesis profile sets the number of examples.

    **Raises** `AssertionError` if the law is violated; the message contains the law, the part and the simplest
    counter-example.
    """

    @settings(
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(part=parts, example=examples(sizes))
    def holds(part, example):
        try:
            law(part, example)
        except Exception as error:
            raise AssertionError(_verdict(law, part, example, error)) from error

    holds()


def laws_of(part: object) -> tuple[Law, ...]:
    """Returns the laws of the protocols that a part satisfies, and any additional laws of its class.

    **Raises** `TypeError` if the part satisfies no protocol, or is a `Flow`. In the first case, the message names the
    closest protocol and the methods of this protocol that the part lacks. In the second case, it names the parts of the
    flow, which must be checked separately.
    """
    if isinstance(part, Flow):
        raise TypeError(
            "`part` must satisfy a protocol; a Flow is built from parts: check its field, prior, path and solver."
        )
    kinds = [kind for kind in LAWS if isinstance(part, kind)]
    if not set(kinds) - {eqx.Module}:
        protocols = [kind for kind in LAWS if kind is not eqx.Module]
        lacks = {kind.__name__: [name for name in _methods(kind) if not hasattr(part, name)] for kind in protocols}
        nearest = min(lacks, key=lambda kind: len(lacks[kind]))
        raise TypeError(
            f"`part` must satisfy a protocol of floqzoo.protocols; got {type(part).__name__}. "
            f"The nearest is {nearest}, for which it lacks {', '.join(lacks[nearest])}."
        )
    return tuple(law for kind in kinds for law in LAWS[kind])


def _methods(kind: type) -> list[str]:
    return [name for name in {**vars(kind), **getattr(kind, "__annotations__", {})} if not name.startswith("_")]


def _verdict(law: Law, part: object, example: Example, error: Exception) -> str:
    statement = textwrap.indent(textwrap.dedent(law.__doc__ or "").strip(), "    ")
    problem = textwrap.indent(f"{type(error).__name__}: {str(error).strip()}", "    ")
    numbers = jax.tree.map(lambda leaf: leaf.item() if eqx.is_array_like(leaf) and np.size(leaf) == 1 else leaf, part)
    return f"{numbers} breaks the law {law.__name__}:\n\n{statement}\n\ncounter-example: {example}\n\n{problem}"
