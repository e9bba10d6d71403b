r"""Behaviour cloning by flow matching: FQL's behaviour flow, without a critic (arXiv 2502.02538, equation 5).

$$\mathbb E_{t, x_0} \tfrac1d \lVert v_\theta(t, x_t \mid s) - (a - x_0) \rVert^2,
\qquad x_t = (1 - t) x_0 + t a, \quad x_0 \sim N(0, I).$$
"""

from dataclasses import dataclass

import optax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import CloningConfig, behaviour_flow


@dataclass(frozen=True, kw_only=True)
class BCConfig(CloningConfig):
    """The hyperparameters of FQL's behaviour flow."""

    flow_steps: int = 10
    """Euler steps of the flow."""


def bc(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: BCConfig, key: Key
) -> fz.Agent:
    """Builds the untrained behaviour-cloning agent."""
    del reward_range
    return fz.Agent(
        critic=fz.NullCritic(),
        policy=behaviour_flow(config, observation_dim, action_dim, key=key),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=None),
    )


def default(env_name: str | None) -> RunConfig:
    """FQL's networks and optimiser, 1M updates."""
    return RunConfig(env_name=env_name or "cube-double-play-singletask-v0", agent=BCConfig())


RECIPE = Recipe(name="bc", build=bc, presets={"default": default}, check=buildable(bc))

if __name__ == "__main__":
    run_recipe(RECIPE)
