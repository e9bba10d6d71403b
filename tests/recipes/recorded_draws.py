"""Random draws made by NumPy and written down, in place of a prior or of a law of times."""

from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Record:
    """What was drawn: an array for each request of the program that ran, in the order in which it was traced."""

    def __init__(self, draw):
        self._arrays = []
        self.draw = draw

    @property
    def draw(self):
        return self._draw

    @draw.setter
    def draw(self, draw):
        # What programs that run no more have drawn is forgotten: one that JAX has dropped is traced again, and requests anew.
        self._draw, self._arrays = draw, [None] * len(self._arrays)

    @property
    def arrays(self):
        return [array for array in self._arrays if array is not None]

    def request(self, key, shape):
        """New numbers at each run of the program, for all rows of a batch at once."""
        number = len(self._arrays)
        self._arrays.append(None)

        def numbers(key_data):
            # By number: `draw` replaces the list.
            self._arrays[number] = self.draw(key_data.shape[:-1] + shape)
            return self._arrays[number]

        shape_of_one = jax.ShapeDtypeStruct(shape, jnp.float64)
        return jax.pure_callback(numbers, shape_of_one, jax.random.key_data(key), vmap_method="broadcast_all")


class RecordedPrior(eqx.Module):
    """A prior whose draws are written down."""

    record: Record = eqx.field(static=True)

    def sample(self, key, shape):
        return self.record.request(key, shape)

    def log_prob(self, x):
        raise NotImplementedError


class RecordedNormal(RecordedPrior):
    """A prior of normal noise whose draws are written down."""

    def log_prob(self, x):
        return jnp.sum(jax.scipy.stats.norm.logpdf(x))

    def quantile(self, level):
        return jnp.asarray(NormalDist().inv_cdf(level))

    def cdf(self, x):
        return jax.scipy.stats.norm.cdf(x)


class RecordedTimes(eqx.Module):
    """A law of times whose draws are written down."""

    record: Record = eqx.field(static=True)

    def sample_times(self, key, shape):
        return self.record.request(key, shape)


def recorder(seed):
    """Three kinds of record from one generator: uniform on [-3, 1], normal, and times in [0, 1)."""
    draw = np.random.default_rng(seed)
    return (
        Record(lambda shape: draw.uniform(-3, 1, shape)),
        Record(lambda shape: draw.normal(size=shape)),
        Record(lambda shape: draw.uniform(size=shape)),
    )
