"""Laws of time distributions."""

import jax
import numpy as np

from floqzoo.protocols import TimeDistribution
from floqzoo.testing.examples import Example


def times_have_the_requested_shape(times: TimeDistribution, example: Example) -> None:
    """The times returned by `sample_times(key, shape)` have the requested shape."""
    for shape in ((), (3,), (2, 3)):
        drawn = times.sample_times(example.key, shape)
        assert drawn.shape == shape, f"shape {drawn.shape} instead of {shape}"


def times_lie_before_the_end(times: TimeDistribution, example: Example) -> None:
    """Every time lies in [0, 1), because the velocity of many paths is undefined at 1."""
    drawn = np.asarray(times.sample_times(example.key, (4096,)))
    assert np.all((drawn >= 0) & (drawn < 1)), f"times from {drawn.min()} to {drawn.max()}"


def a_key_decides_the_times(times: TimeDistribution, example: Example) -> None:
    """The same key gives the same times."""
    drawn = times.sample_times(example.key, (8,))
    np.testing.assert_array_equal(drawn, times.sample_times(example.key, (8,)))


def another_key_gives_other_times(times: TimeDistribution, example: Example) -> None:
    """The times in a draw differ from each other and from the times for another key, unless all times are the same."""
    drawn = np.asarray(times.sample_times(example.key, (8,)))
    other = np.asarray(times.sample_times(jax.random.fold_in(example.key, 1), (8,)))
    if len(np.unique([drawn, other])) > 1:
        assert len(np.unique(drawn)) == 8, f"times {drawn} of one draw"
        assert np.all(drawn != other), f"times {drawn} and {other} of two keys"


time_distribution_laws = (
    times_have_the_requested_shape,
    times_lie_before_the_end,
    a_key_decides_the_times,
    another_key_gives_other_times,
)
