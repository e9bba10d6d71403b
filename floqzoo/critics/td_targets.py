"""How TD targets are formed: from the members of an ensemble, from noise samples, and from which noise."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from floqzoo.typing import Scalar


class MeanOverEnsemble(eqx.Module):
    """The mean over members: floq's and FQL's choice for most environments."""

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Reduces the first axis."""
        return jnp.mean(values, axis=0)


class MinOverEnsemble(eqx.Module):
    """The least of the members, against overestimation: the papers' choice for antmaze-giant.

    Source: clipped double Q-learning (arXiv 1802.09477).
    """

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Reduces the first axis."""
        return jnp.min(values, axis=0)


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


class IndependentNoise(eqx.Module):
    """Fresh noise, independent of the regression's own: floq's choice.

    With a distributional backup, the flow learns the distribution of returns by matching an independent coupling
    of noise and return, as flow matching does elsewhere.
    """

    def next_noise(
        self, noise: Float[Array, "samples dim"], fresh: Float[Array, "samples dim"]
    ) -> Float[Array, "samples dim"]:
        """The fresh draws."""
        del noise
        return fresh


class SharedNoise(eqx.Module):
    """The very noise that the regression starts from: Value Flows' choice.

    With a distributional backup, paths become straighter and targets vary less given their noise.

    Source: Value Flows (arXiv 2510.07650), official code.
    """

    def next_noise(
        self, noise: Float[Array, "samples dim"], fresh: Float[Array, "samples dim"]
    ) -> Float[Array, "samples dim"]:
        """The regression's draws."""
        del fresh
        return noise
