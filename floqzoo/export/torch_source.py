"""Converts a program to the source code of a PyTorch module that depends only on PyTorch."""

from collections.abc import Callable
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from floqzoo.export.program import (
    NotExportableError,
    Program,
    Step,
    Value,
    chosen_axis,
    einsum_of,
    is_matrix_product,
    size_of_batch,
)


def torch_source(program: Program) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the source code of a PyTorch module that computes `program`, and the named arrays that the module loads.

    **Raises** `NotExportableError` if the program contains an operation that is not supported.
    """
    state = dict(program.weights)
    lines = [f"{step.output.name} = {_expression(step, _Names(state, program))}" for step in program.steps]
    names = _Names(state, program)
    declared = [
        f'        self.register_{_kind(name, program)}("{name}", {_empty(name, array, program)})'
        for name, array in state.items()
    ]
    template = Template(resources.files("floqzoo.export").joinpath("policy_torch.template").read_text())
    source = template.substitute(
        inputs=", ".join(value.name for value in program.inputs),
        annotated=", ".join(f"{value.name}: torch.Tensor" for value in program.inputs),
        shapes="; ".join(f"{value.name} ({', '.join(map(str, value.shape))})" for value in program.inputs),
        output_shape=f"({', '.join(map(str, program.output.shape))})",
        state="\n".join(declared),
        steps="\n".join(f"        {line}" for line in lines),
        output=names(program.output),
    )
    return source, state


class _Names:
    """Returns the expression for an operand in the source code; a constant array is added to the state."""

    def __init__(self, state: dict[str, np.ndarray], program: Program):
        self._state, self._program = state, program

    def __call__(self, operand: Value | np.ndarray) -> str:
        if isinstance(operand, Value):
            return f"self.{operand.name}" if operand.name in self._program.weights else operand.name
        name = next((name for name, each in self._state.items() if _same(each, operand)), f"known{len(self._state)}")
        self._state[name] = operand
        return f"self.{name}"

    def scalar(self, operand: Value | np.ndarray) -> str:
        """The expression for an operand, with a single number written as a literal."""
        if isinstance(operand, np.ndarray) and operand.size == 1 and operand.ndim == 0:
            return repr(operand.item()) if np.isfinite(operand) else f'float("{operand.item()}")'
        return self(operand)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


def _kind(name: str, program: Program) -> str:
    return "parameter" if name in program.weights else "buffer"


def _empty(name: str, array: np.ndarray, program: Program) -> str:
    made = f"torch.empty({tuple(array.shape)}, dtype={DTYPES[array.dtype]})"
    return f"torch.nn.Parameter({made})" if name in program.weights else made


DTYPES = {np.dtype(np.float32): "torch.float32", np.dtype(np.int32): "torch.int32", np.dtype(np.bool_): "torch.bool"}
INFIX = {
    "add": "+", "add_any": "+", "and": "&", "div": "/", "eq": "==", "ge": ">=", "gt": ">", "le": "<=", "lt": "<", "mul": "*",
    "ne": "!=", "or": "|", "pow": "**", "sub": "-",
}  # fmt: skip
"""The JAX primitives that correspond to Python operators."""
FUNCTIONS = {
    "abs": "abs", "ceil": "ceil", "cos": "cos", "erf": "erf", "erfc": "erfc", "exp": "exp", "floor": "floor", "log": "log",
    "logistic": "sigmoid", "neg": "neg", "not": "logical_not", "rsqrt": "rsqrt", "sign": "sign", "sin": "sin",
    "sqrt": "sqrt", "square": "square", "tanh": "tanh",
}  # fmt: skip
"""The JAX primitives that correspond to PyTorch functions of one argument."""
REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "amax", "reduce_min": "amin"}


def _expression(step: Step, names: _Names) -> str:
    """The expression whose value is the step's output."""
    if step.operation in INFIX:
        left, right = (names.scalar(operand) for operand in step.inputs)
        return f"{left} {INFIX[step.operation]} {right}"
    if step.operation in FUNCTIONS:
        return f"torch.{FUNCTIONS[step.operation]}({names(step.inputs[0])})"
    if step.operation in REDUCTIONS:
        return f"{names(step.inputs[0])}.{REDUCTIONS[step.operation]}(dim={_integers(step.params['axes'])})"
    if step.operation in OTHERS:
        return OTHERS[step.operation](step, names)
    raise NotExportableError(
        f"the policy uses the operation {step.operation}, which an export does not support in PyTorch."
    )


def _integers(numbers: Any) -> str:
    return str(tuple(int(each) for each in numbers))


def _shape(shape: Any) -> str:
    factors = [size_of_batch(size) for size in shape]
    sizes = [
        str(int(size)) if factor is None else "n" if factor == 1 else f"{factor} * n"
        for size, factor in zip(shape, factors, strict=True)
    ]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _extreme(function: str) -> Callable[[Step, _Names], str]:
    bound = {"max": "min", "min": "max"}[function]

    def expression(step: Step, names: _Names) -> str:
        left, right = step.inputs
        if isinstance(left, np.ndarray) and left.ndim == 0:
            left, right = right, left
        if isinstance(right, np.ndarray) and right.ndim == 0:
            return f"{names(left)}.clamp({bound}={names.scalar(right)})"
        return f"torch.{function}imum({names(left)}, {names(right)})"

    return expression


def _clamp(step: Step, names: _Names) -> str:
    low, x, high = step.inputs
    return f"torch.minimum(torch.maximum({names(x)}, {names(low)}), {names(high)})"


def _broadcast(step: Step, names: _Names) -> str:
    shape, at = step.output.shape, [int(axis) for axis in step.params["broadcast_dimensions"]]
    sizes: list[Any] = [1] * len(shape)
    for axis, size in zip(at, step.inputs[0].shape, strict=True):
        sizes[axis] = size
    reshaped = f"{names(step.inputs[0])}.reshape({_shape(sizes)})"
    return reshaped if tuple(sizes) == tuple(shape) else f"{reshaped}.expand({_shape(shape)})"


def _reshape(step: Step, names: _Names) -> str:
    return f"{names(step.inputs[0])}.reshape({_shape(step.output.shape)})"


def _select(step: Step, names: _Names) -> str:
    if len(step.inputs) != 3 or step.inputs[0].dtype != np.bool_:
        raise NotExportableError("the policy selects among more than two arrays, which an export does not support.")
    condition, if_false, if_true = map(names, step.inputs)
    return f"torch.where({condition}, {if_true}, {if_false})"


def _convert(step: Step, names: _Names) -> str:
    return f"{names(step.inputs[0])}.to({DTYPES[step.output.dtype]})"


def _transpose(step: Step, names: _Names) -> str:
    return f"{names(step.inputs[0])}.permute({_integers(step.params['permutation'])})"


def _concatenate(step: Step, names: _Names) -> str:
    return f"torch.cat(({', '.join(map(names, step.inputs))},), dim={int(step.params['dimension'])})"


def _stack(step: Step, names: _Names) -> str:
    return f"torch.stack(({', '.join(map(names, step.inputs))},), dim={int(step.params['axis'])})"


def _slice(step: Step, names: _Names) -> str:
    shape, starts, limits = step.inputs[0].shape, step.params["start_indices"], step.params["limit_indices"]
    strides = step.params["strides"] or (1,) * len(shape)
    cuts = [
        ":" if (start, limit, stride) == (0, size, 1) else f"{int(start)}:{int(limit)}:{int(stride)}".removesuffix(":1")
        for size, start, limit, stride in zip(shape, starts, limits, strides, strict=True)
    ]
    return f"{names(step.inputs[0])}[{', '.join(cuts)}]"


def _integer_pow(step: Step, names: _Names) -> str:
    return f"{names(step.inputs[0])} ** {int(step.params['y'])}"


def _arg(function: str) -> Callable[[Step, _Names], str]:
    def expression(step: Step, names: _Names) -> str:
        (axis,) = step.params["axes"]
        return f"{names(step.inputs[0])}.{function}(dim={int(axis)}).to(torch.int32)"

    return expression


def _product(step: Step, names: _Names) -> str:
    if is_matrix_product(step):
        return " @ ".join(map(names, step.inputs))
    return f'torch.einsum("{einsum_of(step)}", {", ".join(map(names, step.inputs))})'


def _gather(step: Step, names: _Names) -> str:
    axis, column = chosen_axis(step)
    operand, indices = map(names, step.inputs)
    chosen = f"{indices}[:, {column}].long().clamp(0, {int(step.inputs[0].shape[axis]) - 1})"
    return f"{operand}[torch.arange(n, device={operand}.device), {chosen}].reshape({_shape(step.output.shape)})"


OTHERS: dict[str, Callable[[Step, _Names], str]] = {
    "argmax": _arg("argmax"),
    "argmin": _arg("argmin"),
    "broadcast_in_dim": _broadcast,
    "clamp": _clamp,
    "concatenate": _concatenate,
    "convert_element_type": _convert,
    "dot_general": _product,
    "gather": _gather,
    "integer_pow": _integer_pow,
    "max": _extreme("max"),
    "min": _extreme("min"),
    "reshape": _reshape,
    "select_n": _select,
    "slice": _slice,
    "squeeze": _reshape,
    "stack": _stack,
    "transpose": _transpose,
}
