"""What every successor measure promises."""

import equinox as eqx
import jax
import numpy as np

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import SuccessorMeasure
from floqzoo.records import Transition
from floqzoo.testing.closeness import assert_close, compiled
from floqzoo.testing.examples import Example
from floqzoo.testing.policy_laws import UniformPolicy


def futures_have_the_form_of_observations(measure: SuccessorMeasure, example: Example) -> None:
    """`sample_futures` gives `count` finite observations, and its key decides them."""
    futures = compiled(_futures, measure, example.observation, example.action, example.key)
    assert futures.shape == (3, example.observation.size), f"shape {futures.shape}"
    assert np.isfinite(futures).all()
    assert_close(compiled(_futures, measure, example.observation, example.action, example.key), futures)


def futures_are_possible(measure: SuccessorMeasure, example: Example) -> None:
    """`log_prob` is a scalar, and finite for the measure's own futures."""
    log_probs = compiled(_log_probs, measure, example.observation, example.action, example.key)
    assert log_probs.shape == (3,), f"shape {log_probs.shape[1:]} of one log-density"
    assert np.isfinite(log_probs).all(), f"log-densities {log_probs}"


def successor_loss_is_a_number_with_a_gradient(measure: SuccessorMeasure, example: Example) -> None:
    """`successor_loss` is a finite scalar with a finite gradient, and its key decides it."""
    loss, gradient = compiled(_loss_and_gradient, measure, example.batch, example.key)
    again, _ = compiled(_loss_and_gradient, measure, example.batch, example.key)
    assert loss.shape == (), f"shape {loss.shape}"
    assert np.isfinite(loss) and loss == again, f"losses {loss} and {again} from one key"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def _futures(measure: SuccessorMeasure, observation, action, key):
    return measure.sample_futures(observation, action, 3, key)


def _log_probs(measure: SuccessorMeasure, observation, action, key):
    futures = measure.sample_futures(observation, action, 3, key)
    return jax.vmap(lambda future: measure.log_prob(future, observation, action))(futures)


def _loss_and_gradient(measure: SuccessorMeasure, batch: Transition, key):
    trainable, rest = partition_trainable(measure)
    policy = UniformPolicy(batch.action.shape[-1])

    def loss(trainable):
        return eqx.combine(trainable, rest).successor_loss(batch, measure, policy, key)[0]

    return jax.value_and_grad(loss)(trainable)


successor_laws = (
    futures_have_the_form_of_observations,
    futures_are_possible,
    successor_loss_is_a_number_with_a_gradient,
)
