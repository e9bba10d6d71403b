"""An ONNX policy that can be evaluated like an agent."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from floqzoo.export.runtimes import Runtime, onnx_runtime
from floqzoo.typing import Action, Key, Observation


class OnnxActor(eqx.Module):
    """An actor that draws the same noise as the policy in JAX, and computes the action in ONNX Runtime.

    - `policy`: The policy, of which only `draw_noise` is used.
    - `run`: Runs the graph in ONNX Runtime.
    - `action_dim`: The number of coordinates of an action, or of a chunk.

    Actions are in the environment's own units; chunks are flat.
    """

    policy: Any
    run: Runtime = eqx.field(static=True)
    action_dim: int = eqx.field(static=True)

    @staticmethod
    def load(path: Path, policy: Any, action_dim: int) -> "OnnxActor":
        """Loads the actor from an ONNX file."""
        return OnnxActor(policy, onnx_runtime(path), action_dim)

    def act(self, observation: Observation, key: Key) -> Action:
        """The action that the ONNX graph computes."""
        noise = self.policy.draw_noise(key)
        inputs = [observation] if noise.size == 0 else [observation, noise]

        def call(*arrays: Any) -> np.ndarray:
            lead = np.shape(arrays[0])[:-1]
            rows = [np.asarray(array, np.float32).reshape(-1, *np.shape(array)[len(lead) :]) for array in arrays]
            return self.run(*rows).reshape(*lead, self.action_dim)

        shape = jax.ShapeDtypeStruct((self.action_dim,), np.float32)
        return jax.pure_callback(call, shape, *inputs, vmap_method="broadcast_all")
