"""The style of figures."""

import pytest
from hypothesis import given, strategies as st

from floqzoo.figures import (
    METHOD_COLOURS,
    PALETTE,
    WIDTH,
    legend_below,
    log_ticks,
    method_colours,
    new_figure,
    save_figure,
    styled,
)


METHODS = st.sampled_from(["floq", "fql", "bc", "floq alpha=10.0", "floq, fixed targets", "iql", "sac", "own", "K = 2"])


@given(st.lists(METHODS, unique=True))
def test_methods_of_a_figure_have_different_colours_and_known_ones_always_the_same(names):
    colours = method_colours(names)
    assert colours.keys() == set(names)
    assert len(set(colours.values())) == len(names) or len(names) > len(PALETTE)
    for name in {"floq", "fql", "bc"} & set(names):
        variants = [other for other in names if other.split()[0].rstrip(",") == name]
        assert colours[variants[0]] == METHOD_COLOURS[name]


def test_the_style_holds_during_a_drawing_only(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)

    @styled
    def draw():
        figure = new_figure(4.0, 3.0)
        for axes in figure.subplots(1, 2):
            axes.plot([0, 1], [0, 1], label="one")
        legend_below(figure)
        return figure

    figure = draw()
    first = figure.axes[0]
    assert first.lines[0].get_color() == PALETTE[0]
    assert min(text.get_fontsize() for text in [*first.get_xticklabels(), first.title, first.xaxis.label]) >= 10
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one"]
    assert save_figure(figure, tmp_path / "new" / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


@given(st.floats(-7, 7), st.floats(0.4, 8))
def test_a_logarithmic_axis_has_between_one_and_nine_numbers_in_full(power, decades):
    pytest.importorskip("matplotlib")
    axes = new_figure(WIDTH, 3.0).subplots()
    axes.set(yscale="log", ylim=(10**power, 10 ** (power + decades)))
    log_ticks(axes.yaxis)
    low, high = axes.get_ylim()
    assert 1 <= len(axes.get_yticks()) <= 9 and all(low <= tick <= high for tick in axes.get_yticks())
    assert len(axes.get_yticks(minor=True)) == 0
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [float(label.replace(",", "")) for label in labels] == pytest.approx(list(axes.get_yticks()))
