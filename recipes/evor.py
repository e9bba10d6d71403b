r"""EVOR: a flow over returns, and actions sampled from a softmax over KL-regularised values (arXiv 2510.08218).

The flow of the velocity field $v_\theta(t, z \mid s, a)$ transforms noise $\epsilon \sim N(0, 1)$ into a return of the
behaviour policy, which collected the data. If $a'$ is an action of the behaviour policy, and $\bar z_1$ the output of
the target flow for $\epsilon$ at $(s', a')$, the losses and the policy are

$$\begin{aligned}
\text{critic:} \quad & \bigl( v(t, (1 - t) \epsilon + t R \mid s, a) - (R - \epsilon) \bigr)^2,
\quad R = r + \gamma \bar z_1 \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{policy:} \quad & a_i \text{ with probability} \propto \exp(Q^*(s, a_i) / \tau_Q),
\quad a_1, \dots, a_N \sim \pi_{\text{BC}}(s), \\
& Q^*(s, a) = \tau_R \log \tfrac1n \textstyle\sum_j \exp(z_1^j / \tau_R),
\end{aligned}$$

where the $z_1^j$ are the outputs of the flow for $n$ fixed noise samples. Both losses are averaged over the batch, and
the critic loss is summed over two critics. One Adam optimiser minimises their sum. No loss depends on $Q^*$, so
$\tau_R$, $\tau_Q$, $N$ and $n$ only affect how the agent acts.

We had access only to part of EVOR's paper, and not to its tables or its code. From the paper, we took a reward-to-go
distribution that is learnt by flow matching with distributional backups, the log-mean-exp of its samples, and the
selection of one of N actions of a flow with a second temperature. Everything else is our choice, and is listed on the
page of the recipe: the noise, the path, the target network, the next action, the use of two critics, and all default
values.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import optax

import floqzoo as fz
from floqzoo.learner import NStep
from floqzoo.runs import Recipe, RunConfig, buildable, small_run, standard_batches
from floqzoo.successor import DataNextAction
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, BestOfNConfig, behaviour_flow, value_network


@dataclass(frozen=True, kw_only=True)
class EVORConfig(BestOfNConfig):
    """EVOR's hyperparameters. We did not find the paper's values; every default is our choice."""

    q_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the two critics in the target and in the score."""
    flow_steps: int = 10
    """Euler steps of the return flows and of the behaviour flow."""
    next_action: Literal["data", "behaviour"] = "data"
    """The next action in the target: from the data, or drawn from the behaviour flow."""
    return_temperature: float = 10.0
    """Temperature of the log-mean-exp of returns, above 0, in units of reward; affects only acting."""
    selection_temperature: float = 1.0
    """Temperature of the selection among N actions, above 0, in units of reward; affects only acting."""
    num_score_samples: int = 8
    """Number of returns in each log-mean-exp; affects only acting."""


def evor(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: EVORConfig, key: Key
) -> fz.Agent:
    """Builds the untrained EVOR agent."""
    critic_key, policy_key = jax.random.split(key)
    field = partial(fz.ConditionalField, 1, observation_dim + action_dim, build=value_network(config))
    return fz.Agent(
        critic=fz.EVORCritic(
            fz.Ensemble.build(lambda key: field(key=key), 2, key=critic_key),
            fz.ClippedEuler.from_rewards(reward_range, config.discount, config.flow_steps),
            discount=config.discount,
            aggregation=config.aggregation,
            return_aggregation=config.aggregation,
            num_score_samples=config.num_score_samples,
            return_temperature=config.return_temperature,
            next_action=DataNextAction() if config.next_action == "data" else fz.BestOfNNextAction(1),
        ),
        policy=fz.SoftBestOfNPolicy(
            behaviour_flow(config, observation_dim, action_dim, key=policy_key),
            config.num_samples,
            config.selection_temperature,
        ),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


def reader(config: EVORConfig) -> NStep:
    """Returns a reader of n-step returns, which also reads the data's next action if the target uses it."""
    return NStep(config.n_step, config.discount, next_action=config.next_action == "data")


def default(env_name: str | None) -> RunConfig:
    """Our settings, used for every environment; 1M updates."""
    return RunConfig(env_name=env_name or "cube-double-play-singletask-v0", agent=EVORConfig())


def quickstart(env_name: str | None) -> RunConfig:
    """Trains small networks with a shorter horizon in minutes on two cores. Collects data if none are found."""
    agent = EVORConfig(**QUICKSTART, flow_steps=5, num_samples=8, num_score_samples=4, return_temperature=3.0)
    return small_run(env_name, agent)


RECIPE = Recipe(
    name="evor",
    build=evor,
    presets={"default": default, "quickstart": quickstart},
    check=buildable(evor),
    batch_source=partial(standard_batches, reader=reader),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
