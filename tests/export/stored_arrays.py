"""Arrays of a file."""

import numpy as np


def arrays_of(path):
    """The arrays of an npz file, which is closed again."""
    with np.load(path) as file:
        return dict(file)
