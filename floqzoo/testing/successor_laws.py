"""Laws of successor measures, targets, next actions and reward models."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import multivariate_normal

from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import NextAction, RewardModel, SuccessorMeasure, SuccessorTarget
from floqzoo.records import Transition
from floqzoo.testing.closeness import assert_close, compiled
from floqzoo.testing.examples import Example
from floqzoo.testing.independent_rows import assert_rows_draw_independently
from floqzoo.testing.policy_laws import SumCritic, UniformPolicy, frozen_agent


COUNT = 512
"""The number of futures whose densities are compared."""


def futures_have_the_shape_of_observations(measure: SuccessorMeasure, example: Example) -> None:
    """`sample_futures` returns `count` finite observations, and is deterministic given its key."""
    futures = compiled(_futures, measure, example.observation, example.action, example.key)
    assert futures.shape == (3, example.observation.size), f"shape {futures.shape}"
    assert np.isfinite(futures).all()
    assert_close(compiled(_futures, measure, example.observation, example.action, example.key), futures)


def futures_are_possible(measure: SuccessorMeasure, example: Example) -> None:
    """`log_prob` returns a scalar, which is finite for futures that are sampled from the measure."""
    _, log_probs = compiled(_futures_and_log_probs, measure, example.observation, example.action, example.key)
    assert log_probs.shape == (3, COUNT), f"shape {log_probs.shape[2:]} of one log-density"
    assert np.isfinite(log_probs).all(), f"log-densities {log_probs}"


def each_key_draws_different_futures(measure: SuccessorMeasure, example: Example) -> None:
    """Different keys give different futures."""
    keys = jax.random.split(example.key)
    first, second = (compiled(_futures, measure, example.observation, example.action, key) for key in keys)
    assert (first != second).any(), f"futures {first} from two keys"


def density_of_futures_integrates_to_one(measure: SuccessorMeasure, example: Example) -> None:
    r"""`log_prob` is the log-density $\log p$ of the futures that `sample_futures` draws.

    This is checked with $E[q(X) / p(X)] = 1$, where the $X$ are futures, and $q$ is the density of a normal
    distribution that is narrower than theirs. Because the two methods may use different solvers, the mean over 512
    futures may differ from 1 by 0.1 for each coordinate, and by four standard errors.
    """
    futures, log_probs = compiled(_futures_and_log_probs, measure, example.observation, example.action, example.key)
    ratios = np.exp(_normal_log_probs(futures, 0.5) - log_probs[0])
    error = 4 * ratios.std() / np.sqrt(ratios.size) + 0.1 * example.observation.size
    assert abs(ratios.mean() - 1) < error, f"mean ratio {ratios.mean()} of the densities"


def futures_are_likelier_where_they_come_from(measure: SuccessorMeasure, example: Example) -> None:
    r"""On average, futures of $(s, a)$ are at least as likely under $m(\cdot | s, a)$ as under $m(\cdot | -s, a)$, under
    $m(\cdot | s, -a)$ and under a normal distribution with their mean and covariance, by Gibbs' inequality.

    Moreover, `log_prob` depends on $s$ and on $a$ if and only if the futures of one key do. The mean difference of the
    log-densities of 512 futures may be negative by four standard errors and, because `log_prob` and `sample_futures`
    may use different solvers, by further 0.1 standard deviations, or by 0.1 for each coordinate for the normal
    distribution.
    """
    observation, action = example.observation, example.action
    futures, (own, *others) = compiled(_futures_and_log_probs, measure, observation, action, example.key)
    normal = own - _normal_log_probs(futures, 1.0)
    least = -4 * normal.std() / np.sqrt(COUNT) - 0.1 * observation.size
    assert normal.mean() > least, f"log-density lower by {-normal.mean()} than under a normal distribution"
    for (s, a), other in zip(_opposites(observation, action), others, strict=True):
        gain = own - other
        least = -(4 / np.sqrt(COUNT) + 0.1) * gain.std()
        assert gain.mean() >= least, f"log-density lower by {-gain.mean()} than for {s} and {a}"
        moved = compiled(_many_futures, measure, s, a, example.key) != futures
        assert moved.any() == (gain != 0).any(), f"of the futures and their density, one depends on {s} and {a}"


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


def _many_futures(measure: SuccessorMeasure, observation, action, key):
    return measure.sample_futures(observation, action, COUNT, key)


def _opposites(observation, action):
    return (-observation, action), (observation, -action)


def _futures_and_log_probs(measure: SuccessorMeasure, observation, action, key):
    """Many futures, and their log-densities at their own condition and at each opposite one."""
    futures = _many_futures(measure, observation, action, key)
    conditions = jax.tree.map(lambda *rows: jnp.stack(rows), (observation, action), *_opposites(observation, action))
    log_probs = jax.vmap(lambda s, a: jax.vmap(lambda future: measure.log_prob(future, s, a))(futures))(*conditions)
    return futures, log_probs


def _normal_log_probs(futures, scale: float):
    """The log-densities of futures under a normal distribution with their mean and `scale` times their covariance."""
    mean, covariance = futures.mean(axis=0), scale * np.atleast_2d(np.cov(futures, rowvar=False))
    return jax.vmap(lambda x: multivariate_normal.logpdf(x, mean, covariance))(futures)


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
    each_key_draws_different_futures,
    futures_are_possible,
    density_of_futures_integrates_to_one,
    futures_are_likelier_where_they_come_from,
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
