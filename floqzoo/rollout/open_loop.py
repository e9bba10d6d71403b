"""From action chunks to the action of each step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from floqzoo.protocols import ActsInChunks


class OpenLoop:
    """Executes the actions of a policy in several environments, action chunks open loop.

    With execution horizon n, step t of an episode takes action number t mod n of the chunk that was drawn at step
    t - t mod n of the same episode. An episode begins at step 0, and so with a new chunk: what was left of the last one is
    dropped. A policy that does not act in chunks has chunks of one action, and one is drawn in each step.

    - `policy`: Any policy; one that is `ActsInChunks` draws chunks.
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
        """The action of each row.

        - `rows`: A number for each row, such as that of its episode, under which its chunk is kept.
        - `steps`: The step in its episode, from 0.
        - `draw`: Draws a chunk for each row; called if at least one of them needs a new one, and used for those.

        **Raises** `ValueError` for a row in the middle of a chunk that was never drawn, and as `split`.
        """
        number = steps % self.horizon
        due = number == 0
        if due.any():
            chunks = self.split(draw())
            self._chunks.update((int(rows[row]), chunks[row]) for row in np.flatnonzero(due))
        missing = [int(row) for row in rows if int(row) not in self._chunks]
        if missing:
            raise ValueError(f"`steps` of row {missing[0]} must begin at 0, where its first chunk is drawn.")
        return np.stack([self._chunks[int(row)][k] for row, k in zip(rows, number, strict=True)])

    def split(self, chunks: Float[np.ndarray, "*rows chunk"]) -> Float[np.ndarray, "*rows steps action"]:
        """The actions of flat chunks.

        **Raises** `ValueError` if a chunk cannot be divided into as many actions of one size as it has steps.
        """
        if chunks.shape[-1] % self.chunk_length:
            raise ValueError(
                f"the policy must draw {self.chunk_length} actions of one size in a chunk; its chunks have "
                f"{chunks.shape[-1]} coordinates."
            )
        return chunks.reshape(*chunks.shape[:-1], self.chunk_length, -1)

    def state(self) -> dict[str, np.ndarray]:
        """All that `restore` needs; nothing for single actions."""
        if self.chunk_length == 1 or not self._chunks:
            return {}
        return {"rows": np.array(list(self._chunks)), "chunks": np.stack(list(self._chunks.values()))}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes back to where `state` was taken.

        **Raises** `ValueError` if the chunks of the state have another length.
        """
        self._chunks = {}
        if not state:
            return
        if state["chunks"].shape[1] != self.chunk_length:
            raise ValueError(
                f"the chunks must have {self.chunk_length} steps, as the policy's; they have {state['chunks'].shape[1]}."
            )
        self._chunks = {int(row): chunk for row, chunk in zip(state["rows"], state["chunks"], strict=True)}
