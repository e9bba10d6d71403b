r"""Every socket of the zoo: what a part must have to be plugged in.

A class joins by having these methods. It inherits from nothing of ours, and whoever composes parts
asks for these protocols only. Each method has a name of its own, so that `isinstance(part, Socket)`
is a real check of the wiring. Methods speak of one example, and their caller adds `jax.vmap`; the
three losses speak of a batch, whose axis comes first.

How the parts fit, in three lines:

- *FQL* is `Agent(MonolithicCritic, DistilledFlowPolicy)`.
- *floq* is FQL with a `FlowCritic`, a flow over the real line.
- *TD²-CFM* is a `SuccessorMeasure`, the same flow over observations.
"""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

from floqzoo.records import PathPoint, Trajectory, Transition
from floqzoo.typing import Action, Code, Key, Metrics, Observation, Point, Scalar, Time, Velocity


@runtime_checkable
class NoisePrior(Protocol):
    """The distribution of a flow's starting points."""

    def sample(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent draws, one for each entry of `shape`."""
        ...

    def log_prob(self, x: Point) -> Scalar:
        """The log-density of a point, summed over its coordinates."""
        ...


@runtime_checkable
class ProbabilityPath(Protocol):
    """How noise turns into data: the interpolation that a velocity field is matched to."""

    def at(self, t: Time, x0: Point, x1: Point) -> PathPoint:
        """The point between noise `x0` and data `x1` at time `t`, and its velocity."""
        ...

    def marginal_velocity(self, t: Time, x: Point, x1: Point) -> Point:
        """The velocity at `x` given only the data end, $u_t(x | x_1)$."""
        ...


@runtime_checkable
class ODESolver(Protocol):
    """Carries a point along a velocity field."""

    @property
    def evaluations(self) -> int:
        """Velocity evaluations in one solve: the unit in which compute is reported."""
        ...

    def solve(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Point:
        """The point at `t1` of the curve that starts at `x0` at `t0`; `t1 < t0` goes backward."""
        ...

    def trajectory(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Trajectory:
        """The same curve, with every state visited."""
        ...


@runtime_checkable
class VelocityField(Protocol):
    """A conditional velocity field, in two stages, so that the condition is read once a solve."""

    def encode(self, *condition: Float[Array, " _"]) -> Code:
        """What the field needs to know of its condition; computed once."""
        ...

    def velocity(self, t: Time, x: Point, code: Code) -> Point:
        """The velocity at time `t` and point `x`."""
        ...


@runtime_checkable
class LinearLayer(Protocol):
    """An affine map whose input can be read in parts."""

    def part(self, x: Float[Array, " part"], start: int) -> Float[Array, " out"]:
        """What the inputs from `start` on contribute to the output, without the bias."""
        ...

    def with_bias(self, product: Float[Array, " out"]) -> Float[Array, " out"]:
        """Adds the bias to the sum of the parts."""
        ...


@runtime_checkable
class Network(Protocol):
    """A map between vectors whose first layer is linear."""

    @property
    def stem(self) -> LinearLayer:
        """The first layer."""
        ...

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """The output for one input: the body of the stem."""
        ...

    def body(self, hidden: Float[Array, " width"]) -> Float[Array, " out"]:
        """Everything after the first layer, from its pre-activation."""
        ...


@runtime_checkable
class TimeEmbedding(Protocol):
    """What a velocity field sees of the time."""

    @property
    def time_features(self) -> int:
        """The number of features."""
        ...

    def embed_time(self, t: Time) -> Float[Array, " features"]:
        """The features of time `t`."""
        ...


@runtime_checkable
class PointEmbedding(Protocol):
    """What a velocity field sees of the point that it moves."""

    def point_features(self, dim: int) -> int:
        """The number of features of a point with `dim` coordinates."""
        ...

    def embed_point(self, x: Point) -> Float[Array, " features"]:
        """The features of point `x`."""
        ...


@runtime_checkable
class TimeDistribution(Protocol):
    """Where along the path a flow is trained."""

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent times in [0, 1)."""
        ...


@runtime_checkable
class Aggregation(Protocol):
    """How the members of an ensemble become one value."""

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Reduces the first axis."""
        ...


@runtime_checkable
class Backup(Protocol):
    """How a TD target is formed from the values of the next state, one for each noise copy."""

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " copies"]
    ) -> Float[Array, " copies"]:
        """The regression target of each copy; `continuation` is discount times mask."""
        ...


@runtime_checkable
class NoiseCoupling(Protocol):
    """Which noise the target flow starts from."""

    def next_noise(
        self, noise: Float[Array, "copies dim"], fresh: Float[Array, "copies dim"]
    ) -> Float[Array, "copies dim"]:
        """The noise that the target flow starts from, given the regression's own noise and a fresh draw."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Draws actions, and learns to."""

    def act(self, observation: Observation, key: Key) -> Action:
        """Draws an action, each coordinate in [-1, 1]."""
        ...

    def policy_loss(self, batch: Transition, critic: "Critic", key: Key) -> tuple[Scalar, Metrics]:
        """The loss of a batch and its metrics. No gradient reaches the critic's parameters."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Estimates the expected discounted return of an action."""

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """Q(observation, action), in units of reward: an estimate, which may draw noise, as a loss or `GPIPolicy` uses it."""
        ...

    def score(self, observation: Observation, action: Action) -> Scalar:
        """The same quantity, cheap and differentiable in the action, for policy improvement."""
        ...

    def critic_loss(self, batch: Transition, target: Any, policy: Policy, key: Key) -> tuple[Scalar, Metrics]:
        """The loss of a batch and its metrics. `target` is of the same class; no gradient reaches it or the policy."""
        ...


@runtime_checkable
class SuccessorMeasure(Protocol):
    """The discounted distribution of the states that a policy will visit."""

    @property
    def discount(self) -> Any:
        """The discount of the measure, a `Hyperparameter` in [0, 1)."""
        ...

    def sample_futures(
        self, observation: Observation, action: Action, count: int, key: Key
    ) -> Float[Array, "count observation"]:
        """Draws future observations."""
        ...

    def log_prob(self, future: Observation, observation: Observation, action: Action) -> Scalar:
        """The log-density of a future observation."""
        ...

    def successor_loss(self, batch: Transition, target: Any, policy: Policy, key: Key) -> tuple[Scalar, Metrics]:
        """The loss of a batch and its metrics. `target` is of the same class; no gradient reaches it or the policy."""
        ...


@runtime_checkable
class SuccessorTarget(Protocol):
    """What a successor measure is regressed to for the futures that lie beyond the next state."""

    def regression(self, flow: Any, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """A point at time `t` and the velocity to learn there.

        `flow` is the target's, `code` its code of the next state and action, `step` the transition in the
        coordinates of the flow.
        """
        ...


@runtime_checkable
class NextAction(Protocol):
    """Which policy a successor measure is the measure of."""

    def next_actions(self, batch: Transition, policy: Policy, key: Key) -> Float[Array, "batch action"]:
        """The action at each next observation, in the units of the environment."""
        ...


@runtime_checkable
class RewardModel(Protocol):
    """The reward of being in a state."""

    def reward_of(self, observation: Observation) -> Scalar:
        """The reward, differentiable in the observation where policies improve on it."""
        ...

    def reward_loss(self, batch: Transition) -> Scalar:
        """The loss of a batch; 0 where there is nothing to learn."""
        ...


@runtime_checkable
class BatchSource(Protocol):
    """Where the batches of a run come from."""

    def draw_batch(self, dataset: Any, replay: Any, place: Int[Array, ""], key: Key, batch_size: int) -> Transition:
        """The batch of one update of one seed, inside the compiled scan.

        `replay` is what the environments have shown to all seeds, and None offline; `place` is that of the seed on its
        first axis.
        """
        ...


def require_socket(name: str, part: object, socket: type) -> None:
    """Checks that a part has the methods of a socket.

    **Raises** `TypeError` naming the part and the methods that it lacks.
    """
    methods = [method for method in vars(socket) if not method.startswith("_")]
    missing = [method for method in methods if not hasattr(part, method)]
    if missing:
        raise TypeError(
            f"`{name}` must be a {socket.__name__}, with the methods {', '.join(methods)}; "
            f"got {type(part).__name__}, which lacks {', '.join(missing)}."
        )
