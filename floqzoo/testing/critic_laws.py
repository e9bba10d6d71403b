"""What every critic promises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import Critic
from floqzoo.testing.closeness import assert_close
from floqzoo.testing.examples import Example
from floqzoo.testing.policy_laws import UniformPolicy


def values_are_numbers(critic: Critic, example: Example) -> None:
    """`value` and `score` are finite scalars."""
    value = critic.value(example.observation, example.action, example.key)
    score = critic.score(example.observation, example.action)
    assert value.shape == score.shape == (), f"shapes {value.shape} and {score.shape}"
    assert np.isfinite(value) and np.isfinite(score), f"value {value}, score {score}"


def scores_can_be_improved(critic: Critic, example: Example) -> None:
    """`score` has a finite gradient by the action, and `jax.vmap` over actions is the scores one by one."""
    gradient = jax.grad(lambda action: critic.score(example.observation, action))(example.action)
    assert np.isfinite(gradient).all(), f"gradient {gradient}"
    actions = jnp.stack([example.action, -example.action])
    rows = [critic.score(example.observation, action) for action in actions]
    assert_close(jax.vmap(critic.score, (None, 0))(example.observation, actions), jnp.stack(rows))


def critic_loss_is_a_number_with_a_gradient(critic: Critic, example: Example) -> None:
    """`critic_loss` is a finite scalar with a finite gradient, and its key decides it."""
    loss, gradient = _loss_and_gradient(critic, example.batch, example.action, example.key)
    again, _ = _loss_and_gradient(critic, example.batch, example.action, example.key)
    assert loss.shape == (), f"shape {loss.shape}"
    assert np.isfinite(loss) and loss == again, f"losses {loss} and {again} from one key"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@eqx.filter_jit
def _loss_and_gradient(critic, batch, action, key):
    trainable, rest = partition_trainable(critic)

    def loss(trainable):
        return eqx.combine(trainable, rest).critic_loss(batch, critic, UniformPolicy(action.size), key)[0]

    return jax.value_and_grad(loss)(trainable)


critic_laws = (
    values_are_numbers,
    scores_can_be_improved,
    critic_loss_is_a_number_with_a_gradient,
)
