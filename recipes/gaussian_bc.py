r"""Gaussian behaviour cloning: maximum likelihood of a Gaussian policy, the baseline BC of FQL (arXiv 2502.02538).

$$-\mathbb E \log \pi(a \mid s), \qquad \pi(\cdot \mid s) = N(f(s), I).$$

This equals advantage-weighted regression, IQL's policy loss, with the null critic, for which all weights are 1. Up to a
constant, the loss is half the squared distance between $f(s)$ and the data's actions. The policy acts with $f(s)$,
clipped to [-1, 1].
"""

from dataclasses import dataclass

import optax

import floqzoo as fz
from floqzoo.runs import Recipe, RunConfig, buildable, small_run
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import CloningConfig, actor_network


@dataclass(frozen=True, kw_only=True)
class GaussianBCConfig(CloningConfig):
    """The hyperparameters of the Gaussian policy. The network and the optimiser are those of FQL's code, because its
    paper does not specify others for BC."""


def gaussian_bc(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: GaussianBCConfig, key: Key
) -> fz.Agent:
    """Builds the untrained agent of Gaussian behaviour cloning."""
    del reward_range
    network = actor_network(config, output_scale=0.01)
    return fz.Agent(
        critic=fz.NullCritic(),
        policy=fz.AWRPolicy(network(observation_dim, action_dim, key=key), alpha=0.0),
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(critic=None),
    )


def default(env_name: str | None) -> RunConfig:
    """FQL's networks and optimiser, 1M updates."""
    return RunConfig(env_name=env_name or "cube-double-play-singletask-v0", agent=GaussianBCConfig())


def quickstart(env_name: str | None) -> RunConfig:
    """Trains a small network in minutes on two cores. Collects data if none are found."""
    return small_run(env_name, GaussianBCConfig(lr=1e-3, batch_size=192, actor_hidden_dims=(128, 128, 128)))


RECIPE = Recipe(
    name="gaussian_bc",
    build=gaussian_bc,
    presets={"default": default, "quickstart": quickstart},
    check=buildable(gaussian_bc),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
