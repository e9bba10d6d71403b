"""The rate at which this machine multiplies matrices, to hold other rates against."""

import time

import jax
import jax.numpy as jnp


def matrix_rate(size: int = 2048, repeats: int = 5, dtype=jnp.float32) -> float:
    """FLOP/s of a square product, the best of `repeats`."""
    a = jnp.ones((size, size), dtype)
    multiply = jax.jit(lambda a: a @ a)
    multiply(a).block_until_ready()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        multiply(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
