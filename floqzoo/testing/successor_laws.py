"""Laws of successor measures, targets, next actions and reward models."""

from dataclasses import replace

import equinox as eqx
import jax
import numpy as np

from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import NextAction, RewardModel, SuccessorMeasure, SuccessorTarget
from floqzoo.records import Transition
from floqzoo.testing.closeness import assert_close, compiled
from floqzoo.testing.examples import Example
from floqzoo.testing.independent_rows import assert_rows_draw_independently
from floqzoo.testing.policy_laws import SumCritic, UniformPolicy, frozen_agent


def futures_have_the_shape_of_observations(measure: SuccessorMeasure, example: Example) -> None:
    """`sample_futures` returns `count` finite observations, and is deterministic given its key."""
    futures = compiled(_futures, measure, example.observation, example.action, example.key)
    assert futures.shape == (3, example.observation.size), f"shape {futures.shape}"
    assert np.isfinite(futures).all()
    assert_close(compiled(_futures, measure, example.observation, example.action, example.key), futures)


def futures_are_possible(measure: SuccessorMeasure, example: Example) -> None:
    """`log_prob` returns a scalar, which is finite for futures that are sampled from the measure."""
    log_probs = compiled(_log_probs, measure, example.observation, example.action, example.key)
    assert log_probs.shape == (3,), f"shape {log_probs.shape[1:]} of one log-density"
    assert np.isfinite(log_probs).all(), f"log-densities {log_probs}"


def successor_loss_is_a_number_with_a_gradient(measure: SuccessorMeasure, example: Example) -> None:
    """`successor_loss` returns a finite scalar with a finite gradient, and is deterministic given its key."""
    loss, gradient = compiled(_loss_and_gradient, example.key, measure, example.batch)
    again, _ = compiled(_loss_and_gradient, example.key, measure, example.batch)
    assert loss.shape == (), f"shape {loss.shape}"
    assert np.isfinite(loss) and loss == again, f"losses {loss} and {again} from one key"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def successor_loss_draws_for_each_row(measure: SuccessorMeasure, example: Example) -> None:
    """The random draws of `successor_loss` are independent across the rows of the batch, and no two use one key.

    The variance over keys of the loss and of its gradient is inversely proportional to the number of rows. JAX's check
    for reused keys passes.
    """
    assert_rows_draw_independently(_loss_and_gradient, measure, example)


def a_target_is_a_point_and_a_velocity(target: SuccessorTarget, example: Example) -> None:
    """A regression target consists of a finite point and a finite velocity, both with the shape of an observation, and
    is deterministic given the key."""
    step = _first(example.batch)
    point = compiled(regression, target, step, example.t, example.key)
    assert point.x.shape == point.velocity.shape == example.observation.shape, (
        f"shapes {point.x.shape} and {point.velocity.shape}"
    )
    again = compiled(regression, target, step, example.t, example.key)
    assert_close(again.x, point.x, roundings=0)
    assert_close(again.velocity, point.velocity, roundings=0)


def each_key_draws_a_different_point(target: SuccessorTarget, example: Example) -> None:
    """For $t < 1$, different keys give different points because the noise differs, even if all futures are equal."""
    step = _certain(example.batch)
    keys = jax.random.split(example.key)
    first, second = (compiled(_aimed_regression, target, step, example.t, key).x for key in keys)
    assert np.abs(first - second).max() > 1e-3 * (1 - float(example.t)), f"{first} and {second} from two keys"


def targets_point_to_a_certain_future(target: SuccessorTarget, example: Example) -> None:
    r"""If every future is $x_1$, the target velocity at the target's point $\hat x_t$ is $u_t(\hat x_t | x_1)$.

    This is checked on the linear path, where $u_t(\hat x_t | x_1)$ equals $(x_1 - \hat x_t) / (1 - t)$. The target
    flow transports all noise to $x_1$, which is also the true future.
    """
    step = _certain(example.batch)
    point = compiled(_aimed_regression, target, step, example.t, example.key)
    rest = 1 - float(example.t)
    future = step.require("future", "this law")
    assert_close(point.velocity, (future - point.x) / rest, scale=(1 + np.abs(future).max()) / rest)


def a_next_action_has_the_shape_of_an_action(next_action: NextAction, example: Example) -> None:
    """`next_actions` returns one finite action for each transition."""
    batch = example.batch
    agent = frozen_agent(SumCritic(), UniformPolicy(batch.action.shape[-1]))
    actions = next_action.next_actions(batch, agent, example.key)
    assert actions.shape == batch.action.shape, f"shape {actions.shape} instead of {batch.action.shape}"
    assert np.isfinite(actions).all()


def a_reward_is_a_number_with_a_gradient(model: RewardModel, example: Example) -> None:
    """`reward_of` returns a finite scalar with a finite gradient with respect to the state, and `reward_loss` returns a
    finite scalar."""
    reward, gradient = jax.value_and_grad(model.reward_of)(example.observation)
    loss = model.reward_loss(example.batch)
    assert reward.shape == loss.shape == (), f"shapes {reward.shape} and {loss.shape}"
    assert np.isfinite(reward) and np.isfinite(loss) and np.isfinite(gradient).all()


def _futures(measure: SuccessorMeasure, observation, action, key):
    return measure.sample_futures(observation, action, 3, key)


def _log_probs(measure: SuccessorMeasure, observation, action, key):
    futures = measure.sample_futures(observation, action, 3, key)
    return jax.vmap(lambda future: measure.log_prob(future, observation, action))(futures)


def _loss_and_gradient(key, measure: SuccessorMeasure, batch: Transition):
    trainable, rest = partition_trainable(measure)
    agent = frozen_agent(None, UniformPolicy(batch.action.shape[-1]))

    def loss(trainable):
        return eqx.combine(trainable, rest).successor_loss(batch, measure, agent, key)[0]

    return jax.value_and_grad(loss)(trainable)


def _first(batch: Transition) -> Transition:
    return jax.tree.map(lambda leaf: leaf[0], batch)


def _certain(batch: Transition) -> Transition:
    """The first transition, with its observation as future, which is where the flow of `_Aim` ends."""
    step = _first(batch)
    return replace(step, future=step.observation)


class _Gale(eqx.Module):
    """A velocity field that moves points towards a multiple of its condition."""

    def encode(self, *condition):
        return condition[0]

    def velocity(self, t, x, code):
        return code * (1 + t) - x


class _Aim(_Gale):
    """A velocity field that moves points along straight lines to its condition; Euler steps are exact for it."""

    def velocity(self, t, x, code):
        return (code - x) / (1 - t)


def regression(target: SuccessorTarget, step, t, key, field=_Gale()):
    """Returns the regression target for a transition, computed with a target flow that has the given velocity field."""
    flow = Flow(field, step.observation.size, solver=Euler(2))
    return target.regression(flow, flow.encode(step.observation), step, t, key)


def _aimed_regression(target: SuccessorTarget, step, t, key):
    return regression(target, step, t, key, _Aim())


successor_measure_laws = (
    futures_have_the_shape_of_observations,
    futures_are_possible,
    successor_loss_is_a_number_with_a_gradient,
    successor_loss_draws_for_each_row,
)

successor_target_laws = (
    a_target_is_a_point_and_a_velocity,
    each_key_draws_a_different_point,
    targets_point_to_a_certain_future,
)

next_action_laws = (a_next_action_has_the_shape_of_an_action,)

reward_model_laws = (a_reward_is_a_number_with_a_gradient,)
