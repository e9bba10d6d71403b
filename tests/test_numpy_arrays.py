"""Arrays of NumPy, of either precision, are taken as those of JAX."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.testing.families import critic, narrow, policy


FLOW = fz.Flow(fz.ConditionalField(2, 3, build=narrow, key=jax.random.key(0)), 2)
AGENT = fz.Agent(critic=critic(key=jax.random.key(1)), policy=policy(key=jax.random.key(2)))

USES = {
    "sample": lambda x, s: FLOW.sample(jax.random.key(3), FLOW.encode(s)),
    "matching_loss": lambda x, s: FLOW.matching_loss(0.5, x, 1 - x, FLOW.encode(s)),
    "push_forward": lambda x, s: FLOW.push_forward(x, FLOW.encode(s)),
    "trajectory": lambda x, s: FLOW.trajectory(x, FLOW.encode(s)).x,
    "log_prob": lambda x, s: FLOW.log_prob(x, FLOW.encode(s), solver=fz.Midpoint(4)),
    "gaussian": lambda x, s: fz.GaussianPrior().log_prob(x),
    "uniform": lambda x, s: fz.UniformPrior(-1.0, 1.0).log_prob(x),
    "embedding": lambda x, s: fz.HLGauss(-1.0, 1.0).embed_point(x),
    "path": lambda x, s: fz.LinearPath().at(0.25, x, 1 - x).velocity,
    "act": lambda x, s: AGENT.act(s, jax.random.key(4)),
    "score": lambda x, s: AGENT.critic.score(s, x),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_of_numpy_is_one_of_jax(use, dtype):
    x, s = np.array([0.25, -0.5], dtype), np.array([0.5, 1.0, -1.0], dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Explicitly requested dtype float64", UserWarning)
        found = USES[use](x, s)
    np.testing.assert_allclose(found, USES[use](jnp.asarray(x), jnp.asarray(s)), rtol=1e-5)
