"""The parts of TD targets: aggregations over ensemble members, backups over noise samples, and noise couplings."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.typing import Array, Scalar


class MeanOverEnsemble(eqx.Module):
    """Takes the mean over the members of an ensemble, as floq and FQL do in most environments."""

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Returns the mean over the first axis, which indexes the members."""
        return jnp.mean(values, axis=0)


class MinOverEnsemble(eqx.Module):
    """Takes the minimum over the members of an ensemble, which counters overestimation.

    floq uses the minimum for antmaze-giant, and FQL uses it for antmaze-large and antmaze-giant.

    Source: clipped double Q-learning (arXiv 1802.09477).
    """

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Returns the minimum over the first axis, which indexes the members."""
        return jnp.min(values, axis=0)


class ExpectedBackup(eqx.Module):
    r"""Uses the mean over noise samples as the target of every noise sample,
    $y_j = r + \gamma \, \text{discount} \, \frac1m \sum_i Q(s', a'_i, z'_i)$.

    Source: floq (arXiv 2509.06863).
    """

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """Returns the same target for each sample; `continuation` is $\\gamma$ times the transition's discount."""
        return jnp.broadcast_to(reward + continuation * jnp.mean(next_values), next_values.shape)


class DistributionalBackup(eqx.Module):
    r"""Uses a separate sample of the return as the target of each noise sample,
    $y_j = r + \gamma \, \text{discount} \, Q(s', a'_j, z'_j)$.

    The critic's `coupling` determines whether $z'_j$ is independent of the noise at which the path to $y_j$ starts.

    Source: the second backup of arXiv 2603.04333 (table 1), whose exact form is not published; Value Flows (arXiv
    2510.07650) uses it with shared noise.
    """

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """Returns a separate target for each sample; `continuation` is $\\gamma$ times the transition's discount."""
        return reward + continuation * next_values


class IndependentNoise(eqx.Module):
    """Starts the target flows from noise that is independent of the online flows' noise, as in floq.

    With a distributional backup, noise and returns are then coupled independently, as is usual in flow matching.
    """

    def next_noise(
        self, noise: Float[Array, "samples dim"], fresh: Float[Array, "samples dim"]
    ) -> Float[Array, "samples dim"]:
        """Returns `fresh`, the independent noise, for the target flows."""
        del noise
        return fresh


class SharedNoise(eqx.Module):
    """Starts the target flows from the same noise as the online flows, as in Value Flows.

    With a distributional backup, this makes trajectories straighter, and the targets of a given noise sample vary less.

    Source: Value Flows (arXiv 2510.07650), official code.
    """

    def next_noise(
        self, noise: Float[Array, "samples dim"], fresh: Float[Array, "samples dim"]
    ) -> Float[Array, "samples dim"]:
        """Returns `noise`, the online flows' noise, for the target flows."""
        del fresh
        return noise
