"""What the tests of the flow share."""

import jax
import pytest


@pytest.fixture
def double():
    """Everything within the test is computed in double precision, for errors far below rounding in single."""
    with jax.enable_x64(True):
        yield
