"""Converts a program to an ONNX graph of standard operators of opset 18, without loops, for batches of any size.

jax2onnx is not used, because its release 0.13 fails with the JAX version that floqzoo needs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from floqzoo.export.program import (
    BATCH,
    NotExportableError,
    Program,
    Step,
    Value,
    chosen_axis,
    einsum_of,
    is_matrix_product,
    size_of_batch,
)


OPSET, IR_VERSION = 18, 9


def onnx_model(program: Program, output: str) -> Any:
    """Converts a program to an `onnx.ModelProto`, and checks it with ONNX's checker.

    - `output`: The name of the graph's output.

    **Raises** `NotExportableError` if the program contains an operation that is not supported.
    """
    import onnx
    from onnx import helper

    graph = _Graph()
    for name, array in program.weights.items():
        graph.named[name] = array
    for step in program.steps:
        _write(graph, step)
    graph.node("Identity", [program.output.name], name=output)
    made = helper.make_graph(
        graph.nodes,
        "policy",
        [_info(value.name, value) for value in program.inputs],
        [_info(output, program.output)],
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.named.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "floqzoo"
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """The nodes and named arrays of a graph under construction."""

    def __init__(self):
        self.nodes: list[Any] = []
        self.named: dict[str, np.ndarray] = {}
        self._count = 0
        self._batch: str | None = None

    def node(self, operator: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        """Adds a node, and returns the name of its output."""
        from onnx import helper

        name = name or self._new()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def array(self, array: Any, dtype: Any = None) -> str:
        """Adds a constant array, unless the graph has an equal one, and returns its name."""
        array = np.asarray(array, dtype)
        for name, each in self.named.items():
            if (
                name.startswith("known")
                and each.dtype == array.dtype
                and each.shape == array.shape
                and (each == array).all()
            ):
                return name
        name = f"known{len(self.named)}"
        self.named[name] = array
        return name

    def reference(self, operand: Value | np.ndarray) -> str:
        """The name of an operand of a step; a constant array is added to the graph."""
        return self.array(operand) if isinstance(operand, np.ndarray) else operand.name

    def shape(self, shape: Sequence[Any], first_input: str = "observation") -> str:
        """Adds a shape as a vector of int64, and returns its name.

        - `first_input`: The input whose first axis is the batch.
        """
        factors = [size_of_batch(size) for size in shape]
        if not any(factors):
            return self.array([int(size) for size in shape], np.int64)
        if self._batch is None:
            self._batch = self.node("Shape", [first_input], start=0, end=1)
        parts = [
            self.array([int(size)], np.int64)
            if factor is None
            else self._batch
            if factor == 1
            else self.node("Mul", [self._batch, self.array([factor], np.int64)])
            for size, factor in zip(shape, factors, strict=True)
        ]
        return self.node("Concat", parts, axis=0)

    def _new(self) -> str:
        self._count += 1
        return f"node{self._count}"


def _info(name: str, value: Value) -> Any:
    from onnx import TensorProto, helper

    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int32): TensorProto.INT32}
    shape = [BATCH if size_of_batch(size) else int(size) for size in value.shape]
    return helper.make_tensor_value_info(name, kinds[value.dtype], shape)


DIRECT = {
    "abs": "Abs", "add": "Add", "add_any": "Add", "and": "And", "ceil": "Ceil", "cos": "Cos", "div": "Div", "eq": "Equal",
    "erf": "Erf", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "log": "Log",
    "logistic": "Sigmoid", "lt": "Less", "max": "Max", "min": "Min", "mul": "Mul", "neg": "Neg", "not": "Not", "or": "Or",
    "pow": "Pow", "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt", "sub": "Sub", "tanh": "Tanh",
}  # fmt: skip
"""The JAX primitives that correspond to a single ONNX operator."""
REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}


def _write(graph: _Graph, step: Step) -> None:
    """Adds the nodes of one step; the last node is named after the step's output."""
    names = [graph.reference(operand) for operand in step.inputs]
    if step.operation in DIRECT:
        graph.node(DIRECT[step.operation], names, step.output.name)
    elif step.operation in REDUCTIONS:
        axes = graph.array(list(step.params["axes"]), np.int64)
        graph.node(REDUCTIONS[step.operation], [names[0], axes], step.output.name, keepdims=0)
    elif step.operation in OTHERS:
        OTHERS[step.operation](graph, step, names)
    else:
        raise NotExportableError(
            f"the policy uses the operation {step.operation}, which an export does not support in ONNX."
        )


def _broadcast(graph: _Graph, step: Step, names: list[str]) -> None:
    (operand, *_), shape, at = step.inputs, step.output.shape, step.params["broadcast_dimensions"]
    axes = [axis for axis in range(len(shape)) if axis not in at]
    if axes:
        names = [graph.node("Unsqueeze", [names[0], graph.array(axes, np.int64)])]
    sizes = [1] * len(shape)
    for axis, size in zip(at, operand.shape, strict=True):
        sizes[axis] = size
    if tuple(sizes) == tuple(shape):
        graph.node("Identity", names[:1], step.output.name)
    else:
        graph.node("Expand", [names[0], graph.shape(shape)], step.output.name)


def _reshape(graph: _Graph, step: Step, names: list[str]) -> None:
    graph.node("Reshape", [names[0], graph.shape(step.output.shape)], step.output.name)


def _integer_pow(graph: _Graph, step: Step, names: list[str]) -> None:
    exponent = np.asarray(step.params["y"], step.output.dtype)
    graph.node("Pow", [names[0], graph.array(exponent)], step.output.name)


def _square(graph: _Graph, step: Step, names: list[str]) -> None:
    graph.node("Mul", [names[0], names[0]], step.output.name)


def _rsqrt(graph: _Graph, step: Step, names: list[str]) -> None:
    graph.node("Reciprocal", [graph.node("Sqrt", names)], step.output.name)


def _erfc(graph: _Graph, step: Step, names: list[str]) -> None:
    one = graph.array(np.ones((), step.output.dtype))
    graph.node("Sub", [one, graph.node("Erf", names)], step.output.name)


def _stack(graph: _Graph, step: Step, names: list[str]) -> None:
    axis = int(step.params["axis"])
    parts = [graph.node("Unsqueeze", [name, graph.array([axis], np.int64)]) for name in names]
    graph.node("Concat", parts, step.output.name, axis=axis)


def _not_equal(graph: _Graph, step: Step, names: list[str]) -> None:
    graph.node("Not", [graph.node("Equal", names)], step.output.name)


def _clamp(graph: _Graph, step: Step, names: list[str]) -> None:
    low, x, high = names
    graph.node("Min", [graph.node("Max", [x, low]), high], step.output.name)


def _select(graph: _Graph, step: Step, names: list[str]) -> None:
    if len(names) != 3 or step.inputs[0].dtype != np.bool_:
        raise NotExportableError("the policy selects among more than two arrays, which an export does not support.")
    condition, if_false, if_true = names
    graph.node("Where", [condition, if_true, if_false], step.output.name)


def _convert(graph: _Graph, step: Step, names: list[str]) -> None:
    from onnx import helper

    graph.node("Cast", names, step.output.name, to=helper.np_dtype_to_tensor_dtype(step.output.dtype))


def _transpose(graph: _Graph, step: Step, names: list[str]) -> None:
    graph.node("Transpose", names, step.output.name, perm=[int(axis) for axis in step.params["permutation"]])


def _concatenate(graph: _Graph, step: Step, names: list[str]) -> None:
    graph.node("Concat", names, step.output.name, axis=int(step.params["dimension"]))


def _slice(graph: _Graph, step: Step, names: list[str]) -> None:
    shape, starts, limits = step.inputs[0].shape, step.params["start_indices"], step.params["limit_indices"]
    strides = step.params["strides"] or (1,) * len(shape)
    cut = [i for i in range(len(shape)) if (starts[i], limits[i], strides[i]) != (0, shape[i], 1)]
    vectors = [[each[i] for i in cut] for each in (starts, limits)] + [cut, [strides[i] for i in cut]]
    if any(size_of_batch(number) for vector in vectors for number in vector):
        raise NotExportableError("the policy splits the batch, which an export does not support.")
    graph.node("Slice", [names[0], *(graph.array(vector, np.int64) for vector in vectors)], step.output.name)


def _squeeze(graph: _Graph, step: Step, names: list[str]) -> None:
    axes = graph.array(list(step.params["dimensions"]), np.int64)
    graph.node("Squeeze", [names[0], axes], step.output.name)


def _arg(operator: str) -> Callable[[_Graph, Step, list[str]], None]:
    def write(graph: _Graph, step: Step, names: list[str]) -> None:
        from onnx import TensorProto

        (axis,) = step.params["axes"]
        index = graph.node(operator, names, axis=int(axis), keepdims=0)
        graph.node("Cast", [index], step.output.name, to=TensorProto.INT32)

    return write


def _product(graph: _Graph, step: Step, names: list[str]) -> None:
    if is_matrix_product(step):
        graph.node("MatMul", names, step.output.name)
    else:
        graph.node("Einsum", names, step.output.name, equation=einsum_of(step))


def _gather(graph: _Graph, step: Step, names: list[str]) -> None:
    from onnx import TensorProto

    axis, column = chosen_axis(step)
    index = graph.node("Gather", [names[1], graph.array([column], np.int64)], axis=1)
    index = graph.node("Cast", [index], to=TensorProto.INT64)
    last = graph.array(int(step.inputs[0].shape[axis]) - 1, np.int64)
    index = graph.node("Clip", [index, graph.array(0, np.int64), last])
    chosen = graph.node("GatherND", [names[0], index], batch_dims=1)
    graph.node("Reshape", [chosen, graph.shape(step.output.shape)], step.output.name)


OTHERS: dict[str, Callable[[_Graph, Step, list[str]], None]] = {
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "broadcast_in_dim": _broadcast,
    "clamp": _clamp,
    "concatenate": _concatenate,
    "convert_element_type": _convert,
    "dot_general": _product,
    "erfc": _erfc,
    "gather": _gather,
    "integer_pow": _integer_pow,
    "ne": _not_equal,
    "reshape": _reshape,
    "rsqrt": _rsqrt,
    "select_n": _select,
    "slice": _slice,
    "square": _square,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
}
