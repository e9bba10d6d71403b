"""Trains and measures floq's critic and the monolithic critic on a maze with known values, for many seeds.

The policy acts greedily over four actions with respect to the critic's score, so policy improvement adds no error, and
the data cover every state and action. All measured errors are therefore errors of the critic.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int, PyTree

from floqzoo.agent import Agent
from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.critics.monolithic_critic import MonolithicCritic
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.prior import UniformPrior, quantile_noise
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.mlp import MLP
from floqzoo.networks.point_embedding import HLGauss
from floqzoo.networks.time_embedding import CosineTime
from floqzoo.protocols import Critic, FlowValued
from floqzoo.records import FrozenAgent, Transition
from floqzoo.studies.members import train_members
from floqzoo.studies.positive_settings import require_positive
from floqzoo.tasks.cell_maze import CORNERS, CellMaze
from floqzoo.typing import Action, Array, Key, Observation, Scalar
from floqzoo.update_rules import JointUpdate, PolyakAveraging


MAZE = CellMaze()


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """Settings of both kinds of critics, some of them only for floq; published values are in brackets."""

    seeds: int = 24
    """Number of agents of each kind, with separate networks and data."""
    transitions: int = 10_000
    """Number of transitions per dataset (1M)."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of every network (four of 512)."""
    updates: int = 4_000
    """Number of updates (2M)."""
    batch_size: int = 64
    """Transitions per update (256)."""
    lr: float = 3e-3
    """Adam's learning rate (3e-4)."""
    tau: float = 0.05
    """Polyak averaging coefficient of the target network (0.005)."""
    num_noise_samples: int = 2
    """floq: noise samples per transition (8)."""
    flow_steps: int = 4
    """floq: number K of Euler steps (8)."""
    noise_coverage: float = 0.1
    """floq: the width of the noise interval as a fraction of the range of returns (0.1)."""

    def __post_init__(self):
        require_positive(self)


class GreedyPolicy(eqx.Module):
    """A policy without parameters that takes the action in `CORNERS` with the highest score."""

    def act(self, observation: Observation, critic: Critic, key: Key) -> Action:
        """Returns the action with the highest score."""
        del key
        actions = jnp.asarray(CORNERS, dtype=observation.dtype)
        return actions[jnp.argmax(jax.vmap(critic.score, (None, 0))(observation, actions))]

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and no metrics."""
        del batch, agent, key
        return jnp.zeros(()), None


class LabData(eqx.Module):
    """The dataset of one seed.

    - `transitions`: All transitions.
    - `count`: The number of transitions in use; batches are sampled from the first `count` transitions.
    - `target_noise`: The standard deviation of Gaussian noise added to each sampled reward, and thus to each TD target.
    """

    transitions: Transition
    count: Int[Array, ""]
    target_noise: Float[Array, ""]

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples a batch with replacement."""
        row_key, noise_key = jax.random.split(key)
        rows = jax.random.randint(row_key, (batch_size,), 0, self.count)
        batch = jax.tree.map(lambda array: array[rows], self.transitions)
        noise = self.target_noise * jax.random.normal(noise_key, (batch_size,))
        return replace(batch, reward=batch.reward + noise)


def lab_data(settings: LabSettings, *, target_noise: float = 0.0) -> LabData:
    """Returns the datasets of all seeds; seed $i$ has the same transitions in every arm of every study."""

    def of_seed(key):
        transitions = MAZE.sample(key, settings.transitions)
        return LabData(transitions, jnp.asarray(settings.transitions), jnp.asarray(target_noise, float))

    return eqx.filter_vmap(of_seed)(_keys(settings, 1))


def with_fixed_targets(data: LabData) -> LabData:
    """Returns the data for supervised learning, with the exact optimal Q as the reward and a discount of 0."""
    values = MAZE.optimal_values()
    step = data.transitions
    exact = jax.vmap(jax.vmap(partial(MAZE.q_value, values)))(step.observation, step.action)
    step = replace(step, reward=exact, discount=jnp.zeros_like(step.discount))
    return eqx.tree_at(lambda data: data.transitions, data, step)


def monolithic_agents(
    settings: LabSettings,
    *,
    optimiser: optax.GradientTransformation | None = None,
    network: Callable[..., Any] | None = None,
    members: int = 2,
) -> Agent:
    """Builds agents with the monolithic critic, one for each seed.

    - `optimiser`: The optimiser; by default Adam with the learning rate of the settings.
    - `network`: A function that builds the network of one member, like the argument `build` of `QEnsemble`; by default,
      it builds an MLP with the hidden layers of the settings.
    - `members`: The size of the ensemble.
    """
    build = network or partial(MLP, hidden=settings.hidden, layer_norm=True)

    def of_seed(key):
        return MonolithicCritic(QEnsemble(2, 2, size=members, build=build, key=key), discount=MAZE.discount)

    return _agents(of_seed, settings, optimiser or optax.adam(settings.lr))


def flow_agents(settings: LabSettings, *, optimiser: optax.GradientTransformation | None = None, **parts: Any) -> Agent:
    """Builds agents with floq's critic, one for each seed.

    - `optimiser`: The optimiser; by default Adam with the learning rate of the settings.
    - `parts`: Further keyword arguments of `FlowCritic`, such as `backup`.
    """
    network = partial(MLP, hidden=settings.hidden, layer_norm=True)
    discount = float(MAZE.discount.value)
    # floq's: 50 bins, and a standard deviation of 16 of them.
    embedding = HLGauss(-1 / (1 - discount), 0.0, edges=51, sigma=16.0)

    def of_seed(key):
        field_key, distilled_key = jax.random.split(key)

        def field(key):
            return ConditionalField(
                1, 4, build=network, time_embedding=CosineTime(), point_embedding=embedding, key=key
            )

        return FlowCritic(
            Ensemble.build(field, 2, key=field_key),
            QEnsemble(2, 2, build=network, key=distilled_key),
            UniformPrior.from_rewards((-1.0, 0.0), discount, noise_coverage=settings.noise_coverage),
            solver=Euler(settings.flow_steps),
            discount=MAZE.discount,
            num_noise_samples=settings.num_noise_samples,
            **parts,
        )

    return _agents(of_seed, settings, optimiser or optax.adam(settings.lr))


SCORE, ERROR = "score of the greedy policy (0: random, 1: best)", "RMS error of Q (units of return)"
"""The labels of the two metrics of `score_and_error`."""

AGENTS = {"floq": flow_agents, "monolithic": monolithic_agents}
"""The functions that build the two kinds of agents, by the name of the arm."""


def _agents(critic: Callable[[Key], Any], settings: LabSettings, optimiser: optax.GradientTransformation) -> Agent:
    def of_seed(key):
        return Agent(
            critic=critic(key),
            policy=GreedyPolicy(),
            update_rule=JointUpdate(optimiser),
            target_update=PolyakAveraging(critic=settings.tau),
        )

    return eqx.filter_vmap(of_seed)(_keys(settings, 0))


def train(agents: PyTree, data: LabData, settings: LabSettings, **options: Any) -> PyTree:
    """Trains the agents of all seeds, and returns them; `options` are passed on to `train_members`."""
    updates, batch_size = settings.updates, settings.batch_size
    return train_members(agents, data, _keys(settings, 2), updates=updates, batch_size=batch_size, **options)[0]


def _keys(settings: LabSettings, purpose: int) -> Any:
    seeds = jax.vmap(jax.random.key)(jnp.arange(settings.seeds))
    return jax.vmap(lambda key: jax.random.fold_in(key, purpose))(seeds)


class Checks(eqx.Module):
    """Evaluation points for critics: several observations in each maze cell, each paired with every action in
    `CORNERS`.

    - `observation`, `action`: All pairs.
    - `value`: The exact optimal Q of each pair.
    """

    observation: Float[Array, "cells looks corners 2"]
    action: Float[Array, "cells looks corners 2"]
    value: Float[Array, "cells looks corners"]


def checks(looks: int = 4) -> Checks:
    """Returns the evaluation points, with `looks` observations in each cell; they are the same for all critics."""
    cells = len(MAZE.places)
    keys = jax.random.split(jax.random.key(11), (cells, looks))
    observation = jax.vmap(jax.vmap(MAZE.observe, (None, 0)))(jnp.arange(cells), keys)
    observation = jnp.broadcast_to(observation[:, :, None], (cells, looks, len(CORNERS), 2))
    action = jnp.broadcast_to(jnp.asarray(CORNERS, dtype=observation.dtype), observation.shape)
    values = MAZE.optimal_values()
    exact = jax.vmap(jax.vmap(jax.vmap(partial(MAZE.q_value, values))))(observation, action)
    return Checks(observation, action, exact)


def flow_ends(critic: FlowValued, where: Checks, count: int = 16) -> Float[Array, "cells looks corners members count"]:
    """Computes the output of each member's flow for `count` evenly spaced quantiles of the noise prior."""
    starts = quantile_noise(critic.prior, count)

    def of_pair(observation, action):
        return jax.vmap(lambda noise: critic.returns(observation, action, noise), out_axes=1)(starts)

    return jax.vmap(jax.vmap(jax.vmap(of_pair)))(where.observation, where.action)


def q_of(critic: Any, where: Checks) -> Float[Array, "cells looks corners"]:
    """Computes Q of a critic: the mean output of its flows, or its score if it has no flows."""
    if isinstance(critic, FlowValued):
        return jnp.mean(flow_ends(critic, where), axis=(-2, -1))
    return scores_of(critic, where)


def scores_of(critic: Any, where: Checks) -> Float[Array, "cells looks corners"]:
    """Computes the critic's score, which the policy maximises, for each observation-action pair."""
    return jax.vmap(jax.vmap(jax.vmap(critic.score)))(where.observation, where.action)


def value_error(critic: Any, where: Checks) -> Scalar:
    """Computes the root mean square error of Q in units of return, where each step costs 1."""
    return jnp.sqrt(jnp.mean((q_of(critic, where) - where.value) ** 2))


def policy_score(critic: Any, where: Checks) -> Scalar:
    r"""Computes the exact normalised performance of the greedy policy: 1 for the best policy over the actions in
    `CORNERS`, 0 for a random policy.

    This is $(J_\pi - J_\text{random}) / (J^* - J_\text{random})$, where $J$ is the mean of V over the cells.
    """
    best = jnp.argmax(scores_of(critic, where), axis=-1)
    choice = jnp.mean(jax.nn.one_hot(best, len(CORNERS)), axis=1)
    reached = jnp.mean(MAZE.policy_values(choice))
    random = jnp.mean(MAZE.policy_values(jnp.full_like(choice, 1 / len(CORNERS))))
    return (reached - random) / (jnp.mean(MAZE.optimal_values()) - random)


def of_each_seed(function: Callable[[Any], Any], agents: Agent) -> Any:
    """Computes `function(critic)` for the critics of all seeds."""
    return eqx.filter_jit(eqx.filter_vmap(function))(agents.critic)


def score_and_error(agents: Agent) -> dict[str, Float[Array, " seeds"]]:
    """Computes the metrics "score" (of the policy) and "error" (of Q) for every seed."""
    where = checks()
    return of_each_seed(
        lambda critic: {"score": policy_score(critic, where), "error": value_error(critic, where)}, agents
    )
