"""One function in every runtime."""

import jax
import numpy as np
import onnx
import onnxruntime

from floqzoo.export.onnx_graph import onnx_model
from floqzoo.export.program import trace
from floqzoo.export.runtimes import has_torch
from floqzoo.export.torch_source import torch_source


if has_torch():
    import torch


def programs(function, weights, inputs):
    """The function in ONNX Runtime and in PyTorch, where it is installed: each from arrays to an array."""
    program = trace(function, weights, inputs)
    return in_onnx(onnx_model(program, "output")), *in_torch(*torch_source(program))


def in_onnx(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def in_torch(source, state):
    """The module in PyTorch; nothing where it is not installed, and then the source is only compiled."""
    code, scope = compile(source, "policy_torch.py", "exec"), {}
    if not has_torch():
        return ()
    exec(code, scope)
    module = scope["Policy"]()
    module.load_state_dict({name: torch.tensor(array) for name, array in state.items()}, strict=True)

    def run(*arrays):
        with torch.inference_mode():
            return module(*map(torch.tensor, arrays)).numpy()

    return (run,)


def in_jax(function, weights):
    return lambda *arrays: np.asarray(jax.vmap(lambda *one: function(weights, *one))(*arrays))


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}
