r"""Every protocol of floqzoo: the methods that a part must have.

A class satisfies a protocol by having its methods; it inherits from nothing. Code that composes parts asks for these
protocols only. Each protocol has method names of its own, so `isinstance(part, Protocol)` checks the composition.
Methods take one example, and the caller adds `jax.vmap`; losses take a batch, whose axis comes first.

Optional capabilities (`NoisyCritic`, `Diagnosable`, `HasBehaviour`, ...) are protocols too: only the code that uses one
asks for it.

How the parts fit, in three lines:

- *FQL* is `Agent(MonolithicCritic, DistilledFlowPolicy)`.
- *floq* is FQL with a `FlowCritic`, a flow over the real line.
- *TD²-CFM* is a `SuccessorMeasure`, the same flow over observations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, PyTree

from floqzoo.records import (
    ActionDraw,
    ActorCritic,
    FrozenAgent,
    PathPoint,
    Stateful,
    Trajectory,
    Transition,
    UpdateMetrics,
)
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

    def conditional_velocity(self, t: Time, x: Point, x1: Point) -> Point:
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
    """How a TD target is formed from the values of the next state, one for each noise sample."""

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """The regression target of each noise sample; `continuation` is $\\gamma$ times the discount of the transition."""
        ...


@runtime_checkable
class NoiseCoupling(Protocol):
    """Which noise the target flow starts from."""

    def next_noise(
        self, noise: Float[Array, "samples dim"], fresh: Float[Array, "samples dim"]
    ) -> Float[Array, "samples dim"]:
        """The noise that the target flow starts from, given the regression's own noise and a fresh draw."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Draws actions, and learns to."""

    def act(self, observation: Observation, critic: "Critic", key: Key) -> Action:
        """Draws an action, each coordinate in [-1, 1]; it may use the critic, as best-of-N sampling does."""
        ...

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """The loss of a batch and its metrics; `agent` is constant."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Estimates the expected discounted return of an action."""

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Q(observation, action), in units of reward: deterministic and differentiable, for policy improvement."""
        ...

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """The loss of a batch and its metrics; `agent` is constant, and `agent.target.critic` of the same class."""
        ...


@runtime_checkable
class NoisyCritic(Protocol):
    """Optional capability of a critic: an estimate of the value that draws noise."""

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """A sample or an estimate of Q(observation, action), in units of reward."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """Optional capability of a critic: diagnostics that are logged at each evaluation."""

    def diagnose(self, batch: Transition, key: Key) -> Metrics:
        """A record of scalars, computed on a batch of the dataset."""
        ...


@runtime_checkable
class FlowValued(Protocol):
    """Optional capability of a critic: values that are the outputs of an ensemble of flows over the real line."""

    @property
    def fields(self) -> Any:
        """The [`Ensemble`][floqzoo.networks.Ensemble] of velocity fields."""
        ...

    @property
    def prior(self) -> NoisePrior:
        """The distribution of the noise that becomes a value."""
        ...

    @property
    def times(self) -> TimeDistribution:
        """The distribution of the times at which the fields are trained."""
        ...

    @property
    def solver(self) -> ODESolver:
        """How the fields are integrated."""
        ...

    def flow(self, field: Any) -> Any:
        """The [`Flow`][floqzoo.flow.Flow] of one member."""
        ...

    def returns(self, observation: Observation, action: Action, noise: Float[Array, "1"]) -> Float[Array, " members"]:
        """The output of each member's flow for one noise sample."""
        ...

    def batch_returns(
        self, batch: Transition, noise: Float[Array, "batch samples 1"]
    ) -> Float[Array, "members batch samples"]:
        """The outputs of the members' flows at (s, a) of each transition, for each of its noise samples."""
        ...


@runtime_checkable
class HasBehaviour(Protocol):
    """Optional capability of a policy: a clone of the behaviour, which is evaluated beside it."""

    @property
    def behaviour(self) -> Policy:
        """The policy that imitates the data."""
        ...


@runtime_checkable
class Exploring(Protocol):
    """Optional capability of a policy: other actions for exploration than for evaluation."""

    def explore(self, observation: Observation, critic: Critic, key: Key) -> Action:
        """Draws an action to explore with, each coordinate in [-1, 1]."""
        ...


@runtime_checkable
class ActsInChunks(Protocol):
    """Optional capability of a policy: its action is a chunk, the actions of several steps as one flat vector."""

    @property
    def chunk_length(self) -> int:
        """The number of steps in a chunk."""
        ...

    @property
    def execution_horizon(self) -> int:
        """How many of them are taken in the environment before the next chunk is drawn, 1 to `chunk_length`."""
        ...


@runtime_checkable
class HasDensity(Protocol):
    """Optional capability of a policy: the log-density of the actions that it draws."""

    def act_with_log_prob(self, observation: Observation, key: Key) -> ActionDraw:
        """Draws an action and the log-density of the draw before it is clipped to [-1, 1]."""
        ...


@runtime_checkable
class ActsFromNoise(Protocol):
    """Optional capability of a policy: a function of observation and noise, which can be exported.

    `act` with a key is `act_from_noise` with the noise that `draw_noise` draws from that key.
    """

    @property
    def noise_prior(self) -> NoisePrior | None:
        """The distribution of each number of the noise, independent of the others; None for a deterministic policy."""
        ...

    def draw_noise(self, key: Key) -> Float[Array, "*noise"]:
        """Draws the noise of one action; an array of size 0 for a deterministic policy."""
        ...

    def act_from_noise(self, observation: Observation, critic: Critic, noise: Float[Array, "*noise"]) -> Action:
        """The action, each coordinate in [-1, 1]; deterministic."""
        ...


@runtime_checkable
class HasAdvantage(Protocol):
    """Optional capability of a critic: the advantage of an action."""

    def advantage(self, observation: Observation, action: Action) -> Scalar:
        """Q(observation, action) - V(observation), in units of reward."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """Optional capability of a velocity field: the input of its last linear layer."""

    def last_features(self, t: Time, x: Point, code: Code) -> Float[Array, " width"]:
        """The input of the last linear layer at time `t` and point `x`."""
        ...


@runtime_checkable
class UpdateRule(Protocol):
    """How the parameters of an agent change in one update."""

    def init_optimisers(self, parts: ActorCritic) -> PyTree:
        """The initial state of the optimisers."""
        ...

    def update_parts(
        self, parts: ActorCritic, optimisers: PyTree, agent: FrozenAgent, batch: Transition, key: Key
    ) -> tuple[ActorCritic, PyTree, UpdateMetrics]:
        """The parts and the optimisers after one update, and the metrics of the batch."""
        ...


@runtime_checkable
class TargetUpdate(Protocol):
    """How the target networks follow."""

    def init_targets(self, parts: ActorCritic) -> ActorCritic:
        """The initial targets, with array buffers of their own."""
        ...

    def update_targets(
        self, target: ActorCritic, before: ActorCritic, after: ActorCritic, step: Int[Array, ""]
    ) -> ActorCritic:
        """The targets after update number `step`, counted from 0, between the parts `before` and `after` it."""
        ...


@runtime_checkable
class TrainableAgent(Protocol):
    """What the trainer trains, one seed of it: [`Agent`][floqzoo.agent.Agent], or a user's own."""

    @property
    def parts(self) -> ActorCritic:
        """Critic and policy, which act together and are evaluated."""
        ...

    def update(self, batch: Transition, key: Key) -> tuple["TrainableAgent", UpdateMetrics]:
        """The agent after one update, and the metrics of the batch; a pure function."""
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

    def successor_loss(self, batch: Transition, target: Any, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics]:
        """The loss of a batch and its metrics. `target` is of the same class; no gradient reaches it or the agent."""
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
    """Which policy a successor measure is the measure of, or a critic the return of."""

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
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
class EpisodeStore(Protocol):
    """Transitions in the order of their episodes: a dataset, or the replay of one seed.

    A transition is addressed by an integer of the store's own, `at`; methods take arrays of them.
    """

    def transition(self, at: Int[Array, "*batch"]) -> Transition:
        """The transitions at some addresses, with their next actions."""
        ...

    def later(self, at: Int[Array, "*batch"], steps: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """The addresses some steps later in the same episodes, at most `steps_left`."""
        ...

    def steps_left(self, at: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """How many transitions of the same episode are known after each."""
        ...


@runtime_checkable
class TransitionReader(Protocol):
    """What a batch holds of each transition that is drawn: one step, an n-step return, a future."""

    @property
    def reads_next_action(self) -> bool:
        """Whether a transition can be read only once the action after it is known."""
        ...

    def read(self, store: EpisodeStore, at: Int[Array, " batch"], key: Key) -> Transition:
        """The examples that start at some addresses of a store."""
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


@runtime_checkable
class OfflineDataset(Protocol):
    """Transitions to train on, on the device; the dataset of a run that is only offline."""

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Draws transitions uniformly, with replacement."""
        ...

    def fingerprint(self) -> str:
        """A hash of the contents."""
        ...

    @property
    def size(self) -> int:
        """The number of transitions."""
        ...

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the greatest reward."""
        ...


@runtime_checkable
class Task(Protocol):
    """A dataset, and the environment that it comes from."""

    @property
    def dataset(self) -> OfflineDataset:
        """The transitions to train on."""
        ...

    @property
    def make_environment(self) -> Callable[[], Any] | None:
        """Makes a fresh Gymnasium environment; picklable where environments are stepped in processes of their own.

        None for a task without environment, on which only losses and diagnostics are computed.
        """
        ...

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of an observation."""
        ...

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        ...

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the greatest reward of a transition."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Plain values that identify the data and the environment, written beside the results."""
        ...


@runtime_checkable
class MetricWriter(Protocol):
    """Receives the metrics of a run, under the names that they have in its tables."""

    def write_metrics(self, step: int, seed: int, metrics: Mapping[str, float]) -> None:
        """Receives what one seed measured after `step` updates; NaN stands for a metric that has no value then."""
        ...

    def close_writer(self) -> None:
        """Writes what is still held back."""
        ...


@runtime_checkable
class EpisodeRecorder(Protocol):
    """Records episodes."""

    def record(self, seeds: Any) -> dict[str, Any]:
        """Records one episode, which depends on the script and `seeds`, a `SeedSequence`, alone."""
        ...


@runtime_checkable
class DatasetScript(Protocol):
    """How a dataset is generated: its name, its size, and what records its episodes. A dataclass of plain values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The dataset's name."""
        ...

    @property
    def episodes(self) -> int:
        """Training episodes of the published dataset."""
        ...

    @property
    def steps(self) -> int:
        """Steps of each episode."""
        ...

    def recorder(self) -> EpisodeRecorder:
        """Builds what records the episodes; slow, and needs OGBench."""
        ...


@runtime_checkable
class Launcher(Protocol):
    """Where trials run."""

    def start(self, trial: Any) -> None:
        """Asks for a start of a trial, as soon as there is room for it."""
        ...

    def ended(self, seconds: float) -> Sequence[tuple[Any, Any]]:
        """The trials that ended since the last call, after at most so many seconds."""
        ...

    def stop(self) -> None:
        """Ends all trials under way, each with a checkpoint, and those that wait."""
        ...


def require_protocol(name: str, part: object, protocol: type) -> None:
    """Checks that a part has the methods of a protocol.

    **Raises** `TypeError` naming the part and the methods that it lacks.
    """
    methods = [method for method in vars(protocol) if not method.startswith("_")]
    missing = [method for method in methods if not hasattr(part, method)]
    if missing:
        raise TypeError(
            f"`{name}` must be a {protocol.__name__}, with the methods {', '.join(methods)}; "
            f"got {type(part).__name__}, which lacks {', '.join(missing)}."
        )
