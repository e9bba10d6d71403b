r"""The targets of successor measures: what stands in for the futures beyond the next state.

Each gives a point $\hat x_t$ and the velocity to learn there. They differ in nothing else:

| target | $\hat x_t$ | velocity |
|---|---|---|
| `MonteCarloTarget` | on the path from fresh noise to a true future | of that path |
| `TDTarget` | on the path from fresh noise to the end $\bar\psi_1(x_0)$ of the target flow | of that path |
| `CoupledTDTarget` | on the path from the same $x_0$ to that end | of that path |
| `TD2Target` | $\bar\psi_t(x_0)$, the target flow stopped at $t$ | the target field's own, there |

Source: TD-Flow (arXiv 2503.09817), algorithm 1. Over a diffusion (see `diffusion_measure`) `TDTarget` is TD-DD and `TD2Target` is
TD²-DD.
"""

import equinox as eqx
import jax

from floqzoo.flow.flow import Flow
from floqzoo.records import PathPoint, Transition
from floqzoo.typing import Code, Key, Point, Time


class MonteCarloTarget(eqx.Module):
    """True futures of the next state and action: MC-CFM. The batch must hold `future`.

    TD-Flow draws one sample of the whole measure, which is the next state with probability $1 - \\gamma$; here both
    cases enter every sample with their weights, as for the other targets: the same expectation, less variance.
    """

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """On the path from fresh noise to the true future.

        **Raises** `ValueError` if the batch has no futures.
        """
        del code
        return flow.path.at(t, noise_of(flow, key), step.require("future", "MonteCarloTarget"))


class TDTarget(eqx.Module):
    """A future that the target flow draws, rejoined with fresh noise: TD-CFM."""

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """On the path from fresh noise to the drawn future."""
        del step
        noise_key, fresh_key = jax.random.split(key)
        future = flow.push_forward(noise_of(flow, noise_key), code)
        return flow.path.at(t, noise_of(flow, fresh_key), future)


class CoupledTDTarget(eqx.Module):
    """A future that the target flow draws, rejoined with the noise that it came from: TD-CFM(C)."""

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """On the path from that noise to the drawn future."""
        del step
        noise = noise_of(flow, key)
        return flow.path.at(t, noise, flow.push_forward(noise, code))


class TD2Target(eqx.Module):
    """The target flow stopped at time t, and its own velocity there: TD²-CFM. It never asks where the flow ends."""

    def regression(self, flow: Flow, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """On the target flow's own way."""
        del step
        x = flow.push_forward(noise_of(flow, key), code, 0.0, t)
        return PathPoint(x, flow.field.velocity(t, x, code))


def noise_of(flow: Flow, key: Key) -> Point:
    """One draw of a flow's prior."""
    return flow.prior.sample(key, (flow.dim,))
