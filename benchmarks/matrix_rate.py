"""The rate at which this machine multiplies matrices, to hold other rates against."""

import time

import jax
import jax.numpy as jnp


def matrix_rate(size: int | None = None, repeats: int = 5, dtype=jnp.float32) -> float:
    """FLOP/s of a square product, the best of `repeats`; without a size one that fills the device."""
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    a = jnp.ones((size, size), dtype)
    multiply = jax.jit(lambda a: a @ a)
    multiply(a).block_until_ready()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        multiply(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
