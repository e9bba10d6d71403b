r"""The protocols of floqzoo, which list the methods that each kind of part must have.

A class satisfies a protocol by having its methods; it does not have to inherit from the protocol. Code that composes
parts depends only on these protocols. The protocols differ in the names of their methods, so
`isinstance(part, Protocol)` checks whether a part fits. Methods take a single example, and the caller applies
`jax.vmap`. Losses take a batch, with the batch axis first.

Optional capabilities (`NoisyCritic`, `Diagnosable`, `HasBehaviour`, ...) are protocols too. A part needs them only if
it is passed to code that uses them.

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
    FutureKind,
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
    """The noise distribution from which a flow starts."""

    def sample(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws independent samples, as an array of the given shape."""
        ...

    def log_prob(self, x: Point) -> Scalar:
        """Returns the log-density of a point, summed over its coordinates."""
        ...


@runtime_checkable
class HasQuantiles(Protocol):
    """Optional capability of a noise prior over the real line: its quantiles, which represent it by fixed samples."""

    def quantile(self, level: float) -> Scalar:
        """Returns the quantile at a `level` in (0, 1)."""
        ...


@runtime_checkable
class ProbabilityPath(Protocol):
    """A probability path from noise to data, on which a velocity field is trained."""

    def at(self, t: Time, x0: Point, x1: Point) -> PathPoint:
        """Returns the point at time `t` on the path from noise `x0` to data `x1`, and the velocity at that point."""
        ...

    def conditional_velocity(self, t: Time, x: Point, x1: Point) -> Point:
        """Returns the conditional velocity $u_t(x | x_1)$, which depends on the data point but not on the noise."""
        ...


@runtime_checkable
class ODESolver(Protocol):
    """An ODE solver, which integrates a velocity field."""

    @property
    def evaluations(self) -> int:
        """The number of velocity evaluations per solve (NFE), the unit in which floqzoo reports compute."""
        ...

    def solve(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Point:
        """Returns the solution at `t1`, starting from `x0` at `t0`; if `t1 < t0`, integrates backwards in time."""
        ...

    def trajectory(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Trajectory:
        """Returns all states of a solve in order; the last one is the state that `solve` returns."""
        ...


@runtime_checkable
class VelocityField(Protocol):
    """A conditional velocity field, split into two methods so that the condition is encoded only once per solve."""

    def encode(self, *condition: Condition) -> Code:
        """Encodes the condition, such as an observation and an action; called once per solve."""
        ...

    def velocity(self, t: Time, x: Point, code: Code) -> Point:
        """Returns the velocity at time `t` and point `x`, for the condition that `encode` encoded as `code`."""
        ...


@runtime_checkable
class LinearLayer(Protocol):
    """An affine map that can be applied to one slice of its input at a time."""

    def part(self, x: Float[Array, " part"], start: int) -> Float[Array, " out"]:
        """Returns the contribution of `x`, the input slice starting at index `start`, to the output before the bias."""
        ...

    def with_bias(self, product: Float[Array, " out"]) -> Float[Array, " out"]:
        """Adds the bias to `product`, the sum of the contributions that `part` returns."""
        ...


@runtime_checkable
class Network(Protocol):
    """A network that maps vectors to vectors, and whose first layer is linear."""

    @property
    def stem(self) -> LinearLayer:
        """The first layer."""
        ...

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """The output for one input: the first layer, then `body`."""
        ...

    def body(self, hidden: Float[Array, " width"]) -> Float[Array, " out"]:
        """Returns the output of the network, given the pre-activation of the first layer."""
        ...


@runtime_checkable
class TimeEmbedding(Protocol):
    """An embedding of the flow time, a number in [0, 1], as a vector of features."""

    @property
    def time_features(self) -> int:
        """The number of features."""
        ...

    def embed_time(self, t: Time) -> Float[Array, " features"]:
        """Returns the features of time `t`."""
        ...


@runtime_checkable
class PointEmbedding(Protocol):
    """An embedding of a point of a flow as a vector of features."""

    def point_features(self, dim: int) -> int:
        """Returns the number of features of a point with `dim` coordinates."""
        ...

    def embed_point(self, x: Point) -> Float[Array, " features"]:
        """Returns the features of point `x`."""
        ...


@runtime_checkable
class TimeDistribution(Protocol):
    """The distribution of the times at which a flow is trained."""

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws independent times in [0, 1), as an array of the given shape."""
        ...


@runtime_checkable
class Aggregation(Protocol):
    """A rule that combines the values of an ensemble's members into one value."""

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Reduces the first axis of `values`, which contains the ensemble members."""
        ...


@runtime_checkable
class Backup(Protocol):
    """A backup rule, which computes a TD target for each noise sample from sampled values of the next state."""

    def td_targets(
        self, reward: Scalar, continuation: Scalar, next_values: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """Returns a target for each noise sample; `continuation` is $\\gamma$ times the transition's discount."""
        ...


@runtime_checkable
class NoiseCoupling(Protocol):
    """A coupling between the initial noise of the online flows and the initial noise of the target flows."""

    def next_noise(
        self, noise: Float[Array, "samples dim"], fresh: Float[Array, "samples dim"]
    ) -> Float[Array, "samples dim"]:
        """Returns the initial noise of the target flows. `noise` is the initial noise of the online flows, and `fresh`
        is a second sample, independent of `noise`."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A policy, which draws actions and defines its own training loss."""

    def act(self, observation: Observation, critic: "Critic", key: Key) -> Action:
        """Draws an action with each coordinate in [-1, 1]. The policy may use the critic, as in best-of-N sampling."""
        ...

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """Returns the loss on a batch and its metrics; `agent` is treated as a constant."""
        ...


@runtime_checkable
class Critic(Protocol):
    """A critic, which estimates the expected discounted return of an action."""

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q(observation, action) in units of reward. The value is deterministic and differentiable, so that a
        policy can be trained to maximise it."""
        ...

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """Returns the loss on a batch and its metrics. `agent` is treated as a constant, and `agent.target.critic` has
        the same class as this critic."""
        ...


@runtime_checkable
class NoisyCritic(Protocol):
    """Optional capability of a critic: a stochastic estimate of the value."""

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """Returns a sample or an estimate of Q(observation, action), in units of reward."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """Optional capability of a critic: diagnostics that are logged at each evaluation."""

    def diagnose(self, batch: Transition, key: Key) -> Metrics:
        """Computes diagnostics on a batch from the dataset, and returns them as a record of scalars."""
        ...


@runtime_checkable
class FlowValued(Protocol):
    """Optional capability of a critic: its values are the outputs of an ensemble of flows over the real line."""

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
        """Returns the [`Flow`][floqzoo.flow.Flow] of an ensemble member, given the member's velocity field."""
        ...

    def returns(self, observation: Observation, action: Action, noise: Float[Array, "1"]) -> Float[Array, " members"]:
        """Returns the output of each member's flow for one noise sample."""
        ...

    def batch_returns(
        self, batch: Transition, noise: Float[Array, "batch samples 1"]
    ) -> Float[Array, "members batch samples"]:
        """Returns the output of each member's flow at the (s, a) of each transition, for all noise samples of that
        transition."""
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
    """Optional capability of a policy: a separate method that draws actions for exploration."""

    def explore(self, observation: Observation, critic: Critic, key: Key) -> Action:
        """Draws an action for exploration, each coordinate in [-1, 1]."""
        ...


@runtime_checkable
class ActsInChunks(Protocol):
    """Optional capability of a policy: it acts in chunks, each a flat vector of the actions of several steps."""

    @property
    def chunk_length(self) -> int:
        """The number of steps in a chunk."""
        ...

    @property
    def execution_horizon(self) -> int:
        """The number of steps of a chunk that are executed before the next one is drawn, from 1 to `chunk_length`."""
        ...


@runtime_checkable
class HasDensity(Protocol):
    """Optional capability of a policy: the log-density of the actions that it draws."""

    def act_with_log_prob(self, observation: Observation, key: Key) -> ActionDraw:
        """Draws an action and returns it with the log-density of the draw, taken before the action is clipped to
        [-1, 1]."""
        ...


@runtime_checkable
class HasTemperature(Protocol):
    """Optional capability of a policy: the temperature with which it maximises its entropy."""

    @property
    def entropy_temperature(self) -> Scalar:
        """The temperature, at least 0, in units of reward for each unit of entropy."""
        ...


@runtime_checkable
class ActsFromNoise(Protocol):
    """Optional capability of a policy: its action is a function of observation and noise, which can be exported.

    For any key, `act` returns the same action as `act_from_noise` applied to the noise that `draw_noise` draws.
    """

    @property
    def noise_prior(self) -> NoisePrior | None:
        """The distribution of each noise coordinate; coordinates are independent. None for a deterministic policy."""
        ...

    def draw_noise(self, key: Key) -> Float[Array, "*noise"]:
        """Draws the noise for one action; for a deterministic policy, returns an array of size 0."""
        ...

    def act_from_noise(self, observation: Observation, critic: Critic, noise: Float[Array, "*noise"]) -> Action:
        """Returns the action for the given noise, deterministically. Each coordinate of the action is in [-1, 1]."""
        ...


@runtime_checkable
class ActsInSteps(Protocol):
    """Optional capability of a policy: it can draw actions with different numbers of solver steps."""

    def act_in_steps(self, observation: Observation, critic: "Critic", key: Key, steps: StepCount) -> Action:
        """Draws an action in `steps` solver steps; each coordinate is in [-1, 1]."""
        ...


@runtime_checkable
class ScoresInSteps(Protocol):
    """Optional capability of a critic: the value of a policy that acts in a given number of solver steps."""

    def score_in_steps(self, observation: Observation, action: Action, steps: StepCount) -> Scalar:
        """Returns Q(observation, action) for the policy that draws all later actions in `steps` solver steps. Like
        `score`, the result is differentiable."""
        ...


@runtime_checkable
class HasAdvantage(Protocol):
    """Optional capability of a critic: the advantage of an action."""

    def advantage(self, observation: Observation, action: Action) -> Scalar:
        """Returns the advantage Q(observation, action) - V(observation), in units of reward."""
        ...


@runtime_checkable
class ActsForLatent(Protocol):
    """Optional capability of a policy: a family of deterministic policies, one for each task vector z."""

    def act_for(self, observation: Observation, latent: Float[Array, " latent"]) -> Action:
        """Returns the action for the task vector `latent`. The action is deterministic and differentiable, and each of
        its coordinates is in [-1, 1]."""
        ...


@runtime_checkable
class ScoresForLatent(Protocol):
    """Optional capability of a critic: scores for each task vector z."""

    def score_for(self, observation: Observation, action: Action, latent: Float[Array, " latent"]) -> Scalar:
        """Returns the Q-value of an action on the task with the vector `latent`, under the policy for this task. The
        value is deterministic and differentiable."""
        ...

    def sample_latents(self, observations: Float[Array, "batch observation"], key: Key) -> Float[Array, "batch latent"]:
        """Draws one task vector for each row of a batch, from the distribution of tasks used in training. No gradient
        passes through the result."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """Optional capability of a velocity field: the input of its last linear layer."""

    def last_features(self, t: Time, x: Point, code: Code) -> Float[Array, " width"]:
        """Returns the input of the last linear layer at time `t` and point `x`."""
        ...


@runtime_checkable
class UpdateRule(Protocol):
    """A rule that performs the optimiser steps of an update."""

    def init_optimisers(self, parts: ActorCritic) -> PyTree:
        """Returns the initial state of the optimisers."""
        ...

    def update_parts(
        self, parts: ActorCritic, optimisers: PyTree, agent: FrozenAgent, batch: Transition, key: Key
    ) -> tuple[ActorCritic, PyTree, UpdateMetrics]:
        """Performs one update; returns the new parts, the new optimiser states, and the metrics of the batch."""
        ...


@runtime_checkable
class HasPhases(Protocol):
    """Optional capability of an update rule or an agent: training in consecutive phases with different losses."""

    @property
    def phase_starts(self) -> Mapping[str, int]:
        """The number of updates before each phase starts, by phase name and in order; empty if there are no phases."""
        ...


@runtime_checkable
class TargetUpdate(Protocol):
    """A rule that creates and updates the target networks."""

    def init_targets(self, parts: ActorCritic) -> ActorCritic:
        """Returns the initial target networks, which share no array buffers with `parts`."""
        ...

    def update_targets(
        self, target: ActorCritic, before: ActorCritic, after: ActorCritic, step: Int[Array, ""]
    ) -> ActorCritic:
        """Returns the target networks after update `step` (counted from 0), which changed the parts from `before` to
        `after`."""
        ...


@runtime_checkable
class TrainableAgent(Protocol):
    """The agent of one seed, which the trainer can train: an [`Agent`][floqzoo.agent.Agent], or your own class."""

    @property
    def parts(self) -> ActorCritic:
        """The critic and the policy, which are all that is needed to act."""
        ...

    @property
    def step(self) -> Int[Array, "*seeds"]:
        """The number of updates so far."""
        ...

    def update(self, batch: Transition, key: Key) -> tuple["TrainableAgent", UpdateMetrics]:
        """Performs one update; returns the new agent and the metrics of the batch. This is a pure function."""
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
        """Draws `count` future observations from the measure of the given observation and action."""
        ...

    def log_prob(self, future: Observation, observation: Observation, action: Action) -> Scalar:
        """Returns the log-density of a future observation, given an observation and an action."""
        ...

    def successor_loss(self, batch: Transition, target: Any, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics]:
        """Returns the loss on a batch and its metrics. `target`, a measure of the same class, and `agent` are treated
        as constants."""
        ...


@runtime_checkable
class HasFutureKind(Protocol):
    """Optional capability of a successor measure: it says which futures it contains.

    Without it, the futures are taken to start at the next state and to be those of the agent's policy.
    """

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures."""
        ...


@runtime_checkable
class PredictsFutures(HasFutureKind, Protocol):
    """Optional capability of a critic: it samples future states, which `floqzoo inspect` compares with episodes."""

    @property
    def reward(self) -> "RewardModel | None":
        """The model of the reward with which the critic computes values from futures; None if it has no such model."""
        ...

    def predict_futures(
        self,
        observation: Observation,
        action: Action,
        states: Float[Array, "states observation"],
        count: int,
        key: Key,
    ) -> Float[Array, "count observation"]:
        """Draws `count` futures. A critic that only knows densities relative to the data chooses from `states`, which
        are states of the data, and returns NaN if the density is positive at none of them."""
        ...


@runtime_checkable
class SuccessorTarget(Protocol):
    """The regression target of a successor measure for future states beyond the next state."""

    def regression(self, flow: Any, code: Code, step: Transition, t: Time, key: Key) -> PathPoint:
        """Returns a point at time `t`, and the velocity that the measure should learn there.

        `flow` is the target flow, `code` its encoding of the next state and action, and `step` the normalised
        transition.
        """
        ...


@runtime_checkable
class NextAction(Protocol):
    """A rule that chooses next actions, and so determines the policy whose return or successor measure is learnt."""

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """Returns an action for each next observation. As in `batch.action`, each coordinate is in [-1, 1]."""
        ...


@runtime_checkable
class RewardModel(Protocol):
    """A model of the reward as a function of the state."""

    def reward_of(self, observation: Observation) -> Scalar:
        """Returns the reward of a state. This method must be differentiable if a policy is trained to maximise the
        reward."""
        ...

    def reward_loss(self, batch: Transition) -> Scalar:
        """Returns the loss on a batch; 0 for a model without parameters."""
        ...


@runtime_checkable
class EpisodeStore(Protocol):
    """A store of transitions, episode by episode: a dataset, or the replay buffer of one seed.

    The store assigns an integer address `at` to each transition. Methods take arrays of addresses.
    """

    def transition(self, at: Int[Array, "*batch"]) -> Transition:
        """Returns the transitions at the given addresses, with their next actions."""
        ...

    def later(self, at: Int[Array, "*batch"], steps: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """For each address, returns the address `steps` transitions later in the same episode; `steps` is at most
        `steps_left(at)`."""
        ...

    def steps_left(self, at: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns the number of later transitions in the same episode, for each address."""
        ...


@runtime_checkable
class EpisodeDataset(EpisodeStore, Protocol):
    """A dataset that batch sources read as an `EpisodeStore`, so that batches may contain more than single steps."""

    @property
    def size(self) -> int:
        """The number of transitions."""
        ...

    @property
    def starts(self) -> Int[Array, " transitions"]:
        """The addresses of all transitions."""
        ...

    def with_next_actions(self) -> "EpisodeDataset":
        """Returns the dataset without the transitions whose next action is unknown."""
        ...


@runtime_checkable
class HasReplay(EpisodeDataset, Protocol):
    """Optional capability of a dataset: replay buffers for transitions like its own, which online training requires."""

    def empty_replay(self, *, seeds: int, slots: int, environments: int) -> Any:
        """Creates an empty [`ReplayBuffer`][floqzoo.tasks.ReplayBuffer]; the arguments are those of its method
        `empty`."""
        ...


@runtime_checkable
class TransitionReader(Protocol):
    """Defines what a batch contains for each sampled transition: a single step, an n-step return or a future state."""

    @property
    def reads_next_action(self) -> bool:
        """Whether reading a transition requires its next action."""
        ...

    def read(self, store: EpisodeStore, at: Int[Array, " batch"], key: Key) -> Transition:
        """Reads the examples that start at the given addresses of the store."""
        ...


@runtime_checkable
class BatchSource(Protocol):
    """A source of training batches for a run."""

    def draw_batch(self, dataset: Any, replay: Any, place: Int[Array, ""], key: Key, batch_size: int) -> Transition:
        """Draws the batch for one update of one seed; called inside the compiled scan.

        `replay` contains the replay buffers of all seeds, or is None in the offline phase. `place` is the index of the
        seed along the first axis of the buffers.
        """
        ...


@runtime_checkable
class OfflineDataset(Protocol):
    """The dataset of an offline run, with its transitions on the device."""

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions uniformly, with replacement."""
        ...

    def fingerprint(self) -> str:
        """Returns a hash of the contents."""
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
        """A function that creates a new Gymnasium environment; None if the task has no environment.

        The function must be picklable if environments run in worker processes. On a task without an environment, only
        losses and diagnostics are computed.
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
        """Returns JSON-serialisable values that identify the data and the environment; stored with the results."""
        ...


@runtime_checkable
class MetricWriter(Protocol):
    """A writer that receives the metrics of a run, under the same names as in the run's tables."""

    def write_metrics(self, step: int, seed: int, metrics: Mapping[str, float]) -> None:
        """Receives the metrics of one seed after `step` updates; a value of NaN means that the metric is missing."""
        ...

    def close_writer(self) -> None:
        """Flushes and closes the writer."""
        ...


@runtime_checkable
class EpisodeRecorder(Protocol):
    """A recorder of episodes for a generated dataset."""

    def record(self, seeds: Any) -> dict[str, Any]:
        """Records one episode. The result depends only on the `DatasetScript` and on `seeds`, a `SeedSequence`."""
        ...


@runtime_checkable
class DatasetScript(Protocol):
    """A dataclass of JSON-serialisable values that defines a generated dataset: its name, size and recorder."""

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
        """Builds the recorder of episodes. This is slow, and requires OGBench."""
        ...


@runtime_checkable
class Launcher(Protocol):
    """A launcher, which runs the trials of a sweep on one or more machines."""

    def start(self, trial: Any) -> None:
        """Queues a trial; it starts as soon as resources are free."""
        ...

    def ended(self, seconds: float) -> Sequence[tuple[Any, Any]]:
        """Returns the trials that have ended since the last call, each with its outcome, after waiting for at most
        `seconds` seconds."""
        ...

    def stop(self) -> None:
        """Stops all running trials, after each has saved a checkpoint, and cancels the queued ones."""
        ...


def require_protocol(name: str, part: object, protocol: type) -> None:
    """Checks that a part has the methods of a protocol.

    **Raises** `TypeError` if it lacks any of them; the message lists the missing methods.
    """
    kinds = [kind for kind in reversed(protocol.__mro__) if getattr(kind, "_is_protocol", False)]
    methods = [method for kind in kinds for method in vars(kind) if not method.startswith("_")]
    missing = [method for method in methods if not hasattr(part, method)]
    if missing:
        raise TypeError(
            f"`{name}` must be a {protocol.__name__}, with the methods {', '.join(methods)}; "
            f"got {type(part).__name__}, which lacks {', '.join(missing)}."
        )
