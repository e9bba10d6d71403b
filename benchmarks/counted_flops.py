"""The floating-point operations of a program's matrix products, counted from its trace."""

import math
from collections.abc import Callable

import jax
from jax.extend.core import jaxprs_in_params


def matrix_flops(function: Callable, *arguments) -> int:
    """Counts 2 for each multiply-add of every `dot_general`, loops included as often as they run.

    Only loops of known length (`scan`) may occur; element-wise work is not counted.
    """
    return count(jax.make_jaxpr(function)(*arguments).jaxpr)


def count(jaxpr) -> int:
    """The same for a jaxpr."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += product_flops(equation)
        if equation.primitive.name == "while":
            raise ValueError("a `while` loop has no known length, so its work cannot be counted")
        repeats = equation.params["length"] if equation.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(equation.params):
            total += repeats * count(inner)
    return total


def product_flops(equation) -> int:
    """2 x (size of the result) x (length of the contraction)."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
