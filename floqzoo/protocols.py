r"""All protocols of floqzoo: the methods that each kind of part must have.

A class satisfies a protocol by having its methods; inheritance is not needed. Code that composes parts depends only on
these protocols. Each protocol has distinct method names, so `isinstance(part, Protocol)` checks the composition.
Methods take one example, and the caller applies `jax.vmap`; losses take a batch, whose axis comes first.

Optional capabilities (`NoisyCritic`, `Diagnosable`, `HasBehaviour`, ...) are protocols too, required only by the code
that uses them.

How the parts fit together, in three lines:

- *FQL* is `Agent(MonolithicCritic, DistilledFlowPolicy)`.
- *floq* is FQL with a `FlowCritic`, a flow over the real line.
- *TD²-CFM* is a `SuccessorMeasure`: a flow of the same kind, but over observations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Int, PyTree

from floqzoo.records import (
    ActionDraw,
    ActorCritic,
    FrozenAgent,
    PathPoint,
    Stateful,
    StepCount,
    Trajectory,
    Transition,
    UpdateMetrics,
)
from floqzoo.typing import Action, Array, Code, Condition, Key, Metrics, Observation, Point, Scalar, Time, Velocity


@runtime_checkable
class NoisePrior(Protocol):
    """The initial distribution of a flow."""

    def sample(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent samples in an array of the given shape."""
        ...

    def log_prob(self, x: Point) -> Scalar:
        """The log-density of a point, summed over its coordinates."""
        ...


@runtime_checkable
class ProbabilityPath(Protocol):
    """A probability path from noise to data, on which a velocity field is trained."""

    def at(self, t: Time, x0: Point, x1: Point) -> PathPoint:
        """The point at time `t` on the path from noise `x0` to data `x1`, and the velocity there."""
        ...

    def conditional_velocity(self, t: Time, x: Point, x1: Point) -> Point:
        """The velocity at `x` given only the data point, $u_t(x | x_1)$."""
        ...


@runtime_checkable
class ODESolver(Protocol):
    """Integrates a velocity field."""

    @property
    def evaluations(self) -> int:
        """The number of velocity evaluations in one solve (NFE), the unit of compute in reports."""
        ...

    def solve(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Point:
        """The solution at `t1`, starting from `x0` at `t0`; `t1 < t0` integrates backwards."""
        ...

    def trajectory(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Trajectory:
        """All states of a solve, in order; `solve` returns the last one."""
        ...


@runtime_checkable
class VelocityField(Protocol):
    """A conditional velocity field in two stages, so that the condition is encoded once per solve."""

    def encode(self, *condition: Condition) -> Code:
        """Encodes the condition; called once per solve."""
        ...

    def velocity(self, t: Time, x: Point, code: Code) -> Point:
        """The velocity at time `t` and point `x`."""
        ...


@runtime_checkable
class LinearLayer(Protocol):
    """An affine map that can be applied to parts of its input."""

    def part(self, x: Float[Array, " part"], start: int) -> Float[Array, " out"]:
        """What a slice `x` of the input, starting at index `start`, contributes to the output, without the bias."""
        ...

    def with_bias(self, product: Float[Array, " out"]) -> Float[Array, " out"]:
        """Adds the bias to `product`, the sum of the contributions that `part` returns."""
        ...


@runtime_checkable
class Network(Protocol):
    """A map between vectors whose first layer is linear."""

    @property
    def stem(self) -> LinearLayer:
        """The first layer."""
        ...

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """The output for one input: the first layer, then `body`."""
        ...

    def body(self, hidden: Float[Array, " width"]) -> Float[Array, " out"]:
        """The output of the network, given the pre-activation of the first layer."""
        ...


@runtime_checkable
class TimeEmbedding(Protocol):
    """The embedding of the flow time."""

    @property
    def time_features(self) -> int:
        """The number of features."""
        ...

    def embed_time(self, t: Time) -> Float[Array, " features"]:
        """The features of time `t`."""
        ...


@runtime_checkable
class PointEmbedding(Protocol):
    """The embedding of a point of a flow."""

    def point_features(self, dim: int) -> int:
        """The number of features of a point with `dim` coordinates."""
        ...

    def embed_point(self, x: Point) -> Float[Array, " features"]:
        """The features of point `x`."""
        ...


@runtime_checkable
class TimeDistribution(Protocol):
    """The distribution of the times at which a flow is trained."""

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent times in [0, 1)."""
        ...


@runtime_checkable
class Aggregation(Protocol):
    """The aggregation of the members of an ensemble into one value."""

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Reduces the first axis, which contains the members."""
        ...


@runtime_checkable
class Backup(Protocol):
    """Forms the TD target for each noise sample from sampled values of the next state."""

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """The regression target for each noise sample; `continuation` is $\\gamma$ times the transition's discount."""
        ...


@runtime_checkable
class NoiseCoupling(Protocol):
    """How the initial noise of the target flows depends on the initial noise of the online flows."""

    def next_noise(
        self, noise: Float[Array, "samples dim"], fresh: Float[Array, "samples dim"]
    ) -> Float[Array, "samples dim"]:
        """The initial noise of the target flows, given `noise`, that of the online flows, and `fresh`, which is
        independent of it."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Draws actions, and defines the loss that trains it."""

    def act(self, observation: Observation, critic: "Critic", key: Key) -> Action:
        """Draws an action, each coordinate in [-1, 1]; the policy may use the critic, as best-of-N sampling does."""
        ...

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """The loss on a batch and its metrics; `agent` is treated as a constant."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Estimates the expected discounted return of an action."""

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Q(observation, action), in units of reward: deterministic and differentiable, for policy improvement."""
        ...

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """The loss on a batch and its metrics; `agent` is treated as a constant, and `agent.target.critic` is of the
        same class as this critic."""
        ...


@runtime_checkable
class NoisyCritic(Protocol):
    """Optional capability of a critic: a stochastic estimate of the value."""

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """A sample or an estimate of Q(observation, action), in units of reward."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """Optional capability of a critic: diagnostics that are logged at each evaluation."""

    def diagnose(self, batch: Transition, key: Key) -> Metrics:
        """The diagnostics on a batch of the dataset, as a record of scalars."""
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
        """The noise prior of the flows."""
        ...

    @property
    def times(self) -> TimeDistribution:
        """The distribution of the times at which the fields are trained."""
        ...

    @property
    def solver(self) -> ODESolver:
        """The ODE solver."""
        ...

    def flow(self, field: Any) -> Any:
        """The [`Flow`][floqzoo.flow.Flow] of one member, given its velocity field."""
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
    """Optional capability of a policy: a clone of the behaviour policy, which is evaluated as a baseline."""

    @property
    def behaviour(self) -> Policy:
        """The policy that imitates the data."""
        ...


@runtime_checkable
class Exploring(Protocol):
    """Optional capability of a policy: different actions for exploration and evaluation."""

    def explore(self, observation: Observation, critic: Critic, key: Key) -> Action:
        """Draws an action for exploration, each coordinate in [-1, 1]."""
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
        """The number of executed steps before the next chunk is drawn, 1 to `chunk_length`."""
        ...


@runtime_checkable
class HasDensity(Protocol):
    """Optional capability of a policy: the log-density of the actions that it draws."""

    def act_with_log_prob(self, observation: Observation, key: Key) -> ActionDraw:
        """Draws an action; returns it with the log-density of the draw before clipping to [-1, 1]."""
        ...


@runtime_checkable
class ActsFromNoise(Protocol):
    """Optional capability of a policy: acting by a function of observation and noise, which can be exported.

    For the same key, `act` equals `act_from_noise` with the noise of `draw_noise`.
    """

    @property
    def noise_prior(self) -> NoisePrior | None:
        """The distribution of each coordinate of the noise, all independent; None for a deterministic policy."""
        ...

    def draw_noise(self, key: Key) -> Float[Array, "*noise"]:
        """Draws the noise of one action; an array of size 0 for a deterministic policy."""
        ...

    def act_from_noise(self, observation: Observation, critic: Critic, noise: Float[Array, "*noise"]) -> Action:
        """The action, each coordinate in [-1, 1]; deterministic."""
        ...


@runtime_checkable
class ActsInSteps(Protocol):
    """Optional capability of a policy: acting with different numbers of solver steps."""

    def act_in_steps(self, observation: Observation, critic: "Critic", key: Key, steps: StepCount) -> Action:
        """Draws an action in `steps` solver steps; each coordinate is in [-1, 1]."""
        ...


@runtime_checkable
class ScoresInSteps(Protocol):
    """Optional capability of a critic: the value of a policy that acts in a given number of solver steps."""

    def score_in_steps(self, observation: Observation, action: Action, steps: StepCount) -> Scalar:
        """Q(observation, action) of the policy that draws later actions in `steps` solver steps; differentiable, like
        `score`."""
        ...


@runtime_checkable
class HasAdvantage(Protocol):
    """Optional capability of a critic: the advantage of an action."""

    def advantage(self, observation: Observation, action: Action) -> Scalar:
        """Q(observation, action) - V(observation), in units of reward."""
        ...


@runtime_checkable
class ActsForLatent(Protocol):
    """Optional capability of a policy: a family of deterministic policies, one for each task vector z."""

    def act_for(self, observation: Observation, latent: Float[Array, " latent"]) -> Action:
        """The action for the task z, each coordinate in [-1, 1]; deterministic and differentiable."""
        ...


@runtime_checkable
class ScoresForLatent(Protocol):
    """Optional capability of a critic: scores for each task vector z."""

    def score_for(self, observation: Observation, action: Action, latent: Float[Array, " latent"]) -> Scalar:
        """Q of the action for task z under the policy for z; deterministic and differentiable."""
        ...

    def sample_latents(self, observations: Float[Array, "batch observation"], key: Key) -> Float[Array, "batch latent"]:
        """One z for each row of a batch, drawn from the distribution of tasks in training; no gradient passes through
        it."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """Optional capability of a velocity field: the input of its last linear layer."""

    def last_features(self, t: Time, x: Point, code: Code) -> Float[Array, " width"]:
        """The input of the last linear layer at time `t` and point `x`."""
        ...


@runtime_checkable
class UpdateRule(Protocol):
    """The optimiser steps of one update."""

    def init_optimisers(self, parts: ActorCritic) -> PyTree:
        """The initial state of the optimisers."""
        ...

    def update_parts(
        self, parts: ActorCritic, optimisers: PyTree, agent: FrozenAgent, batch: Transition, key: Key
    ) -> tuple[ActorCritic, PyTree, UpdateMetrics]:
        """The parts and the optimiser states after one update, and the metrics of the batch."""
        ...


@runtime_checkable
class HasPhases(Protocol):
    """Optional capability of an update rule, or of an agent: phases with different losses, one after another."""

    @property
    def phase_starts(self) -> Mapping[str, int]:
        """The number of updates before each phase, by name, in order; empty if there are no phases."""
        ...


@runtime_checkable
class TargetUpdate(Protocol):
    """The update of the target networks."""

    def init_targets(self, parts: ActorCritic) -> ActorCritic:
        """The initial targets, which share no array buffers with `parts`."""
        ...

    def update_targets(
        self, target: ActorCritic, before: ActorCritic, after: ActorCritic, step: Int[Array, ""]
    ) -> ActorCritic:
        """The targets after update `step`, counted from 0, which changed the parts from `before` to `after`."""
        ...


@runtime_checkable
class TrainableAgent(Protocol):
    """An agent that the trainer can train, for one seed: [`Agent`][floqzoo.agent.Agent], or your own."""

    @property
    def parts(self) -> ActorCritic:
        """The critic and the policy, which suffice for acting."""
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
        """Draws `count` future observations from the measure."""
        ...

    def log_prob(self, future: Observation, observation: Observation, action: Action) -> Scalar:
        """The log-density of a future observation."""
        ...

    def successor_loss(self, batch: Transition, target: Any, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics]:
        """The loss on a batch and its metrics; `target`, of the same class, and `agent` are treated as constants."""
        ...


@runtime_checkable
class SuccessorTarget(Protocol):
    """The regression target of a successor measure for futures beyond the next state."""

    def regression(self, flow: Any, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """A point at time `t` and the velocity to learn there.

        `flow` is the target flow, `code` its encoding of the next state and action, and `step` the normalised
        transition.
        """
        ...


@runtime_checkable
class NextAction(Protocol):
    """The next action, which defines the policy whose return or successor measure is learnt."""

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """The action at each next observation, each coordinate in [-1, 1] as in `batch.action`."""
        ...


@runtime_checkable
class RewardModel(Protocol):
    """The reward as a function of the state."""

    def reward_of(self, observation: Observation) -> Scalar:
        """The reward; differentiable if a policy is trained to maximise it."""
        ...

    def reward_loss(self, batch: Transition) -> Scalar:
        """The loss on a batch; 0 for a model without parameters."""
        ...


@runtime_checkable
class EpisodeStore(Protocol):
    """Transitions in the order of their episodes: a dataset, or the replay buffer of one seed.

    A transition is addressed by an integer `at`, defined by the store; methods take arrays of addresses.
    """

    def transition(self, at: Int[Array, "*batch"]) -> Transition:
        """The transitions at the given addresses, with their next actions."""
        ...

    def later(self, at: Int[Array, "*batch"], steps: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """The addresses `steps` transitions later in the same episodes; `steps` is at most `steps_left(at)`."""
        ...

    def steps_left(self, at: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """The number of later transitions in the same episode for each address."""
        ...


@runtime_checkable
class TransitionReader(Protocol):
    """Defines what a batch contains for each sampled transition: one step, an n-step return, a future."""

    @property
    def reads_next_action(self) -> bool:
        """Whether reading a transition requires its next action."""
        ...

    def read(self, store: EpisodeStore, at: Int[Array, " batch"], key: Key) -> Transition:
        """The examples that start at the given addresses in the store."""
        ...


@runtime_checkable
class BatchSource(Protocol):
    """The source of the batches of a run."""

    def draw_batch(self, dataset: Any, replay: Any, place: Int[Array, ""], key: Key, batch_size: int) -> Transition:
        """The batch of one update of one seed, inside the compiled scan.

        `replay` contains the replay buffers of all seeds (None offline); `place` is the index of the seed along the
        first axis of the buffers.
        """
        ...


@runtime_checkable
class OfflineDataset(Protocol):
    """Transitions on the device; the dataset of an offline run."""

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions uniformly, with replacement."""
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
        """The minimum and the maximum reward."""
        ...


@runtime_checkable
class Task(Protocol):
    """A dataset and its environment."""

    @property
    def dataset(self) -> OfflineDataset:
        """The transitions to train on."""
        ...

    @property
    def make_environment(self) -> Callable[[], Any] | None:
        """Creates a new Gymnasium environment; must be picklable if environments run in worker processes.

        The attribute is None for a task without an environment, for which only losses and diagnostics are computed.
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
        """The minimum and the maximum reward of a transition."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """JSON-serialisable values that identify the data and the environment; they are stored with the results."""
        ...


@runtime_checkable
class MetricWriter(Protocol):
    """Receives the metrics of a run, under the same names as in the run's tables."""

    def write_metrics(self, step: int, seed: int, metrics: Mapping[str, float]) -> None:
        """Receives the metrics of one seed after `step` updates; NaN means no value."""
        ...

    def close_writer(self) -> None:
        """Flushes and closes the writer."""
        ...


@runtime_checkable
class EpisodeRecorder(Protocol):
    """Records episodes."""

    def record(self, seeds: Any) -> dict[str, Any]:
        """Records one episode, which depends only on the `DatasetScript` and on `seeds`, a `SeedSequence`."""
        ...


@runtime_checkable
class DatasetScript(Protocol):
    """The definition of a generated dataset: its name, size and recorder. A dataclass of JSON-serialisable values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The name of the dataset."""
        ...

    @property
    def episodes(self) -> int:
        """The number of training episodes in the published dataset."""
        ...

    @property
    def steps(self) -> int:
        """The number of steps per episode."""
        ...

    def recorder(self) -> EpisodeRecorder:
        """Builds the recorder of episodes; slow, and needs OGBench."""
        ...


@runtime_checkable
class Launcher(Protocol):
    """Runs trials on machines."""

    def start(self, trial: Any) -> None:
        """Queues a trial, to start when resources are free."""
        ...

    def ended(self, seconds: float) -> Sequence[tuple[Any, Any]]:
        """The trials that ended since the last call, each with its outcome; waits at most `seconds` seconds."""
        ...

    def stop(self) -> None:
        """Stops all running trials, which save a checkpoint first, and cancels queued ones."""
        ...


def require_protocol(name: str, part: object, protocol: type) -> None:
    """Checks that a part has the methods of a protocol.

    **Raises** `TypeError` otherwise; the message lists the missing methods.
    """
    methods = [method for method in vars(protocol) if not method.startswith("_")]
    missing = [method for method in methods if not hasattr(part, method)]
    if missing:
        raise TypeError(
            f"`{name}` must be a {protocol.__name__}, with the methods {', '.join(methods)}; "
            f"got {type(part).__name__}, which lacks {', '.join(missing)}."
        )
