"""What a recipe builds, without the cost of making its parameters."""

import equinox as eqx
import jax


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
