"""What is taken for one number or one boolean per row: any array, of any type and shape, is read or refused."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes

from floqzoo.tasks.input_arrays import action_bounds, flags, vector


ROWS = 3
TYPES = st.sampled_from(
    [np.bool_, np.int8, np.uint32, np.float16, np.float64, np.complex64, np.dtype("U3"), np.object_]
)
NUMBERS = st.sampled_from([{0, 1}, {0, 1, 2}, {-1, 0}, {0, 0.5, 1}, {1, np.nan}, {0, -np.inf}]).flatmap(
    lambda choices: st.lists(st.sampled_from(sorted(choices)), min_size=ROWS, max_size=ROWS)
)


def cast(numbers, dtype):
    """The numbers as the type holds them."""
    with np.errstate(invalid="ignore"):
        return np.array(numbers, np.float64).astype(dtype)


@given(NUMBERS, TYPES)
def test_flags_are_booleans_or_zeros_and_ones(numbers, dtype):
    array = cast(numbers, dtype)
    if array.dtype == np.bool_ or (array.dtype.kind in "fiu" and {*array.tolist()} <= {0, 1}):
        found = flags("flags", array, ROWS)
        assert found.dtype == np.bool_ and found.tolist() == [number == 1 for number in array]
    else:
        with pytest.raises(ValueError, match="`flags` must contain booleans, or 0 and 1") as error:
            flags("flags", array, ROWS)
        assert ("with the value" in str(error.value)) is (array.dtype.kind in "fiu")


@given(NUMBERS, TYPES)
def test_a_vector_is_finite_real_numbers(numbers, dtype):
    array = cast(numbers, dtype)
    if array.dtype.kind in "fiub" and np.isfinite(array.astype(float)).all():
        assert vector("x", array, ROWS).tolist() == array.tolist()
    else:
        with pytest.raises(ValueError, match=r"`x` must be (an array of real numbers|finite)"):
            vector("x", array, ROWS)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint32, np.float32, np.float64])
def test_bounds_are_the_numbers_that_were_given_whatever_the_type_of_the_actions(dtype):
    low, high = action_bounds(np.zeros((ROWS, 2), dtype), -1, [0.5, 2.0])
    assert low.tolist() == [-1.0, -1.0] and high.tolist() == [0.5, 2.0]


@given(array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5).filter(lambda shape: shape != (ROWS,)))
def test_any_other_shape_is_refused(shape):
    for read in (flags, vector):
        with pytest.raises(ValueError, match=r"must have the shape \(3,\); got"):
            read("x", np.zeros(shape), ROWS)
