"""The support of a categorical distribution of returns."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.flow.return_range import return_range
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require_range
from floqzoo.typing import Array


class UniformSupport(eqx.Module):
    r"""A support of $N$ equally spaced atoms $z_1 < \dots < z_N$, from `low` to `high`.

    - `low`, `high`: The first and the last atom, in units of reward; their distance, high - low, is in [1e-20, 1e20].
    - `num_atoms`: The number $N$ of atoms, at least 2; C51 uses 51.

    **Raises** `ValueError` if `low` is not below `high`, their distance is out of range, or `num_atoms` is below 2.

    Source: C51 (arXiv 1707.06887), section 4.
    """

    low: Hyperparameter = eqx.field(converter=hyperparameter)
    high: Hyperparameter = eqx.field(converter=hyperparameter)
    num_atoms: int = eqx.field(static=True, default=51)

    def __check_init__(self):
        require_range(self.low, self.high)
        if self.num_atoms < 2:
            raise ValueError(f"`num_atoms` must be at least 2; got {self.num_atoms}.")

    @staticmethod
    def from_rewards(reward_range: tuple[float, float], discount: float, num_atoms: int = 51) -> "UniformSupport":
        r"""Creates a support over the range of discounted returns, $[r_{\min}, r_{\max}] / (1 - \gamma)$.

        - `reward_range`: The minimum and the maximum reward of the dataset.
        - `discount`: $\gamma$ in [0, 1).
        - `num_atoms`: The number $N$ of atoms, at least 2.

        **Raises** `ValueError` if the minimum reward is not below the maximum, or an argument is out of range.

        Source: the official code of Value Flows (arXiv 2510.07650).
        """
        low, high = return_range(reward_range, discount, "give the ends themselves, `UniformSupport(low, high)`")
        return UniformSupport(low, high, num_atoms)

    @property
    def atoms(self) -> Float[Array, " atoms"]:
        """The atoms $z_1, ..., z_N$, in units of reward."""
        share = jnp.linspace(0.0, 1.0, self.num_atoms)
        return self.low.value + share * (self.high.value - self.low.value)

    def project(self, points: Float[Array, " points"], weights: Float[Array, " points"]) -> Float[Array, " atoms"]:
        r"""Projects point masses onto the atoms, and returns the mass of each atom, $\sum_j p_j \, h(z_i - y_j)$.

        Here $h(x) = \max(0, 1 - \lvert x \rvert / \Delta)$, where $\Delta$ is the distance between neighbouring atoms.
        Each mass is divided between the two nearest atoms, which preserves the mean. A point outside the support is
        first moved to the nearest end of the support.

        - `points`: The positions $y_j$ of the masses, in units of reward.
        - `weights`: The masses $p_j$, at least 0.

        Source: C51 (arXiv 1707.06887), equation 7.
        """
        gap = (self.high.value - self.low.value) / (self.num_atoms - 1)
        inside = jnp.clip(points, self.low.value, self.high.value)
        share = jnp.maximum(1 - jnp.abs(self.atoms[:, None] - inside[None, :]) / gap, 0)
        return share @ weights
