"""What every successor measure promises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import SuccessorMeasure
from floqzoo.testing.closeness import assert_close
from floqzoo.testing.examples import Example
from floqzoo.testing.policy_laws import UniformPolicy


def futures_have_the_form_of_observations(measure: SuccessorMeasure, example: Example) -> None:
    """`sample_futures` gives `count` finite observations, and its key decides them."""
    futures = measure.sample_futures(example.observation, example.action, 3, example.key)
    assert futures.shape == (3, example.observation.size), f"shape {futures.shape}"
    assert np.isfinite(futures).all()
    assert_close(measure.sample_futures(example.observation, example.action, 3, example.key), futures)


def futures_are_possible(measure: SuccessorMeasure, example: Example) -> None:
    """`log_prob` is a scalar, and finite for the measure's own futures."""
    futures = measure.sample_futures(example.observation, example.action, 3, example.key)
    log_probs = jnp.stack([measure.log_prob(future, example.observation, example.action) for future in futures])
    assert log_probs.shape == (3,), f"shape {log_probs.shape[1:]} of one log-density"
    assert np.isfinite(log_probs).all(), f"log-densities {log_probs}"


def successor_loss_is_a_number_with_a_gradient(measure: SuccessorMeasure, example: Example) -> None:
    """`successor_loss` is a finite scalar with a finite gradient, and its key decides it."""
    loss, gradient = _loss_and_gradient(measure, example.batch, example.action, example.key)
    again, _ = _loss_and_gradient(measure, example.batch, example.action, example.key)
    assert loss.shape == (), f"shape {loss.shape}"
    assert np.isfinite(loss) and loss == again, f"losses {loss} and {again} from one key"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@eqx.filter_jit
def _loss_and_gradient(measure, batch, action, key):
    trainable, rest = partition_trainable(measure)

    def loss(trainable):
        return eqx.combine(trainable, rest).successor_loss(batch, measure, UniformPolicy(action.size), key)[0]

    return jax.value_and_grad(loss)(trainable)


successor_laws = (
    futures_have_the_form_of_observations,
    futures_are_possible,
    successor_loss_is_a_number_with_a_gradient,
)
