"""Open-loop execution of action chunks."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from floqzoo.protocols import ActsInChunks


class OpenLoop:
    """Executes the action chunks of a policy open loop, in several environments.

    With execution horizon n, step t of an episode takes action t mod n of the chunk that was drawn in step
    t - (t mod n) of the same episode. Each episode starts with a new chunk, and when the episode ends, the remaining
    actions of its last chunk are dropped. If the policy does not act in chunks, it draws one action in each step.

    - `policy`: The policy. It draws chunks if it satisfies `ActsInChunks`, and single actions otherwise.
    """

    def __init__(self, policy: Any):
        chunked = isinstance(policy, ActsInChunks)
        self.chunk_length = policy.chunk_length if chunked else 1
        self.horizon = policy.execution_horizon if chunked else 1
        self._chunks: dict[int, Float[np.ndarray, "steps action"]] = {}

    def actions(
        self,
        rows: Int[np.ndarray, " rows"],
        steps: Int[np.ndarray, " rows"],
        draw: Callable[[], Float[np.ndarray, "rows chunk"]],
    ) -> Float[np.ndarray, "rows action"]:
        """Returns the next action in each environment.

        - `rows`: An ID for each environment, under which its chunk is stored, such as the index of its episode.
        - `steps`: For each environment, the number of earlier steps in its episode.
        - `draw`: A function that draws a chunk for each environment. It is called only if some environment needs a new
          chunk; the chunks for the other environments are not used.

        **Raises** `ValueError` if an environment is in the middle of a chunk that was never drawn, or if a chunk cannot
        be divided evenly into `chunk_length` actions.
        """
        number = steps % self.horizon
        due = number == 0
        if due.any():
            chunks = self.split(draw())
            self._chunks.update((int(rows[row]), chunks[row]) for row in np.flatnonzero(due))
        for row, step in zip(rows, steps, strict=True):
            if int(row) not in self._chunks:
                raise ValueError(f"`steps` of row {row} must start at 0, where the first chunk is drawn; got {step}.")
        return np.stack([self._chunks[int(row)][k] for row, k in zip(rows, number, strict=True)])

    def split(self, chunks: Float[np.ndarray, "*rows chunk"]) -> Float[np.ndarray, "*rows steps action"]:
        """Splits chunks, which are flat vectors, into actions.

        **Raises** `ValueError` if a chunk cannot be divided evenly into `chunk_length` actions.
        """
        if chunks.shape[-1] % self.chunk_length:
            raise ValueError(
                f"the policy draws chunks of {chunks.shape[-1]} numbers, which cannot be divided into {self.chunk_length} "
                "actions of equal size."
            )
        return chunks.reshape(*chunks.shape[:-1], self.chunk_length, -1)

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state, which can be passed to `restore`; it is empty if the policy draws single actions."""
        if self.chunk_length == 1 or not self._chunks:
            return {}
        return {"rows": np.array(list(self._chunks)), "chunks": np.stack(list(self._chunks.values()))}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a state that was returned by the method `state`.

        **Raises** `ValueError` if the chunks in the state do not have the policy's chunk length.
        """
        self._chunks = {}
        if not state:
            return
        if state["chunks"].shape[1] != self.chunk_length:
            raise ValueError(
                f"the saved chunks must have {self.chunk_length} steps, like those of the policy; they have "
                f"{state['chunks'].shape[1]}."
            )
        self._chunks = {int(row): chunk for row, chunk in zip(state["rows"], state["chunks"], strict=True)}
