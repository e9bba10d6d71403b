"""A common style for all figures: one palette, consistent font sizes, and fixed colours for common methods.

Figures are at most as wide as a page of the documentation (`WIDTH`), and text is at least 10 pt. The palette is by
Okabe and Ito; readers with colour blindness can tell its colours apart.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from floqzoo.tasks.files import replacing


BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
BLACK, GREY = "#000000", "#7F7F7F"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
"""The colours of Okabe and Ito's palette, without yellow."""

WIDTH = 7.2
"""The width of a page of the documentation, in inches."""

METHOD_COLOURS = {
    "floq": BLUE,
    "fql": VERMILION,
    "monolithic": VERMILION,
    "bc": GREY,
    "td2-cfm": BLUE,
    "td-cfm": VERMILION,
    "td-cfm-c": GREEN,
    "mc-cfm": PURPLE,
    "td-dd": ORANGE,
    "td2-dd": SKY,
}
"""The colours of methods that occur in several figures. FQL has the same colour as the monolithic critic, because FQL
uses this critic."""


def method_colours(names: Sequence[str]) -> dict[str, str]:
    """Chooses a colour for each method in a figure: its fixed colour, or the next unused colour of the palette.

    - `names`: The names of the methods, such as "floq" or "floq alpha=10.0". If a method has several variants, the
      first one gets the method's fixed colour.
    """
    chosen: dict[str, str] = {}
    for name in names:
        own = METHOD_COLOURS.get(name.split()[0].rstrip(",").lower())
        if own is not None and own not in chosen.values():
            chosen[name] = own
    free = [colour for colour in PALETTE if colour not in chosen.values()] or list(PALETTE)
    others = [name for name in names if name not in chosen]
    return {**chosen, **{name: free[index % len(free)] for index, name in enumerate(others)}}


STYLE = {
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.labelsize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "errorbar.capsize": 2.0,
}


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def styled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Wraps a function that draws or saves a figure so that it uses `STYLE`, without changing matplotlib's global
    settings."""

    @wraps(function)
    def with_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        import matplotlib
        from matplotlib.rcsetup import cycler

        cycle = cycler(color=PALETTE)
        with matplotlib.rc_context({**STYLE, "axes.prop_cycle": cycle}):  # pyright: ignore[reportArgumentType]
            return function(*args, **kwargs)

    return with_style


def new_figure(width: float, height: float) -> Any:
    """Returns an empty matplotlib figure of the given size in inches, which does not need a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def legend_below(figure: Any, columns: int = 4) -> None:
    """Adds a common legend below all panels, outside their axes, in which each label is listed once."""
    shown = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    legend = figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(columns, len(shown)))
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):  # points may be too small or too faint to be recognised
            handle.set(sizes=[max(30.0, *handle.get_sizes())], alpha=1.0)


def ticks_at(axis: Any, values: Sequence[float | int]) -> None:
    """Sets ticks at the given values only, with labels in full: 10,000 instead of a power of ten."""
    axis.set_ticks(values, [f"{value:,.12g}" for value in values])
    axis.set_ticks([], minor=True)


def log_ticks(axis: Any) -> None:
    """Sets the ticks of a logarithmic axis at 1, 2 and 5 times each power of ten.

    If the upper limit of the axis is at least 200 times the lower limit, there are ticks at the powers of ten only. If
    it is at least 10⁹ times the lower limit, the ticks are those of matplotlib, with labels in scientific notation.
    """
    low, high = axis.get_view_interval()
    if high >= 1e9 * low:
        return
    digits = (1, 2, 5) if high < 200 * low else (1,)
    places = [digit * 10.0**power for power in range(-9, 10) for digit in digits]
    ticks_at(axis, [place for place in places if low <= place <= high])


@styled
def save_figure(figure: Any, path: Path) -> Path:
    """Writes a figure to a PNG file atomically, and returns the path of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=200, format="png")
    return path
