"""Trains flow critics with floq's loss on the analytic chain, where the exact values of the policy are known."""

from dataclasses import dataclass, replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from floqzoo.agent import Agent
from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.prior import UniformPrior, quantile_noise
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.mlp import MLP
from floqzoo.networks.point_embedding import HLGauss
from floqzoo.networks.time_embedding import CosineTime
from floqzoo.records import Transition
from floqzoo.studies.members import train_members
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.successor_training import REWARD
from floqzoo.tasks.linear_gaussian import LinearGaussian
from floqzoo.typing import Array, Key
from floqzoo.update_rules import JointUpdate, PolyakAveraging


@dataclass(frozen=True, kw_only=True)
class ValueSettings:
    """Training settings of a study; floq's values are in brackets."""

    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of the velocity fields and of the distilled critic (four of 512)."""
    updates: int = 6_000
    """Number of updates (2M)."""
    batch_size: int = 64
    """Transitions per update (256)."""
    num_noise_samples: int = 4
    """Noise samples per transition (8)."""
    lr: float = 1e-3
    """Adam's learning rate (3e-4)."""
    tau: float = 0.05
    """Polyak averaging coefficient of the target network (0.005). The chain's horizon is 10, not 100 or 200 as in
    floq."""

    def __post_init__(self):
        require_positive(self)


class PaidChain(eqx.Module):
    """The linear-Gaussian chain, where the reward of a transition is `REWARD` evaluated at the next state; for this
    reward, `chain.value` returns the exact Q-value."""

    chain: LinearGaussian = LinearGaussian.spiral(0.9)

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions of the behaviour policy."""
        step = self.chain.sample(key, batch_size)
        reward = jax.vmap(REWARD)(step.next_observation)
        return Transition(step.observation, step.action, reward, step.discount, step.next_observation)


class Probe(eqx.Module):
    """States and actions at which critics are evaluated, with their exact Q-values.

    - `observation`, `action`: Samples of the behaviour policy.
    - `value`: The exact Q-values.
    """

    observation: Float[Array, "states observation"]
    action: Float[Array, "states action"]
    value: Float[Array, " states"]


def probe(task: PaidChain, states: int) -> Probe:
    """Samples the states and actions at which every critic is evaluated."""
    batch = task.sample(jax.random.key(7), states)
    value = jax.vmap(lambda observation, action: task.chain.value(observation, action, REWARD))
    return Probe(batch.observation, batch.action, value(batch.observation, batch.action))


def reward_range(task: PaidChain) -> tuple[float, float]:
    """Returns the minimum and the maximum reward over ten thousand sampled transitions."""
    reward = task.sample(jax.random.key(8), 10_000).reward
    return float(jnp.min(reward)), float(jnp.max(reward))


def train_critics(task: PaidChain, coverage: float, steps: int, seeds: int, settings: ValueSettings) -> FlowCritic:
    """Trains one critic per seed, all in one compiled program.

    The critics are returned as one `FlowCritic`, where the first axis of every array indexes the seeds.

    - `coverage`: The width of the noise interval as a fraction of the range of returns: floq's kappa.
    - `steps`: The number K of Euler steps of the critic's solver.
    """
    rewards = reward_range(task)
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    agents = eqx.filter_vmap(lambda key: _agent(task, rewards, coverage, steps, settings, key))(keys)
    agents, _ = train_members(
        agents,
        eqx.filter_vmap(lambda _: task)(keys),
        jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys),
        updates=settings.updates,
        batch_size=settings.batch_size,
    )
    return agents.critic


def ends_of(critic: FlowCritic, where: Probe, steps: int, count: int = 32) -> Float[Array, "states count members"]:
    """Computes the outputs of a trained critic's flows with `steps` Euler steps, for each state and noise sample."""
    critic = replace(critic, solver=Euler(steps))
    noise_samples = quantile_noise(critic.prior, count)

    def of_state(observation, action):
        return jax.vmap(lambda noise: critic.returns(observation, action, noise))(noise_samples)

    return eqx.filter_jit(jax.vmap(of_state))(where.observation, where.action)


def _agent(
    task: PaidChain, rewards: tuple[float, float], coverage: float, steps: int, settings: ValueSettings, key: Key
) -> Agent:
    chain = task.chain
    discount = float(np.asarray(chain.discount.value))
    dims, network = (chain.observation_dim, chain.action_dim), partial(MLP, hidden=settings.hidden)
    # The same relative width of the Gaussian as in floq, 16 of 50 bins, with fewer bins.
    embedding = HLGauss(rewards[0] / (1 - discount), rewards[1] / (1 - discount), edges=21, sigma=6.4)
    field_key, distilled_key = jax.random.split(key)

    def field(key):
        return ConditionalField(
            1, sum(dims), build=network, time_embedding=CosineTime(), point_embedding=embedding, key=key
        )

    critic = FlowCritic(
        Ensemble.build(field, 2, key=field_key),
        QEnsemble(*dims, build=network, key=distilled_key),
        UniformPrior.from_rewards(rewards, discount, noise_coverage=coverage),
        solver=Euler(steps),
        discount=discount,
        num_noise_samples=settings.num_noise_samples,
    )
    return Agent(
        critic=critic,
        policy=chain.policy,
        update_rule=JointUpdate(optax.adam(settings.lr)),
        target_update=PolyakAveraging(critic=settings.tau),
    )
