r"""EVOR: a flow over the behaviour policy's returns, and actions drawn by KL-regularised values (arXiv 2510.08218).

The field $v_\theta(t, z \mid s, a)$ turns noise $\epsilon \sim N(0, 1)$ into a return of the policy that recorded the
data. With $\bar z_1$ the output of the target flow for $\epsilon$ at $(s', a')$, and $a'$ an action of that policy:

$$\begin{aligned}
\text{critic:} \quad & \bigl( v(t, (1 - t) \epsilon + t R \mid s, a) - (R - \epsilon) \bigr)^2,
\quad R = r + \gamma \bar z_1 \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, (1 - t) x_0 + t a \mid s) - (a - x_0) \rVert^2 \\
\text{acts by} \quad & a_i \text{ with probability} \propto \exp(Q^*(s, a_i) / \tau_Q),
\quad a_1, \dots, a_N \sim \pi_{\text{BC}}(s), \\
& Q^*(s, a) = \tau_R \log \tfrac1n \textstyle\sum_j \exp(z_1^j / \tau_R),
\end{aligned}$$

both losses averaged over the batch, the first summed over two critics, and both minimised by one Adam optimiser. The
$z_1^j$ are the outputs of the flow for $n$ fixed noise samples. No loss depends on $Q^*$: $\tau_R$, $\tau_Q$, $N$ and
$n$ only affect how the agent acts.

We had no access to the code of EVOR or to its tables, and only to part of the paper. The paper has a reward-to-go
distribution learnt by flow matching with distributional backups, the log-mean-exp of its samples, and a choice among N
actions of a flow with a second temperature. Everything else is our choice, and is listed on the page of the recipe: the
noise, the path, the target network, the next action, the use of two critics, and all default values.
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
    """EVOR's hyperparameters. We did not find those of the paper: every default is our choice."""

    q_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the two critics in the target and in the score."""
    flow_steps: int = 10
    """Euler steps of the return flows and of the behaviour flow."""
    next_action: Literal["data", "behaviour"] = "data"
    """The next action of the target: that of the data, or a draw from the behaviour flow."""
    return_temperature: float = 10.0
    """Temperature of the log-mean-exp of returns, above 0, in units of reward; affects only acting."""
    selection_temperature: float = 1.0
    """Temperature of the choice among N actions, above 0, in units of reward; affects only acting."""
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
    """A reader of n-step returns, with the data's next action if the target uses it."""
    return NStep(config.n_step, config.discount, next_action=config.next_action == "data")


def default(env_name: str | None) -> RunConfig:
    """Our settings, the same for every environment; 1M updates."""
    return RunConfig(env_name=env_name or "cube-double-play-singletask-v0", agent=EVORConfig())


def quickstart(env_name: str | None) -> RunConfig:
    """Runs in minutes on two cores: small networks and a shorter horizon; collects data if none are on disk."""
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
