r"""Target rules, which define the targets of successor measures for futures beyond the next state.

Each rule returns a point $\hat x_t$ and the velocity to learn at this point. In the table, $x_0$ is a noise sample, and
$\bar\psi_t(x_0)$ is the result of integrating the target flow from $x_0$ up to time $t$.

| target | $\hat x_t$ | velocity |
|---|---|---|
| `MonteCarloTarget` | on the path from independent noise to a true future | of that path |
| `TDTarget` | on the path from independent noise to the output $\bar\psi_1(x_0)$ of the target flow | of that path |
| `CoupledTDTarget` | on the path from $x_0$ to $\bar\psi_1(x_0)$ | of that path |
| `TD2Target` | $\bar\psi_t(x_0)$, the target flow stopped at $t$ | of the target field |
| `StraightTD2Target` | on the path from $x_0$ to $\bar\psi_1(x_0)$ | of the target field |

With a diffusion model (see `diffusion_measure`), `TDTarget` gives TD-DD, and `TD2Target` gives TD²-DD.

Source: TD-Flow (arXiv 2503.09817), algorithm 1. `StraightTD2Target` is from InFOM (arXiv 2506.08902), where it is
called SARSA² flow matching.
"""

import equinox as eqx
import jax

from floqzoo.flow.flow import Flow
from floqzoo.records import PathPoint, Transition
from floqzoo.typing import Code, Key, Point, Time


class MonteCarloTarget(eqx.Module):
    """Uses true futures of the next state and action as targets (MC-CFM). The batch must contain `future`.

    TD-Flow draws a single sample of the whole measure, which is the next state with probability $1 - \\gamma$. Here, as
    for the other targets, the loss of every transition contains both cases, weighted by their probabilities. This loss
    has the same expectation and a lower variance.
    """

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """Returns a point on the path from independent noise to the true future.

        **Raises** `ValueError` if the batch has no futures.
        """
        del code
        return flow.path.at(t, noise_of(flow, key), step.require("future", "MonteCarloTarget"))


class TDTarget(eqx.Module):
    """Uses a sample of the target flow, paired with independent noise, as the target (TD-CFM)."""

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """Returns a point on the path from independent noise to the sampled future."""
        del step
        noise_key, fresh_key = jax.random.split(key)
        future = flow.push_forward(noise_of(flow, noise_key), code)
        return flow.path.at(t, noise_of(flow, fresh_key), future)


class CoupledTDTarget(eqx.Module):
    """Uses a sample of the target flow, paired with the noise that generated it, as the target (TD-CFM(C))."""

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """Returns a point on the path from noise to the future that the target flow generates from this noise."""
        del step
        noise = noise_of(flow, key)
        return flow.path.at(t, noise, flow.push_forward(noise, code))


class TD2Target(eqx.Module):
    """Uses a point on the trajectory of the target flow, which is integrated only up to time t (TD²-CFM)."""

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """Returns a point on the trajectory of the target flow, and the velocity of the target field at this point."""
        del step
        x = flow.push_forward(noise_of(flow, key), code, 0.0, t)
        return PathPoint(x, flow.field.velocity(t, x, code))


class StraightTD2Target(eqx.Module):
    """Evaluates the target field on the path from noise to a sampled future, not on the flow's trajectory (SARSA²).

    If the trajectories of the target flow follow the path, this is the same as TD²-CFM. Otherwise, for example when the
    measure is spread out, the points on the path do not have the flow's distribution at time t, so the true successor
    measure is not a fixed point of the training.
    """

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """Returns a point on the path from noise to the sampled future, and the velocity of the target field there."""
        del step
        noise = noise_of(flow, key)
        x = flow.path.at(t, noise, flow.push_forward(noise, code)).x
        return PathPoint(x, flow.field.velocity(t, x, code))


def noise_of(flow: Flow, key: Key) -> Point:
    """Draws one sample from a flow's prior."""
    return flow.prior.sample(key, (flow.dim,))
