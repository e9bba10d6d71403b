r"""Compares the variance of the gradients of TD-CFM and TD²-CFM at the same parameters.

If the target field is the marginal velocity field of the path, both have the same expected gradient, and

$$\sigma^2_{\text{TD}} = \sigma^2_{\text{TD}^2}
+ \gamma^2 \, \mathbb E \operatorname{tr} \operatorname{Cov}_{X_1 | X_t}
\bigl( \nabla_\theta v_\theta^\top u_t(X_t | X_1) \bigr) \cdot \tfrac{4}{d^2},$$

where $\sigma^2$ is the trace of the gradient's covariance, $v_\theta$ the learnt field, $u_t(\cdot | X_1)$ the velocity
of the path to a sampled future $X_1$, and $X_t$ a point on that path. The factor $4 / d^2$ appears because the loss
is the mean of $d$ squared coordinates. Source: TD-Flow (arXiv 2503.09817), theorem 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from floqzoo.figures import METHOD_COLOURS, WIDTH, legend_below, log_ticks, new_figure, save_figure, styled, ticks_at
from floqzoo.flow.fixed_step import Midpoint
from floqzoo.flow.path import LinearPath
from floqzoo.hyperparameter import partition_trainable
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.mlp import MLP
from floqzoo.records import Transition
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.report import write_rows
from floqzoo.successor.flow_successor import FlowSuccessor
from floqzoo.successor.methods import METHODS, flow_measure
from floqzoo.successor.targets import TDTarget
from floqzoo.tasks.exact_field import ExactField
from floqzoo.tasks.linear_gaussian import LinearGaussian
from floqzoo.training.cli_errors import errors_explained
from floqzoo.typing import Array, Key


@dataclass(frozen=True)
class GradientSpread:
    """Statistics of the gradients of single-transition losses.

    - `method`, `horizon`: The method and the horizon, $\\gamma = 1 - 1 / \\text{horizon}$.
    - `variance`: The trace of the covariance of the gradients.
    - `standard_error`: The standard error of that trace.
    - `squared_mean`: The squared norm of the mean gradient, which is the signal.
    """

    method: str
    horizon: int
    variance: float
    standard_error: float
    squared_mean: float


@dataclass(frozen=True, kw_only=True)
class GradientVarianceConfig:
    """The settings of the study."""

    directory: Path = Path("docs/figures")
    """Output folder for the table (gradient_variance.csv) and the figure (gradient_variance.png)."""
    horizons: tuple[int, ...] = (2, 5, 10, 20, 50, 100)
    """Effective horizons 1 / (1 - discount)."""
    transitions: int = 4096
    """Transitions whose gradients are compared."""
    seed: int = 0
    """Seeds the network and the transitions."""

    def __post_init__(self):
        require_positive(self)
        if min(self.horizons) <= 1:
            raise ValueError(f"`horizons` must be numbers above 1; got {self.horizons}.")


def gradient_variance(config: GradientVarianceConfig) -> list[GradientSpread]:
    """Computes the gradient statistics of TD-CFM, TD-CFM(C) and TD²-CFM at each horizon.

    The exact measure is used as the target network.
    """
    rows = []
    for horizon in config.horizons:
        chain = LinearGaussian.spiral(1 - 1 / horizon)
        for name in ("td-cfm", "td-cfm-c", "td2-cfm"):
            measure = untrained(METHODS[name], chain, jax.random.key(config.seed))
            gradients = chain_gradients(measure, chain, config.transitions, jax.random.key(config.seed + 1))
            rows.append(_spread(name, horizon, gradients))
    return rows


def untrained(method: Callable[..., FlowSuccessor], chain: LinearGaussian, key: Key) -> FlowSuccessor:
    """Builds an untrained successor measure for a chain, with a small network."""
    dim, condition = chain.observation_dim, chain.observation_dim + chain.action_dim
    field = ConditionalField(dim, condition, build=partial(MLP, hidden=(16, 16)), key=key)
    return method(field, dim, discount=chain.discount)


def exact_target(chain: LinearGaussian, *, steps: int = 20) -> FlowSuccessor:
    """Returns the exact successor measure of the chain, for use as a target network with linear paths."""
    return flow_measure(
        TDTarget(),
        ExactField(chain, LinearPath()),
        chain.observation_dim,
        solver=Midpoint(steps),
        discount=chain.discount,
    )


@eqx.filter_jit
def chain_gradients(
    measure: FlowSuccessor, chain: LinearGaussian, transitions: int, key: Key
) -> Float[Array, "transitions parameters"]:
    """Computes the gradient of the loss for each transition, with the exact measure as the target network."""
    target = exact_target(chain)
    batch_key, time_key, loss_key = jax.random.split(key, 3)
    batch = chain.sample(batch_key, transitions)
    times = measure.times.sample_times(time_key, (transitions,))
    gradient = partial(gradient_of_transition, measure, target)
    rows = (batch, times, jax.random.split(loss_key, transitions))
    return jax.lax.map(lambda row: gradient(*row), rows, batch_size=256)


def gradient_of_transition(
    measure: FlowSuccessor, target: FlowSuccessor, step: Transition, t: Float[Array, ""], key: Key
) -> Float[Array, " parameters"]:
    """Computes the gradient of the loss for one transition, as a flat vector."""
    trainable, rest = partition_trainable(measure)
    gamma = measure.discount.value

    def loss(trainable):
        online = eqx.combine(trainable, rest)
        one_step, bootstrap = online.transition_losses(target, step, step.next_action, t, key)
        return (1 - gamma) * one_step + gamma * bootstrap

    return ravel_pytree(jax.grad(loss)(trainable))[0]


@styled
def draw(rows: list[GradientSpread], path: Path) -> Path:
    """Draws the gradient variance of each method against the horizon."""
    figure = new_figure(WIDTH, 4.4)
    axes = figure.subplots()
    for name, label in (("td-cfm", "TD-CFM"), ("td-cfm-c", "TD-CFM(C)"), ("td2-cfm", "TD²-CFM")):
        mine = [row for row in rows if row.method == name]
        axes.errorbar(
            [row.horizon for row in mine],
            [row.variance for row in mine],
            [2 * row.standard_error for row in mine],
            marker="o",
            label=label,
            color=METHOD_COLOURS[name],
        )
    axes.set(xscale="log", yscale="log", xlabel="effective horizon (steps)", ylabel="trace of the covariance")
    ticks_at(axes.xaxis, sorted({row.horizon for row in rows}))
    log_ticks(axes.yaxis)
    axes.set_title("Variance of the gradient of one transition, ± two standard errors")
    legend_below(figure)
    return save_figure(figure, path)


def _spread(name: str, horizon: int, gradients: Float[Array, "transitions parameters"]) -> GradientSpread:
    rows = np.asarray(gradients, dtype=np.float64)
    mean = rows.mean(axis=0)
    squares = np.sum((rows - mean) ** 2, axis=1)
    count = len(rows)
    return GradientSpread(
        name, horizon, float(squares.sum() / (count - 1)), float(squares.std() / count**0.5), float(mean @ mean)
    )


def main(config: Annotated[GradientVarianceConfig, tyro.conf.arg(name="")]) -> None:
    """Measures the variance of gradients, and writes a table and a figure."""
    rows = gradient_variance(config)
    write_rows(rows, config.directory / "gradient_variance.csv")
    draw(rows, config.directory / "gradient_variance.png")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(GradientVarianceConfig, description=__doc__, use_underscores=True))
