"""The records that pass between parts, instead of dictionaries and bare tuples."""

import equinox as eqx
from jaxtyping import Array, Float

from floqzoo.typing import Metrics


class PathPoint(eqx.Module):
    """A point on the path between two ends, and the velocity of the path there."""

    x: Float[Array, " dim"]
    velocity: Float[Array, " dim"]


class Trajectory(eqx.Module):
    """The states that a solver visited, in order, its two ends included."""

    t: Float[Array, " times"]
    x: Float[Array, "times dim"]


class Transition(eqx.Module):
    r"""One step $(s, a, r, s')$ of an environment, or, with a leading axis, a batch of them.

    - `mask`: 0 where $s$ ended its episode by reaching the goal, else 1; it multiplies the bootstrapped value.
    """

    observation: Float[Array, "*batch observation"]
    action: Float[Array, "*batch action"]
    reward: Float[Array, "*batch"]
    mask: Float[Array, "*batch"]
    next_observation: Float[Array, "*batch observation"]


class FutureTransition(Transition):
    r"""A transition, the action after it, and a draw of what comes after that: what a successor measure may learn from.

    - `next_action`: The action $a'$ that followed at $s'$.
    - `future`: A state visited from $(s', a')$ on, drawn from their successor measure.
    """

    next_action: Float[Array, "*batch action"]
    future: Float[Array, "*batch observation"]


class UpdateMetrics(eqx.Module):
    """What one update reports: a record of scalars from the critic and one from the policy.

    Written to logs under the names of its fields, `critic/q_mean`, `actor/bc_flow_loss`, as fql spells them.
    """

    critic: Metrics
    actor: Metrics
