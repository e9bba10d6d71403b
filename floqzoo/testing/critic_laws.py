"""What every critic promises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import Critic
from floqzoo.records import Transition
from floqzoo.testing.closeness import assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example
from floqzoo.testing.policy_laws import UniformPolicy


def values_are_numbers(critic: Critic, example: Example) -> None:
    """`value` and `score` are finite scalars."""
    value, score = compiled(_value_and_score, critic, example.observation, example.action, example.key)
    assert value.shape == score.shape == (), f"shapes {value.shape} and {score.shape}"
    assert np.isfinite(value) and np.isfinite(score), f"value {value}, score {score}"


def scores_can_be_improved(critic: Critic, example: Example) -> None:
    """`score` has a finite gradient by the action, and `jax.vmap` over actions is the scores one by one."""
    gradient = compiled(_score_gradient, critic, example.observation, example.action)
    assert np.isfinite(gradient).all(), f"gradient {gradient}"
    assert_rows_are_mapped(_score, jnp.stack([example.action, -example.action]), critic, example.observation)


def critic_loss_is_a_number_with_a_gradient(critic: Critic, example: Example) -> None:
    """`critic_loss` is a finite scalar with a finite gradient, and its key decides it."""
    loss, gradient = compiled(_loss_and_gradient, critic, example.batch, example.key)
    again, _ = compiled(_loss_and_gradient, critic, example.batch, example.key)
    assert loss.shape == (), f"shape {loss.shape}"
    assert np.isfinite(loss) and loss == again, f"losses {loss} and {again} from one key"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def _value_and_score(critic: Critic, observation, action, key):
    return critic.value(observation, action, key), critic.score(observation, action)


def _score(action, critic: Critic, observation):
    return critic.score(observation, action)


def _score_gradient(critic: Critic, observation, action):
    return jax.grad(lambda action: critic.score(observation, action))(action)


def _loss_and_gradient(critic: Critic, batch: Transition, key):
    trainable, rest = partition_trainable(critic)
    policy = UniformPolicy(batch.action.shape[-1])

    def loss(trainable):
        return eqx.combine(trainable, rest).critic_loss(batch, critic, policy, key)[0]

    return jax.value_and_grad(loss)(trainable)


critic_laws = (
    values_are_numbers,
    scores_can_be_improved,
    critic_loss_is_a_number_with_a_gradient,
)
