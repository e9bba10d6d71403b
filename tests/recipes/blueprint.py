"""What a recipe builds, without the cost of making its parameters, and with parameters that nothing is trivial for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable


def blueprint(build, config, observation_dim=7, action_dim=2, reward_range=(-1.0, 0.0)):
    """The agent that `build` makes: its parts, sizes and hyperparameters are real, its parameters are shapes only."""
    seen = []

    def make(key):
        seen.append(
            build(
                observation_dim=observation_dim,
                action_dim=action_dim,
                reward_range=reward_range,
                config=config,
                key=key,
            )
        )
        return eqx.filter(seen[0], eqx.is_array)

    jax.eval_shape(make, jax.random.key(0))
    return seen[0]


def filled(part, numbers):
    """The part with `numbers(shape)` as the value of each parameter."""
    parameters, rest = partition_trainable(part)
    return eqx.combine(jax.tree.map(lambda leaf: jnp.asarray(numbers(leaf.shape)), parameters), rest)


def random_agent(made, seed, **more):
    """The agent with random parameters, those of its targets apart from those of its online networks."""
    draw = np.random.default_rng(seed)

    def numbers(shape):
        return 0.7 * draw.normal(size=shape)

    agent = fz.Agent(
        critic=filled(made.critic, numbers),
        policy=filled(made.policy, numbers),
        update_rule=made.update_rule,
        target_update=made.target_update,
        **more,
    )
    return eqx.tree_at(lambda agent: agent.target, agent, filled(agent.target, numbers))
