"""An exported ONNX policy that can be evaluated like an agent."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from floqzoo.export.runtimes import Runtime, onnx_runtime
from floqzoo.typing import Action, Key, Observation


class OnnxActor(eqx.Module):
    """An actor that draws the same noise samples as a policy in JAX, but computes the actions in ONNX Runtime.

    Actions are in the units of the environment; chunks are flat vectors.

    - `policy`: The policy in JAX, of which only `draw_noise` is used.
    - `run`: A function that runs the ONNX graph in ONNX Runtime.
    - `action_dim`: The number of coordinates of an action, or of a chunk.
    """

    policy: Any
    run: Runtime = eqx.field(static=True)
    action_dim: int = eqx.field(static=True)

    @staticmethod
    def load(path: Path, policy: Any, action_dim: int) -> "OnnxActor":
        """Loads the actor from the ONNX file at `path`."""
        return OnnxActor(policy, onnx_runtime(path), action_dim)

    def act(self, observation: Observation, key: Key) -> Action:
        """Draws a noise sample, and returns the action that the ONNX graph computes from it."""
        noise = self.policy.draw_noise(key)
        inputs = [observation] if noise.size == 0 else [observation, noise]

        def call(*arrays: Any) -> np.ndarray:
            lead = np.shape(arrays[0])[:-1]
            rows = [np.asarray(array, np.float32).reshape(-1, *np.shape(array)[len(lead) :]) for array in arrays]
            return self.run(*rows).reshape(*lead, self.action_dim)

        shape = jax.ShapeDtypeStruct((self.action_dim,), np.float32)
        return jax.pure_callback(call, shape, *inputs, vmap_method="broadcast_all")
