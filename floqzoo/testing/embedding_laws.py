"""Laws of time and point embeddings."""

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import PointEmbedding, TimeEmbedding
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example, magnitudes


def time_features_are_counted(embedding: TimeEmbedding, example: Example) -> None:
    """`embed_time` returns `time_features` finite features, with finite derivatives, for every time in [0, 1].

    Flows have no times outside [0, 1], so features at other times need not be finite. For example, the argument of a
    cosine may overflow.
    """
    for t in (jnp.zeros_like(example.t), example.t, jnp.ones_like(example.t)):
        features, derivative = compiled(_embed_time, t, embedding), compiled(_derivative, t, embedding)
        assert features.shape == (embedding.time_features,), f"shape {features.shape}"
        assert np.isfinite(features).all(), f"features {features} at {t}"
        assert np.isfinite(derivative).all(), f"derivative {derivative} at {t}"


def different_times_look_different(embedding: TimeEmbedding, example: Example) -> None:
    """Different times have different features."""
    first, second = (compiled(_embed_time, t, embedding) for t in (example.t, example.s))
    assert not np.array_equal(first, second), f"{first} at {example.t} and {example.s}"


def a_time_may_be_a_number(embedding: TimeEmbedding, example: Example) -> None:
    """A Python number and an array with the same value have the same embedding."""
    assert_close(embedding.embed_time(float(example.t)), compiled(_embed_time, example.t, embedding))


def a_batch_of_times_is_its_rows(embedding: TimeEmbedding, example: Example) -> None:
    """`jax.vmap` over times gives the same embeddings as computing them one by one."""
    assert_rows_are_mapped(_embed_time, jnp.stack([example.t, example.s]), embedding)


def point_features_are_counted(embedding: PointEmbedding, example: Example) -> None:
    """`embed_point` maps a point with `dim` coordinates to `point_features(dim)` finite features of the same dtype."""
    features = compiled(_embed_point, example.x0, embedding)
    assert features.shape == (embedding.point_features(example.x0.size),), f"shape {features.shape}"
    assert features.dtype == example.x0.dtype, f"dtype {features.dtype} instead of {example.x0.dtype}"
    assert np.isfinite(features).all()


def different_points_look_different(embedding: PointEmbedding, example: Example) -> None:
    """Different points have different features."""
    first, second = (compiled(_embed_point, x, embedding) for x in (example.x0, example.x0.at[-1].add(1 / 16)))
    assert not np.array_equal(first, second), f"{first} at {example.x0} and 1/16 further"


def distant_points_stay_finite(embedding: PointEmbedding, example: Example) -> None:
    """Features and their gradients are finite at every finite point, from 0 to the largest representable numbers."""
    for size in magnitudes(example.x0.dtype):
        for x in (size, -size):
            point = jnp.full_like(example.x0, x)
            features, gradient = compiled(_embed_point, point, embedding), compiled(_gradient, point, embedding)
            assert np.isfinite(features).all(), f"features {features} at {x}"
            assert np.isfinite(gradient).all(), f"gradient {gradient} at {x}"


def a_batch_of_points_is_its_rows(embedding: PointEmbedding, example: Example) -> None:
    """`jax.vmap` over points gives the same embeddings as computing them one by one."""
    assert_rows_are_mapped(_embed_point, jnp.stack([example.x0, example.x1]), embedding)


def _embed_time(t, embedding: TimeEmbedding):
    return embedding.embed_time(t)


def _derivative(t, embedding: TimeEmbedding):
    return jax.jacobian(embedding.embed_time)(t)


def _embed_point(x, embedding: PointEmbedding):
    return embedding.embed_point(x)


def _gradient(x, embedding: PointEmbedding):
    return jax.jacobian(embedding.embed_point)(x)


time_embedding_laws = (
    time_features_are_counted,
    different_times_look_different,
    a_time_may_be_a_number,
    a_batch_of_times_is_its_rows,
)

point_embedding_laws = (
    point_features_are_counted,
    different_points_look_different,
    distant_points_stay_finite,
    a_batch_of_points_is_its_rows,
)
