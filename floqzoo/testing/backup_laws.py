"""Laws of aggregations, backups and noise couplings."""

import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import Aggregation, Backup, NoiseCoupling
from floqzoo.testing.closeness import assert_close
from floqzoo.testing.examples import Example


def members_have_no_order(aggregation: Aggregation, example: Example) -> None:
    """Permuting the members does not change the aggregate."""
    values = jnp.stack([example.x0, example.x1, example.x0 * example.t])
    assert_close(aggregation.aggregate(values[jnp.array([2, 0, 1])]), aggregation.aggregate(values))


def an_aggregate_lies_among_its_members(aggregation: Aggregation, example: Example) -> None:
    r"""$\min_e q_e \le \text{agg}_e \, q_e \le \max_e q_e$ for the values $q_e$ of the members.

    If all members have the same value, the aggregate equals it.
    """
    values = jnp.stack([example.x0, example.x1, example.x0 * example.t])
    result = aggregation.aggregate(values)
    slack = 8 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    assert result.shape == example.x0.shape, f"shape {result.shape} instead of {example.x0.shape}"
    assert jnp.all((result >= jnp.min(values, axis=0) - slack) & (result <= jnp.max(values, axis=0) + slack))


def an_aggregate_moves_with_its_members(aggregation: Aggregation, example: Example) -> None:
    r"""$\text{agg}_e (a q_e + b) = a \, \text{agg}_e \, q_e + b$ for member values $q_e$ and $a > 0$."""
    values = jnp.stack([example.x0, example.x1, example.x0 * example.t])
    a, b = 1 + example.t, example.s
    assert_close(aggregation.aggregate(a * values + b), a * aggregation.aggregate(values) + b)


def nothing_is_added_after_the_end(backup: Backup, example: Example) -> None:
    """At the end of an episode, where the discount is 0, every target equals the reward."""
    targets = backup.td_targets(example.t, jnp.zeros_like(example.t), example.inputs)
    assert_close(targets, jnp.full_like(example.inputs, example.t))


def known_values_are_backed_up_exactly(backup: Backup, example: Example) -> None:
    r"""The value $r / (1 - \gamma)$ is a fixed point: if all next values are equal to it, so are all targets."""
    reward, discount = example.inputs[0], example.t
    value = reward / (1 - discount)
    targets = backup.td_targets(reward, discount, jnp.full_like(example.inputs, value))
    assert_close(targets, jnp.full_like(example.inputs, value))


def targets_move_with_rewards_and_values(backup: Backup, example: Example) -> None:
    r"""$y(a r + b, \gamma, a v) = a \, y(r, \gamma, v) + b$ for $a > 0$, where $y$ is `td_targets`."""
    a, b = 1 + example.t, example.inputs[1]
    reward, discount, values = example.inputs[0], example.s, example.inputs
    targets = backup.td_targets(reward, discount, values)
    assert_close(backup.td_targets(a * reward + b, discount, a * values), a * targets + b)


def noise_samples_have_no_order(backup: Backup, example: Example) -> None:
    """Permuting the values of the noise samples permutes their targets in the same way."""
    turned = backup.td_targets(example.t, example.s, jnp.roll(example.inputs, 1))
    assert_close(turned, jnp.roll(backup.td_targets(example.t, example.s, example.inputs), 1))


def noise_keeps_its_shape(coupling: NoiseCoupling, example: Example) -> None:
    """`next_noise(noise, fresh)` has the shape of `noise`."""
    assert _couple(coupling, example).shape == (2, example.inputs.size)


def next_noise_is_one_of_the_two_given(coupling: NoiseCoupling, example: Example) -> None:
    """Every entry of `next_noise(noise, fresh)` equals the corresponding entry of `noise` or of `fresh`."""
    noise, fresh = _noises(example)
    coupled = _couple(coupling, example)
    assert np.all((coupled == noise) | (coupled == fresh)), f"{coupled} is neither {noise} nor {fresh}"


def _noises(example: Example):
    noise = jnp.stack([example.inputs, -example.inputs])
    return noise, noise + 1 + example.t


def _couple(coupling: NoiseCoupling, example: Example):
    return coupling.next_noise(*_noises(example))


aggregation_laws = (
    members_have_no_order,
    an_aggregate_lies_among_its_members,
    an_aggregate_moves_with_its_members,
)

backup_laws = (
    nothing_is_added_after_the_end,
    known_values_are_backed_up_exactly,
    targets_move_with_rewards_and_values,
    noise_samples_have_no_order,
)

noise_coupling_laws = (
    noise_keeps_its_shape,
    next_noise_is_one_of_the_two_given,
)
