"""How TD targets are formed from the values of the next state."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from floqzoo.typing import Scalar


class ExpectedBackup(eqx.Module):
    r"""$y_j = r + \gamma \, \frac1m \sum_i Q(s', a'_i, z'_i)$: every noise copy regresses to the mean.

    Source: floq (arXiv 2509.06863).
    """

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """The same target for each copy."""
        return jnp.broadcast_to(reward + continuation * jnp.mean(next_values), next_values.shape)


class DistributionalBackup(eqx.Module):
    r"""$y_j = r + \gamma \, Q(s', a'_j, z'_j)$: each noise copy regresses to a return sample of its own.

    Whether $z'_j$ is independent of the noise $z_j$ that the regression starts from is the critic's `coupling`.

    Source: the second backup of arXiv 2603.04333 (table 1), whose exact form is not published; Value Flows
    (arXiv 2510.07650) has it with shared noise.
    """

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """A target for each copy."""
        return reward + continuation * next_values
