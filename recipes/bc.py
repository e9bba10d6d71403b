"""Behaviour cloning by flow matching: FQL's behaviour flow alone."""

from dataclasses import dataclass
from functools import partial

import optax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key


@dataclass(frozen=True, kw_only=True)
class BCConfig:
    """The hyperparameters of FQL's behaviour flow."""

    lr: float = 3e-4
    """Adam's learning rate."""
    batch_size: int = 256
    """Transitions per update."""
    actor_hidden_dims: tuple[int, ...] = (512, 512, 512, 512)
    """Hidden layers of the flow."""
    actor_layer_norm: bool = False
    """Whether the flow uses layer norm."""
    flow_steps: int = 10
    """Euler steps of the flow."""


def bc(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: BCConfig, key: Key
) -> fz.Agent:
    """Builds the untrained behaviour-cloning agent."""
    del reward_range
    network = partial(fz.MLP, hidden=config.actor_hidden_dims, layer_norm=config.actor_layer_norm)
    return fz.Agent(
        critic=fz.NullCritic(),
        policy=fz.BehaviourFlow.build(
            observation_dim, action_dim, network=network, flow_steps=config.flow_steps, key=key
        ),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=None),
    )


def default(env_name: str | None) -> RunConfig:
    """FQL's networks and optimiser, 1M updates."""
    return RunConfig(env_name=env_name or "cube-double-play-singletask-v0", agent=BCConfig())


RECIPE = Recipe(name="bc", build=bc, presets={"default": default}, check=buildable(bc))

if __name__ == "__main__":
    run_recipe(RECIPE)
