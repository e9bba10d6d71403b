"""Conditional flows, used by flow critics, flow policies and successor measures."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from floqzoo.flow.curvature import path_curvature
from floqzoo.flow.divergence import ExactDivergence, HutchinsonDivergence
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.path import LinearPath
from floqzoo.flow.prior import GaussianPrior
from floqzoo.protocols import NoisePrior, ODESolver, ProbabilityPath, VelocityField, require_protocol
from floqzoo.records import FlowDraw, Trajectory
from floqzoo.typing import Code, Condition, Key, Point, Scalar, Time, Velocity


def accurate_solver() -> ODESolver:
    """Returns the default solver for log-densities: Tsit5 with adaptive steps and a tolerance of 1e-5."""
    # Importing diffrax takes as long as importing JAX, and training does not need it.
    import diffrax

    from floqzoo.flow.diffrax_solver import DiffraxSolver

    return DiffraxSolver(diffrax.Tsit5(), controller=diffrax.PIDController(rtol=1e-5, atol=1e-5))


class Flow(eqx.Module):
    r"""A conditional flow from noise $x_0 \sim p_0$ to a sample $x_1$.

    Given a condition $c$, a noise sample is integrated along $\dot x_t = v_\theta(t, x_t \mid c)$ from $t = 0$ to $t =
    1$.

    - `field`: The velocity field $v_\theta$.
    - `dim`: The number of coordinates of a point, at least 1.
    - `prior`: The noise prior $p_0$.
    - `path`: The probability path that the field is trained on.
    - `solver`: The ODE solver. It can be changed after training.

    Source: flow matching (arXiv 2210.02747).
    """

    field: VelocityField | Any
    dim: int = eqx.field(static=True)
    prior: NoisePrior | Any = eqx.field(default_factory=GaussianPrior)
    path: ProbabilityPath | Any = eqx.field(default_factory=LinearPath)
    solver: ODESolver | Any = eqx.field(default_factory=lambda: Euler(10))

    def __check_init__(self):
        require_protocol("field", self.field, VelocityField)
        require_protocol("prior", self.prior, NoisePrior)
        require_protocol("path", self.path, ProbabilityPath)
        require_protocol("solver", self.solver, ODESolver)
        if self.dim < 1:
            raise ValueError(f"`dim` must be at least 1; got {self.dim}.")

    def encode(self, *condition: Condition) -> Code:
        """Encodes the condition. All other methods take the result as `code`, so the condition is encoded only once."""
        return self.field.encode(*condition)

    def push_forward(self, x0: Point, code: Code, t0: Time = 0.0, t1: Time = 1.0) -> Point:
        r"""Integrates the field from `x0` at time `t0` to time `t1`; by default, returns the flow map $\psi_1(x_0)$."""
        return self.solver.solve(lambda t, x: self.field.velocity(t, x, code), x0, t0, t1)

    def trajectory(self, x0: Point, code: Code, t0: Time = 0.0, t1: Time = 1.0) -> Trajectory:
        """Returns the states that `push_forward` passes through, with their times."""
        return self.solver.trajectory(lambda t, x: self.field.velocity(t, x, code), x0, t0, t1)

    def sample(self, key: Key, code: Code) -> Point:
        """Draws a sample of the flow: its output for a noise sample from the prior."""
        return self.push_forward(self.prior.sample(key, (self.dim,)), code)

    def matching_loss(self, t: Time, x0: Point, x1: Point, code: Code, weights: Point | None = None) -> Scalar:
        r"""Returns the flow-matching loss, $\frac1d \lVert v_\theta(t, x_t \mid c) - \dot x_t \rVert^2$.

        It is computed at time `t` of the conditional path from `x0` to `x1`. As in FQL, it is a mean over the $d$
        coordinates, so its scale does not depend on $d$.

        - `weights`: Factors for the squared errors of the coordinates, applied before the mean over all $d$
          coordinates; None for factors of 1.
        """
        point = self.path.at(t, x0, x1)
        errors = (self.field.velocity(t, point.x, code) - point.velocity) ** 2
        return jnp.mean(errors if weights is None else weights * errors)

    def curvature(self, x0: Point, code: Code) -> Scalar:
        """Returns the curvature of the trajectory that starts at `x0`; see `path_curvature`."""
        return path_curvature(self.trajectory(x0, code))

    def push_forward_with_log_prob(
        self,
        x0: Point,
        code: Code,
        *,
        divergence: ExactDivergence | HutchinsonDivergence = ExactDivergence(),
        key: Key | None = None,
    ) -> FlowDraw:
        r"""Computes $\psi_1(x_0)$ and $\log p_0(x_0) - \int_0^1 \nabla \cdot v_\theta(t, x_t \mid c) \, dt$ together.

        If `x0` is drawn from the prior, the result is a sample of the flow and its log-density. To compute the
        log-density of a given point, use `log_prob`.

        - `divergence`: `ExactDivergence()`, or `HutchinsonDivergence()`, an estimate that requires a `key`.
        """
        end = self.solver.solve(self._augmented(code, divergence, key), jnp.append(x0, 0.0), 0.0, 1.0)
        return FlowDraw(end[:-1], self.prior.log_prob(x0) - end[-1])

    def log_prob(
        self,
        x1: Point,
        code: Code,
        *,
        divergence: ExactDivergence | HutchinsonDivergence = ExactDivergence(),
        solver: ODESolver | None = None,
        key: Key | None = None,
    ) -> Scalar:
        r"""Returns $\log p_1(x_1 \mid c) = \log p_0(x_0) - \int_0^1 \nabla \cdot v_\theta(t, x_t \mid c) \, dt$.

        This is the instantaneous change of variables: the ODE is solved backwards from `x1` to $x_0$, and the
        divergence is integrated along the way.

        - `divergence`: `ExactDivergence()`, or `HutchinsonDivergence()`, an unbiased estimate that requires a `key`.
        - `solver`: The ODE solver; None for `accurate_solver()`. Pass the flow's own solver to approximate the
          density of samples drawn with that solver.

        Source: neural ODEs (arXiv 1806.07366), theorem 1.
        """
        solver = accurate_solver() if solver is None else solver
        start = solver.solve(self._augmented(code, divergence, key), jnp.append(x1, 0.0), 1.0, 0.0)
        return self.prior.log_prob(start[:-1]) + start[-1]

    def _augmented(self, code: Code, divergence: ExactDivergence | HutchinsonDivergence, key: Key | None) -> Velocity:
        """The velocity of the augmented state, a point followed by the integral of the divergence."""

        def velocity_and_divergence(t: Time, state: Point) -> Point:
            def velocity(x: Point) -> Point:
                return self.field.velocity(t, x, code)

            x = state[:-1]
            return jnp.append(velocity(x), divergence.divergence(velocity, x, key))

        return velocity_and_divergence
