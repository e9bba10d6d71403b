"""A field that is matched to crossing lines: its own ways bend, cross nowhere, and follow the exact field."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.flow import path_curvature
from floqzoo.studies.marginal_paths import MarginalPathsConfig, crossings, data, draw, paths_of, train_flow


pytestmark = pytest.mark.slow


CONFIG = MarginalPathsConfig(updates=1_000, batch_size=256, hidden=(32, 32), paths=30, steps=50)


@pytest.fixture(scope="module")
def flow():
    return train_flow(CONFIG)


def exact_velocity(t, x):
    r"""$\mathbb E[x_1 - x_0 \mid x_t = x]$ for the two bumps: Gaussian each, weighed by how likely each is."""
    centres, variance = np.array([-1.0, 1.0]), 0.15**2
    spread = t**2 * variance + (1 - t) ** 2
    distance = x - t * centres
    weights = np.exp(-(distance**2) / (2 * spread))
    return weights @ (centres + (t * variance - (1 - t)) * distance / spread) / weights.sum()


def test_the_field_is_the_mean_of_the_lines(flow):
    points = [*((t, x) for t in (0.2, 0.5) for x in (-1.0, -0.3, 0.4, 1.0)), (0.8, -1.0), (0.8, 1.0)]  # where paths go
    learnt = [float(flow.field.velocity(t, jnp.array([x]), flow.encode())[0]) for t, x in points]
    exact = [exact_velocity(t, x) for t, x in points]
    assert np.sqrt(np.mean((np.array(learnt) - exact) ** 2)) < 0.25 * np.std(exact)


def test_lines_cross_and_ways_bend(flow, getkey, tmp_path):
    paths = paths_of(flow, CONFIG.paths, CONFIG.steps, getkey())
    np.testing.assert_array_equal(paths.conditional.x[:, 0], paths.marginal.x[:, 0])
    curvature = jax.vmap(path_curvature)
    assert crossings(paths.conditional) > 0.2
    assert crossings(paths.marginal) == 0
    assert jnp.max(curvature(paths.conditional)) < 1e-6
    assert jnp.mean(curvature(paths.marginal)) > 0.1
    assert draw(paths, tmp_path / "paths.png").stat().st_size > 0


def test_the_same_settings_give_the_same_field():
    short = replace(CONFIG, updates=3)
    weights = [jax.tree.leaves(train_flow(short).field) for _ in range(2)]
    for once, again in zip(*weights, strict=True):
        np.testing.assert_array_equal(once, again)


def test_the_data_are_two_bumps(getkey):
    x = np.asarray(data(getkey(), 4_000))
    assert abs(x.mean()) < 6 / 4_000**0.5
    assert np.std(np.abs(x)) == pytest.approx(0.15, abs=0.02)
