r"""QC: Q-learning over action chunks, acting by best-of-N sampling (arXiv 2507.07969).

$$\begin{aligned}
\text{critic:} \quad & m_{h-1} \Bigl( Q_e(s_t, a_{t:t+h}) - \textstyle\sum_{k<h} \gamma^k r_{t+k}
- \gamma^h \tfrac1E \sum_e \bar Q_e(s_{t+h}, a') \Bigr)^2 \\
\text{flow BC:} \quad & \tfrac1{hd} \textstyle\sum_{k<h} m_k \lVert [v(u, (1 - u) x_0 + u \, a_{t:t+h} \mid s_t)
- (a_{t:t+h} - x_0)]_k \rVert^2 \\
\text{policy:} \quad & \operatorname{arg\,max}_{a_i} \tfrac1E \textstyle\sum_e Q_e(s, a_i),
\quad a_1, \dots, a_N \sim \pi_{\text{BC}}(s)
\end{aligned}$$

An action of the agent is a chunk $a_{t:t+h}$ of $h$ actions. $m_k$ is 1 if step $t + k$ belongs to the same episode as
step $t$, and 0 otherwise. Both losses are averaged over the whole batch, and the critic loss also over the two critics.
One Adam optimiser minimises their sum. The next chunk $a'$ is the chunk that the agent would execute: it is selected by
the online critic, and evaluated by the target critic.
"""

from dataclasses import dataclass

import jax
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable, small_run
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, ChunkedConfig, best_of_n, published_run, value_network
from recipes.published import qc as published


@dataclass(frozen=True, kw_only=True)
class QCConfig(ChunkedConfig):
    """QC's hyperparameters."""

    chunk_length: int = 5
    """Number of actions in a chunk (`horizon_length` in the official code)."""
    num_samples: int = 32
    """N, the number of candidate chunks (`actor_num_samples`)."""
    flow_steps: int = 10
    """Euler steps of the behaviour flow."""


def qc(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: QCConfig, key: Key
) -> fz.Agent:
    """Builds the untrained QC agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    chunk_dim = config.chunk_length * action_dim
    return fz.Agent(
        critic=fz.MonolithicCritic(
            fz.QEnsemble(observation_dim, chunk_dim, build=value_network(config), key=critic_key),
            discount=config.discount,
        ),
        policy=config.chunked(best_of_n(config, observation_dim, chunk_dim, key=policy_key)),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=config.tau),
    )


def default(env_name: str | None) -> RunConfig:
    """The offline part of the published run: 1M updates."""
    return published_run(env_name, published.QC, QCConfig())


def online(env_name: str | None) -> RunConfig:
    """The published run: 1M updates, then 1M environment steps, with updates starting at step 5,000."""
    return published_run(env_name, published.QC, QCConfig(), online_steps=1_000_000, online_start=5_000)


def bfn(env_name: str | None) -> RunConfig:
    """BFN, the paper's baseline: QC with single actions and N = 4; 1M updates."""
    return published_run(env_name, published.BFN, QCConfig())


def quickstart(env_name: str | None) -> RunConfig:
    """Trains small networks with a shorter horizon in minutes on two cores. Collects data if none are found."""
    return small_run(env_name, QCConfig(**QUICKSTART, num_samples=8, flow_steps=5))


RECIPE = Recipe(
    name="qc",
    build=qc,
    presets={"default": default, "online": online, "bfn": bfn, "quickstart": quickstart},
    check=buildable(qc),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
