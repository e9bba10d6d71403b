"""Draws figures of flow critics. Each function takes arrays and returns a figure, without saving it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    legend_below,
    log_ticks,
    new_figure,
    styled,
    ticks_at,
)
from floqzoo.results.played_returns import PlayedReturns
from floqzoo.results.value_map import ValueMap


MEMBER_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)


@styled
def draw_value_paths(
    t: Float[np.ndarray, " times"],
    paths: Sequence[Float[np.ndarray, "members noise times"]],
    titles: Sequence[str],
    distilled_values: Sequence[float],
    returns: Sequence[float],
) -> Any:
    """Draws value trajectories $z_t$ over the flow time $t$, with a panel for each state and a colour for each member.

    - `t`: The flow times.
    - `paths`: For each state, the trajectories of each ensemble member and noise sample.
    - `titles`: The title of each panel.
    - `distilled_values`: The value of the distilled critic at each state.
    - `returns`: The return of the episode from each state on; NaN if it is unknown (see `PlayedReturns`).
    """
    columns = min(len(paths), 2)
    rows = -(-len(paths) // columns)
    figure = new_figure(WIDTH, 2.7 * rows + 0.9)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for axes, path, title, distilled, known in zip(panels, paths, titles, distilled_values, returns, strict=False):
        for member, (curves, colour) in enumerate(zip(path, MEMBER_COLOURS, strict=False)):
            lines = axes.plot(t, curves.T, color=colour, linewidth=0.9, alpha=0.75, marker=".")
            lines[0].set_label(f"flow {member + 1} of {len(path)}")
        axes.axhline(distilled, color="black", linestyle="--", linewidth=1.1, label="distilled critic")
        if not np.isnan(known):
            axes.axhline(known, color=VERMILION, linestyle=":", linewidth=2.0, label="return of the episode")
        axes.set(title=title, xlabel="flow time t", xlim=(-0.02, 1.02))
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("value z(t) (units of reward)")
    for axes in figure.axes[len(paths) :]:
        axes.set_visible(False)
    legend_below(figure)
    return figure


@styled
def draw_value_map(found: ValueMap) -> Any:
    """Draws the value at every position of a maze, and arrows for the policy's mean action at some of the positions."""
    height = 5.2
    figure = new_figure(height * np.ptp(found.x) / np.ptp(found.y) + 1.0, height)
    axes = figure.subplots()
    image = axes.pcolormesh(found.x, found.y, np.ma.masked_invalid(found.values), cmap="viridis", shading="nearest")
    axes.pcolormesh(found.x, found.y, np.ma.masked_where(~found.walls, np.ones(found.walls.shape)), **_WALLS)
    every = max(len(found.x) // 24, 1)
    some = (slice(every // 2, None, every),) * 2
    free = ~found.walls[some]
    x, y = (grid[some][free] for grid in np.meshgrid(found.x, found.y))
    axes.quiver(x, y, *found.actions[some][free].T, color="white", alpha=0.8, width=0.0025, scale=38)
    axes.plot(*found.start, "o", color="white", markeredgecolor="black", markersize=9, label="start")
    axes.plot(*found.goal, "*", color=VERMILION, markeredgecolor="white", markersize=17, label="goal")
    axes.set(aspect="equal", xlabel="x position", ylabel="y position")
    axes.grid(visible=False)
    legend_below(figure)
    figure.colorbar(image, ax=axes, label="value (units of reward)", shrink=0.9)
    return figure


@styled
def draw_q_by_steps(steps: Sequence[int], q: Float[np.ndarray, "choices batch"], trained: int) -> Any:
    """Draws how Q depends on the number of solver steps.

    One panel shows the quartiles of Q over a batch, and the other the RMS difference between Q with each number of
    steps and Q with the largest number.

    - `steps`: The numbers of steps, in ascending order.
    - `q`: Q for each number of steps and each transition of the batch.
    - `trained`: The number of solver steps used in training.
    """
    figure = new_figure(WIDTH, 4.0)
    level, error = figure.subplots(1, 2, sharex=True)
    low, middle, high = np.quantile(q, [0.25, 0.5, 0.75], axis=1)
    level.fill_between(steps, low, high, color=BLUE, alpha=0.2, linewidth=0, label="middle half of the transitions")
    level.plot(steps, middle, color=BLUE, marker="o", label="median")
    level.set(ylabel="units of reward", title="Q")
    distance = np.sqrt(np.mean((q[:-1] - q[-1:]) ** 2, axis=1))
    error.plot(steps[:-1], distance, color=BLUE, marker="o")
    error.set(yscale="log", ylabel="units of reward", title=f"RMS difference from K = {steps[-1]}")
    for axes in (level, error):
        axes.axvline(trained, color=VERMILION, linestyle=":", label=f"K = {trained}, as trained")
        axes.set_xscale("log", base=2)
        ticks_at(axes.xaxis, steps)
        axes.set_xlabel("solver steps K at evaluation")
    log_ticks(error.yaxis)
    legend_below(figure, 2)
    return figure


@styled
def draw_value_and_return(q: Float[np.ndarray, " steps"], played: PlayedReturns) -> Any:
    """Draws a scatter plot of Q against the return, with a point for each step of the played episodes."""
    figure = new_figure(5.6, 6.0)
    axes = figure.subplots()
    known = played.known()
    groups = (
        ("episodes that reached the goal", known & (played.success > 0), BLUE, 0.5),
        ("episodes that did not reach the goal", known & (played.success == 0), VERMILION, 0.5),
        ("episodes", known & np.isnan(played.success), BLUE, 0.5),
        ("unknown: truncated by the time limit", ~known, GREY, 0.3),
    )
    for label, chosen, colour, alpha in groups:
        if chosen.any():
            axes.scatter(played.returns[chosen], q[chosen], s=8, color=colour, alpha=alpha, label=label, linewidth=0)
    both = np.concatenate([played.returns, q])
    ends = both.min() - 0.03 * np.ptp(both), both.max() + 0.03 * np.ptp(both)
    axes.plot(ends, ends, color="black", linewidth=0.9, label="Q = return")
    axes.set(xlabel="discounted return from a step on (units of reward)", ylabel="Q", xlim=ends, ylim=ends)
    axes.set_aspect("equal")
    legend_below(figure, 1)
    return figure


@styled
def draw_inside(
    deviation: Float[np.ndarray, " batch"],
    curvature: Float[np.ndarray, " batch"],
    spectra: Float[np.ndarray, "members directions"],
    ranks: Sequence[int],
) -> Any:
    """Draws histograms of `deviation` and `curvature` over a batch, and the singular values of the last features.

    - `deviation`: For each transition, the standard deviation of Q over noise samples, averaged over members.
    - `curvature`: For each transition, the square root of the mean curvature of the value trajectories.
    - `spectra`: The singular values of each member's last features, in descending order.
    - `ranks`: The effective rank of each member's last features.
    """
    figure = new_figure(WIDTH, 6.8)
    panels = figure.subplot_mosaic([["noise", "bend"], ["features", "features"]])
    noise, bend, features = (panels[name] for name in ("noise", "bend", "features"))
    _histogram(noise, deviation, "Standard deviation of Q\nover noise")
    _histogram(bend, curvature, "Root of the curvature\nof value trajectories")
    noise.set_ylabel("number of transitions")
    for member, (spectrum, rank, colour) in enumerate(zip(spectra, ranks, MEMBER_COLOURS, strict=False)):
        label = f"flow {member + 1}: effective rank {rank}"
        features.plot(np.arange(1, len(spectrum) + 1), spectrum / spectrum[0], color=colour, label=label)
        features.axvline(rank, color=colour, linestyle=":", linewidth=1.1)
    features.set(yscale="log", xlabel="number of the singular value", ylabel="share of the largest one")
    features.set_ylim(bottom=max(1e-7, features.get_ylim()[0]))
    log_ticks(features.yaxis)
    features.set_title("Singular values of the last features")
    legend_below(figure)
    return figure


_WALLS = {"cmap": "Greys", "vmin": 0.0, "vmax": 2.0, "shading": "nearest"}


def _histogram(axes: Any, values: Float[np.ndarray, " batch"], name: str) -> None:
    axes.hist(values, bins=40, color=SKY)
    axes.axvline(values.mean(), color="black", linestyle="--", linewidth=1.1, label="mean")
    axes.set(title=f"{name}, mean {values.mean():.3g}", xlabel="units of reward")
