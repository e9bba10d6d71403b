"""Converts a JAX function to a flat list of array operations, which can be translated to other runtimes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend import core
from jaxtyping import PyTree

from floqzoo.learner.pytree_utils import named_leaves


BATCH = "n"
"""The name of the batch axis in shapes."""


class NotExportableError(ValueError):
    """Raised if a policy or critic cannot be exported, for example if it uses an operation that a runtime lacks."""


@dataclass(frozen=True)
class Value:
    """An array in a program, of which only the name, shape and dtype are known.

    - `name`: A valid identifier, which is unique in the program.
    - `shape`: The size of each axis; sizes that depend on the batch are symbolic.
    - `dtype`: The NumPy dtype.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class Step:
    """One operation of a program.

    - `operation`: The name of a JAX primitive.
    - `inputs`: The operands, each of which is a `Value` or a constant array.
    - `output`: The result of the operation.
    - `params`: The parameters of the primitive.
    """

    operation: str
    inputs: tuple[Value | np.ndarray, ...]
    output: Value
    params: dict[str, Any] = field(compare=False)


@dataclass(frozen=True)
class Program:
    """A list of array operations that computes one output from inputs and weights, without loops, branches or calls.

    - `inputs`: The inputs, whose first axis is the batch.
    - `weights`: The trained arrays. The key of an array is the name of the `Value` that represents it in `steps`.
    - `steps`: The operations on which the output depends, in order.
    - `output`: The output of the program.
    """

    inputs: tuple[Value, ...]
    weights: dict[str, np.ndarray]
    steps: tuple[Step, ...]
    output: Value


def trace(function: Callable[..., Any], weights: PyTree, inputs: dict[str, tuple[int, ...]]) -> Program:
    """Traces a function with JAX, and returns a program that computes the function for a batch of inputs.

    Loops of known length are unrolled. Values that depend neither on the inputs nor on the weights are computed while
    tracing. Operations and weights that do not affect the output are left out.

    - `function`: A function that takes a tree of arrays and one array for each input, and returns one array.
    - `weights`: The tree of arrays.
    - `inputs`: The name and the shape of each input, without the batch axis.

    **Raises** `NotExportableError` if the function contains an operation that cannot be exported, such as a loop of
    unknown length, a branch that depends on a value, or a random number generator.
    """
    (n,) = export.symbolic_shape(BATCH)
    named = named_leaves(weights)
    leaves, structure = jax.tree.flatten(weights)
    shapes = [jax.ShapeDtypeStruct((n, *shape), np.float32) for shape in inputs.values()]

    def batched(leaves: list[Any], *arrays: Any) -> Any:
        return jax.vmap(lambda *one: function(jax.tree.unflatten(structure, leaves), *one))(*arrays)

    try:
        closed = jax.make_jaxpr(batched)(leaves, *shapes)
    except jax.errors.JAXTypeError as error:
        raise NotExportableError(f"the policy cannot be traced for export: {str(error).splitlines()[0]}") from error
    outer = [
        *(Value(_identifier(name), leaf.shape, np.dtype(leaf.dtype)) for name, leaf in named.items()),
        *(Value(name, shape.shape, np.dtype(shape.dtype)) for name, shape in zip(inputs, shapes, strict=True)),
    ]
    known: dict[str, str] = {}
    for name in (*named, *inputs):
        if _identifier(name) in known:
            raise NotExportableError(
                f"`{known[_identifier(name)]}` and `{name}` of the policy would have the same name in an export, "
                f"{_identifier(name)}."
            )
        known[_identifier(name)] = name
    flattened = _Flattening()
    (output,) = flattened.run(closed.jaxpr, closed.consts, outer)
    steps = _needed(flattened.steps, output)
    used = {each.name for step in steps for each in step.inputs if isinstance(each, Value)} | {output.name}
    arrays = {_identifier(name): np.asarray(leaf) for name, leaf in named.items() if _identifier(name) in used}
    return Program(tuple(outer[len(named) :]), arrays, steps, output)


def size_of_batch(size: Any) -> int | None:
    """Returns the factor c of a symbolic size c n, where n is the batch size, or None if the size is a known number.

    **Raises** `NotExportableError` if the size has any other form.
    """
    if isinstance(size, int | np.integer):
        return None
    factor = re.fullmatch(rf"(?:(\d+)\*)?{BATCH}", str(size))
    if factor is None:
        raise NotExportableError(
            f"the policy has an array of {size} entries for {BATCH} observations; the size must be a multiple of {BATCH}."
        )
    return int(factor[1] or 1)


def _identifier(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)


def _needed(steps: Sequence[Step], output: Value) -> tuple[Step, ...]:
    wanted, kept = {output.name}, []
    for step in reversed(steps):
        if step.output.name in wanted:
            kept.append(step)
            wanted |= {each.name for each in step.inputs if isinstance(each, Value)}
    return tuple(reversed(kept))


INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""The names of the parameters in which JAX primitives store the functions that they call."""
LOOPS_AND_BRANCHES = {"while": "a loop whose length is not known, such as an adaptive solver's", "cond": "a branch"}


class _Flattening:
    """Converts a jaxpr to steps: inlines its calls and unrolls its loops."""

    def __init__(self):
        self.steps: list[Step] = []
        self._count = 0

    def run(self, jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Adds the steps of a jaxpr, and returns its outputs. Each argument and output is a `Value` or a constant."""
        known = {}

        def read(atom: Any) -> Any:
            return (
                np.asarray(atom.val, getattr(atom.aval, "dtype", None))
                if isinstance(atom, core.Literal)
                else known[atom]
            )

        known.update(zip(jaxpr.constvars, constants, strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))
        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return self._scan(params, inputs)
        if name in LOOPS_AND_BRANCHES:
            raise NotExportableError(
                f"the policy cannot be exported because it has {LOOPS_AND_BRANCHES[name]}; if a flow's solver causes it, use a "
                "fixed-step solver."
            )
        inner = next((params[key] for key in INNER if key in params), None)
        if inner is not None:
            closed = inner if hasattr(inner, "consts") else None
            return self.run(*((inner, ()) if closed is None else (closed.jaxpr, closed.consts)), inputs)
        outputs = [variable.aval for variable in equation.outvars]
        sizes = [size for aval in outputs for size in aval.shape]
        if not any(isinstance(each, Value) for each in inputs) and all(isinstance(size, int) for size in sizes):
            return self._computed(equation, inputs)
        if len(outputs) != 1:
            raise NotExportableError(
                f"the policy uses the operation {name}, which has no counterpart in other runtimes."
            )
        if name in ("copy", "copy_p", "stop_gradient", "optimization_barrier"):
            return inputs
        return [self._step(name, inputs, outputs[0], params)]

    def _computed(self, equation: Any, inputs: list[Any]) -> list[Any]:
        with jax.ensure_compile_time_eval():
            results = equation.primitive.bind(*inputs, **equation.params)
        return list(results) if equation.primitive.multiple_results else [results]

    def _step(self, name: str, inputs: Sequence[Any], aval: Any, params: dict[str, Any]) -> Value:
        if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key) or name.startswith("random_"):
            raise NotExportableError(
                "the policy draws random numbers in addition to its noise, which other runtimes cannot reproduce."
            )
        if aval.dtype not in (np.float32, np.int32, np.bool_):
            raise NotExportableError(f"the policy computes in {aval.dtype}; only float32 is exported.")
        self._count += 1
        output = Value(f"x{self._count}", tuple(aval.shape), np.dtype(aval.dtype))
        operands = tuple(each if isinstance(each, Value) else np.asarray(each) for each in inputs)
        self.steps.append(Step(name, operands, output, params))
        return output

    def _scan(self, params: dict[str, Any], inputs: list[Any]) -> list[Any]:
        body, length = params["jaxpr"], params["length"]
        constants, carries = params["num_consts"], params["num_carry"]
        fixed, carry, rows = inputs[:constants], inputs[constants : constants + carries], inputs[constants + carries :]
        if len(body.jaxpr.outvars) > carries:
            raise NotExportableError(
                "the policy collects the results of each step of a loop, which an export does not support."
            )
        order = reversed(range(length)) if params["reverse"] else range(length)
        for index in order:
            carry = self.run(body.jaxpr, body.consts, [*fixed, *carry, *(self._row(each, index) for each in rows)])
        return carry

    def _row(self, array: Any, index: int) -> Any:
        if not isinstance(array, Value):
            return array[index]
        rest = array.shape[1:]
        start, limit = (index, *(0 for _ in rest)), (index + 1, *rest)
        aval = replace(array, shape=(1, *rest))
        row = self._step("slice", [array], aval, {"start_indices": start, "limit_indices": limit, "strides": None})
        return self._step("squeeze", [row], replace(array, shape=rest), {"dimensions": (0,)})


def einsum_of(step: Step) -> str:
    """Returns the einsum equation that is equivalent to a `dot_general`."""
    (contract_a, contract_b), (batch_a, batch_b) = step.params["dimension_numbers"]
    ranks = [len(each.shape) for each in step.inputs]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    a, b = [""] * ranks[0], [""] * ranks[1]
    for i, j in (*zip(batch_a, batch_b, strict=True), *zip(contract_a, contract_b, strict=True)):
        a[i] = b[j] = next(letters)
    a, b = ([each or next(letters) for each in side] for side in (a, b))
    free_a = [letter for i, letter in enumerate(a) if i not in (*contract_a, *batch_a)]
    free_b = [letter for i, letter in enumerate(b) if i not in (*contract_b, *batch_b)]
    return f"{''.join(a)},{''.join(b)}->{''.join([*(a[i] for i in batch_a), *free_a, *free_b])}"


def is_matrix_product(step: Step) -> bool:
    """Returns whether a `dot_general` multiplies the last axis of its first operand by a single matrix."""
    contracted, batched = (tuple(map(tuple, pair)) for pair in step.params["dimension_numbers"])
    left, right = (len(each.shape) for each in step.inputs)
    return right == 2 and contracted == ((left - 1,), (0,)) and batched == ((), ())


def chosen_axis(step: Step) -> tuple[int, int]:
    """Returns the axis along which a `gather` selects one entry for each example, and the column of its index array
    that contains the index of the entry.

    **Raises** `NotExportableError` if the `gather` has any other form.
    """
    numbers, sizes, operand = step.params["dimension_numbers"], step.params["slice_sizes"], step.inputs[0].shape
    chosen = [
        axis
        for axis in numbers.start_index_map
        if not (isinstance(operand[axis], int) and sizes[axis] == operand[axis])
    ]
    batches = (tuple(numbers.operand_batching_dims), tuple(numbers.start_indices_batching_dims)) == ((0,), (0,))
    clipped = step.params["mode"] != jax.lax.GatherScatterMode.FILL_OR_DROP
    if not (batches and clipped and chosen == [1] and sizes[1] == 1 and len(step.inputs[1].shape) == 2):
        raise NotExportableError(
            f"the policy indexes an array in a way that an export does not support: for each observation, one entry along "
            f"the first axis must be chosen, in a mode other than FILL_OR_DROP; got slices of shape {sizes} of an array of "
            f"shape {operand}, in mode {step.params['mode']}."
        )
    return 1, list(numbers.start_index_map).index(1)
