"""The one step and the flow that it is distilled from start from the same noise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from doubles import ACTION, OBSERVATION, LinearNetwork, frozen_agent, transitions

import floqzoo as fz
from floqzoo.testing import assert_close


class Still(eqx.Module):
    """A field that moves nothing: every noise is its own action."""

    def encode(self, observation):
        return None

    def velocity(self, t, x, code):
        return jnp.zeros_like(x)


def test_a_step_that_is_the_flow_has_nothing_to_distil():
    """Both give back the noise: the distance is 0 where it is one noise, and twice its variance where it is two."""
    network = LinearNetwork(OBSERVATION + ACTION, ACTION, key=jax.random.key(0))
    read_noise = jnp.eye(OBSERVATION + ACTION, ACTION, k=-OBSERVATION)
    network = eqx.tree_at(lambda network: network.stem.weight, network, read_noise)
    behaviour = fz.BehaviourFlow(fz.Flow(Still(), ACTION, fz.UniformPrior(-1.0, 1.0)))
    batch = transitions()
    _, found = fz.DistilledFlowPolicy(behaviour, network).policy_loss(
        batch, frozen_agent(fz.NullCritic()), jax.random.key(0)
    )
    assert_close(found.distill_loss, 0.0)
    assert found.mse > np.mean(np.square(batch.action)) / 4
