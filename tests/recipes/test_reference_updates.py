"""Four updates of small agents, against parameters that were stored before the agent core was rewritten.

`reference_updates.npz` was written by the code of commit 658f02f, in float64, from the same seeds and batches.
"""

from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from recipes.bc import BCConfig, bc
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql
from recipes.td2_cfm import TD2Config, td2_cfm


pytestmark = pytest.mark.slow


FLOQ = FloqConfig(
    batch_size=6,
    actor_hidden_dims=(6, 6),
    value_hidden_dims=(6, 6),
    block_width=6,
    block_depth=2,
    noise_samples=3,
    critic_flow_steps=3,
    flow_steps=3,
    lr=1e-2,
    tau=0.1,
    discount=0.9,
    num_bins=7,
    alpha=3.0,
)
FQL = FQLConfig(
    batch_size=6,
    actor_hidden_dims=(6, 6),
    value_hidden_dims=(6, 6),
    flow_steps=3,
    lr=1e-2,
    tau=0.1,
    discount=0.9,
    alpha=3.0,
)
TD2 = TD2Config(
    lr=1e-2,
    tau=0.1,
    discount=0.8,
    network="mlp",
    hidden_dims=(6, 6),
    flow_steps=3,
    diffusion_steps=3,
    measure_of="clone",
    batch_size=6,
)
RESIDUAL_FQL = replace(FQL, q_agg="min", normalize_q_loss=True, use_resnets=True, block_width=6, block_depth=1)
CASES = {
    "floq": (floq, FLOQ),
    "fql_min_residual": (fql, RESIDUAL_FQL),
    "bc": (bc, BCConfig(batch_size=6, actor_hidden_dims=(6, 6), flow_steps=3, lr=1e-2)),
    "td2_cfm": (td2_cfm, TD2),
}
with np.load(Path(__file__).parent / "reference_updates.npz") as file:
    STORED = dict(file)


def batch(seed):
    draw = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(draw.normal(size=shape))

    def uniform(*shape):
        return jnp.asarray(draw.uniform(-1, 1, shape))

    return fz.Transition(
        observation=normal(6, 3),
        action=uniform(6, 2),
        reward=jnp.asarray(draw.uniform(-1, 0, 6)),
        discount=jnp.asarray((np.arange(6) % 3 != 2).astype(float)),
        next_observation=normal(6, 3),
        next_action=uniform(6, 2),
        future=normal(6, 3),
    )


@pytest.mark.parametrize("name", CASES)
def test_updates_are_those_of_the_code_before(name):
    build, config = CASES[name]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        agent = build(observation_dim=3, action_dim=2, reward_range=(-1.0, 0.0), config=config, key=jax.random.key(5))
        update = eqx.filter_jit(lambda agent, batch, key: agent.update(batch, key))
        for number in range(4):
            agent, metrics = update(agent, batch(number), jax.random.key(100 + number))
        target = agent.target.critic if jax.tree.leaves(agent.critic) else None
        for part, tree in (("critic", agent.critic), ("policy", agent.policy), ("target", target)):
            leaves = jax.tree.leaves(fz.partition_trainable(tree)[0])
            found = np.concatenate([np.zeros(0), *(np.ravel(leaf) for leaf in leaves)])
            np.testing.assert_allclose(found, STORED[f"{name}.{part}"], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(jax.tree.leaves(metrics), STORED[f"{name}.metrics"], rtol=1e-10)
