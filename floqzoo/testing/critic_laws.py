"""Laws of critics."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import Critic, Diagnosable, HasAdvantage, NoisyCritic, ScoresForLatent
from floqzoo.records import Transition
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example
from floqzoo.testing.independent_rows import assert_rows_draw_independently
from floqzoo.testing.policy_laws import UniformPolicy, frozen_agent


def scores_are_numbers(critic: Critic, example: Example) -> None:
    """`score` returns a finite scalar."""
    score = compiled(_score, example.action, critic, example.observation)
    assert score.shape == () and np.isfinite(score), f"score {score} of shape {score.shape}"


def noisy_values_are_numbers(critic: NoisyCritic, example: Example) -> None:
    """`value` returns a finite scalar, and is deterministic given its key."""
    value, again = (compiled(_value, critic, example.observation, example.action, example.key) for _ in range(2))
    assert value.shape == () and np.isfinite(value), f"value {value} of shape {value.shape}"
    assert value == again, f"values {value} and {again} from one key"


def an_advantage_is_a_number(critic: HasAdvantage, example: Example) -> None:
    """`advantage` returns a finite scalar."""
    advantage = compiled(_advantage, example.action, critic, example.observation)
    assert advantage.shape == () and np.isfinite(advantage), f"advantage {advantage} of shape {advantage.shape}"


def advantage_and_score_differ_by_a_function_of_the_state(critic: HasAdvantage, example: Example) -> None:
    """$A(s, a) - A(s, a') = Q(s, a) - Q(s, a')$: the advantage subtracts the same value from Q for all actions."""
    if isinstance(critic, Critic):
        actions = (example.action, -example.action, example.action / 2)
        scores, advantages = (
            jnp.stack([compiled(function, action, critic, example.observation) for action in actions])
            for function in (_score, _advantage)
        )
        assert_close(advantages - advantages[0], scores - scores[0], scale=np.abs([scores, advantages]))


def scores_for_latents_are_numbers(critic: ScoresForLatent, example: Example) -> None:
    """`score_for` returns a finite scalar with a finite gradient with respect to the action."""
    score = compiled(_score_for, critic, example.observation, example.action, example.inputs)
    assert score.shape == () and np.isfinite(score), f"score {score} of shape {score.shape}"
    gradient = compiled(_score_for_gradient, critic, example.observation, example.action, example.inputs)
    assert np.isfinite(gradient).all(), f"gradient {gradient}"


def latents_are_drawn_for_each_row(critic: ScoresForLatent, example: Example) -> None:
    """`sample_latents` draws a finite latent z for each observation, and is deterministic given its key.

    No gradient flows from z to the critic's parameters.
    """
    states = example.batch.observation
    drawn, again = (compiled(_latents, critic, states, example.key) for _ in range(2))
    assert drawn.shape == (len(states), example.inputs.size), f"shape {drawn.shape}"
    assert np.isfinite(drawn).all() and np.array_equal(drawn, again), f"{drawn} and {again} from one key"
    gradient = compiled(_latents_gradient, critic, states, example.key)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient)), f"gradient {gradient}"


def diagnostics_are_numbers(critic: Diagnosable, example: Example) -> None:
    """Every diagnostic is a finite scalar, and is deterministic given the key."""
    found, again = (compiled(_diagnostics, critic, example.batch, example.key) for _ in range(2))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True):
        assert one.shape == () and np.isfinite(one) and one == other, f"diagnostics {found} and {again}"


def scores_can_be_improved(critic: Critic, example: Example) -> None:
    """`score` has a finite gradient with respect to the action, and `jax.vmap` over actions gives the same scores as
    single calls."""
    gradient = compiled(_score_gradient, critic, example.observation, example.action)
    assert np.isfinite(gradient).all(), f"gradient {gradient}"
    assert_rows_are_mapped(_score, jnp.stack([example.action, -example.action]), critic, example.observation)


def critic_loss_is_a_number_with_a_gradient(critic: Critic, example: Example) -> None:
    """`critic_loss` returns a finite scalar with a finite gradient, and is deterministic given its key."""
    loss, gradient = compiled(_loss_and_gradient, example.key, critic, example.batch)
    again, _ = compiled(_loss_and_gradient, example.key, critic, example.batch)
    assert loss.shape == (), f"shape {loss.shape}"
    assert np.isfinite(loss) and loss == again, f"losses {loss} and {again} from one key"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def critic_loss_draws_for_each_row(critic: Critic, example: Example) -> None:
    """The random draws of `critic_loss` are independent across the rows of the batch, and no two use one key.

    The variance over keys of the loss and of its gradient is inversely proportional to the number of rows. JAX's check
    for reused keys passes.
    """
    assert_rows_draw_independently(_loss_and_gradient, critic, example)


def _value(critic: NoisyCritic, observation, action, key):
    return critic.value(observation, action, key)


def _advantage(action, critic: HasAdvantage, observation):
    return critic.advantage(observation, action)


def _score_for(critic: ScoresForLatent, observation, action, latent):
    return critic.score_for(observation, action, latent)


def _score_for_gradient(critic: ScoresForLatent, observation, action, latent):
    return jax.grad(lambda action: critic.score_for(observation, action, latent))(action)


def _latents(critic: ScoresForLatent, observations, key):
    return critic.sample_latents(observations, key)


def _latents_gradient(critic: ScoresForLatent, observations, key):
    trainable, rest = partition_trainable(critic)

    def total(trainable):
        return jnp.sum(eqx.combine(trainable, rest).sample_latents(observations, key) ** 3)

    return jax.grad(total)(trainable)


def _diagnostics(critic: Diagnosable, batch: Transition, key):
    return critic.diagnose(batch, key)


def _score(action, critic: Critic, observation):
    return critic.score(observation, action)


def _score_gradient(critic: Critic, observation, action):
    return jax.grad(lambda action: critic.score(observation, action))(action)


def _loss_and_gradient(key, critic: Critic, batch: Transition):
    trainable, rest = partition_trainable(critic)
    agent = frozen_agent(critic, UniformPolicy(batch.action.shape[-1]))

    def loss(trainable):
        return eqx.combine(trainable, rest).critic_loss(batch, agent, key)[0]

    return jax.value_and_grad(loss)(trainable)


noisy_critic_laws = (noisy_values_are_numbers,)

advantage_laws = (an_advantage_is_a_number, advantage_and_score_differ_by_a_function_of_the_state)

scores_for_latent_laws = (scores_for_latents_are_numbers, latents_are_drawn_for_each_row)

diagnosable_laws = (diagnostics_are_numbers,)

critic_laws = (
    scores_are_numbers,
    scores_can_be_improved,
    critic_loss_is_a_number_with_a_gradient,
    critic_loss_draws_for_each_row,
)
