"""Shows that a velocity field trained on straight conditional paths has curved trajectories."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Float

from floqzoo.figures import BLUE, VERMILION, WIDTH, new_figure, save_figure, styled
from floqzoo.flow.curvature import path_curvature
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.flow.time_grid import time_grid
from floqzoo.hyperparameter import partition_trainable
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.mlp import MLP
from floqzoo.networks.time_embedding import FourierTime
from floqzoo.records import Trajectory
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.report import print_table
from floqzoo.training.cli_errors import errors_explained
from floqzoo.typing import Array, Key


@dataclass(frozen=True, kw_only=True)
class MarginalPathsConfig:
    """The settings of the study."""

    directory: Path = Path("docs/figures")
    """Output folder for the figure (marginal_paths.png)."""
    updates: int = 3_000
    """Number of updates."""
    batch_size: int = 512
    """Number of noise-data pairs per update."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of the field."""
    paths: int = 60
    """Number of drawn paths of each kind."""
    steps: int = 100
    """Number of Euler steps of a drawn path."""
    seed: int = 0
    """Seed of the field, the pairs and the paths."""

    def __post_init__(self):
        require_positive(self)


class Paths(eqx.Module):
    """Paths from noise to data; both kinds start from the same noise samples.

    - `conditional`: Straight lines between independent samples of noise and data, as in training.
    - `marginal`: The trajectories of the learnt field.
    """

    conditional: Trajectory
    marginal: Trajectory


def data(key: Key, count: int) -> Float[Array, "count 1"]:
    """Draws samples from an equal mixture of $N(-1, 0.15^2)$ and $N(1, 0.15^2)$."""
    side_key, noise_key = jax.random.split(key)
    return jax.random.rademacher(side_key, (count, 1), float) + 0.15 * jax.random.normal(noise_key, (count, 1))


def train_flow(config: MarginalPathsConfig) -> Flow:
    """Trains a flow on straight lines between independent samples of noise and data."""
    field_key, key = jax.random.split(jax.random.key(config.seed))
    build = partial(MLP, hidden=config.hidden)
    field = ConditionalField(1, 0, build=build, time_embedding=FourierTime(8), key=field_key)
    parameters, rest = partition_trainable(Flow(field, 1, solver=Euler(config.steps)))
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, config.updates))

    def loss(parameters, key):
        flow = eqx.combine(parameters, rest)
        noise_key, data_key, time_key = jax.random.split(key, 3)
        x0 = flow.prior.sample(noise_key, (config.batch_size, 1))
        t = jax.random.uniform(time_key, (config.batch_size,))
        errors = jax.vmap(flow.matching_loss, (0, 0, 0, None))(t, x0, data(data_key, config.batch_size), flow.encode())
        return jnp.mean(errors)

    def update(carry, key):
        parameters, state = carry
        with jax.numpy_dtype_promotion("standard"):
            steps, state = optimiser.update(jax.grad(loss)(parameters, key), state)
        return (optax.apply_updates(parameters, steps), state), None

    @jax.jit
    def train(parameters, keys):
        return jax.lax.scan(update, (parameters, optimiser.init(parameters)), keys)[0][0]

    return eqx.combine(train(parameters, jax.random.split(key, config.updates)), rest)


def paths_of(flow: Flow, count: int, steps: int, key: Key) -> Paths:
    """Computes straight lines from noise to independent data, and trajectories of the field from the same noise."""
    noise_key, data_key = jax.random.split(key)
    x0 = flow.prior.sample(noise_key, (count, 1))
    times = time_grid(0.0, 1.0, steps, x0.dtype)

    def line(x0, x1):
        return Trajectory(times, jax.vmap(lambda t: flow.path.at(t, x0, x1).x)(times))

    return Paths(
        conditional=jax.vmap(line)(x0, data(data_key, count)),
        marginal=jax.vmap(lambda x0: flow.trajectory(x0, flow.encode()))(x0),
    )


def crossings(trajectory: Trajectory) -> float:
    """Returns the fraction of pairs of paths that cross at least once."""
    x = np.asarray(trajectory.x[:, :, 0])
    first, second = np.triu_indices(len(x), 1)
    gap = x[first] - x[second]
    return float(np.mean(gap.min(axis=1) * gap.max(axis=1) < 0))


@styled
def draw(paths: Paths, path: Path) -> Path:
    """Draws both kinds of paths against time."""
    figure = new_figure(WIDTH, 3.4)
    kinds = ("Conditional paths (training)", "Marginal paths (learnt field)")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, trajectory, title in zip(panels, (paths.conditional, paths.marginal), kinds, strict=True):
        for t, x in zip(np.asarray(trajectory.t), np.asarray(trajectory.x[:, :, 0]), strict=True):
            axes.plot(t, x, color=BLUE if x[-1] < 0 else VERMILION, linewidth=0.8, alpha=0.7)
        axes.set(title=title, xlabel="flow time t", xlim=(0, 1))
    panels[0].set_ylabel("sample x(t)")
    return save_figure(figure, path)


def main(config: Annotated[MarginalPathsConfig, tyro.conf.arg(name="")]) -> None:
    """Trains the field, prints the curvature and the crossings of both kinds of paths, and writes the figure."""
    paths = paths_of(train_flow(config), config.paths, config.steps, jax.random.key(config.seed + 1))
    rows = [
        [kind, f"{float(jnp.mean(jax.vmap(path_curvature)(some))):.3f}", f"{crossings(some):.2f}"]
        for kind, some in (("conditional", paths.conditional), ("marginal", paths.marginal))
    ]
    print_table("Conditional and marginal paths", ["paths", "mean curvature", "fraction of crossing pairs"], rows)
    print(f"figure: {draw(paths, config.directory / 'marginal_paths.png')}")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(MarginalPathsConfig, description=__doc__, use_underscores=True))
