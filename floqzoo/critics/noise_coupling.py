"""Which noise the target flow starts from."""

import equinox as eqx
from jaxtyping import Array, Float


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
