"""Laws of hyperparameters and state, for all kinds of parts."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo import protocols
from floqzoo.hyperparameter import is_not_trained
from floqzoo.records import ActorCritic, FrozenAgent, Transition
from floqzoo.testing.batch_source_laws import draw, example_data, read
from floqzoo.testing.closeness import compiled
from floqzoo.testing.examples import Example
from floqzoo.testing.policy_laws import SumCritic, UniformPolicy, frozen_agent
from floqzoo.testing.successor_laws import regression
from floqzoo.testing.update_laws import example_parts, moved
from floqzoo.testing.velocities import Wave
from floqzoo.typing import Key


class Numbers(eqx.Module):
    """The arrays of an example as a pytree, so that JAX can trace them."""

    t: Any
    s: Any
    x0: Any
    x1: Any
    condition: Any
    inputs: Any
    observation: Any
    action: Any
    batch: Transition
    key: Key
    other_key: Key
    dataset: Any
    replay: Any
    parts: ActorCritic

    @staticmethod
    def of(example: Example) -> "Numbers":
        """Collects the arrays of an example, a dataset, a replay buffer, and a critic and a policy to update."""
        names = ("t", "s", "x0", "x1", "condition", "inputs", "observation", "action", "batch")
        key, other_key = jax.random.split(example.key)
        dataset, replay = example_data(example)
        numbers: dict[str, Any] = {name: getattr(example, name) for name in names}
        numbers |= {"key": key, "other_key": other_key, "dataset": dataset, "replay": replay}
        return Numbers(**numbers, parts=example_parts(example))

    def agent(self, part: Any) -> FrozenAgent:
        """Returns a frozen agent with the given critic or policy, and simple stand-ins for the other parts."""
        critic = part if isinstance(part, protocols.Critic) else SumCritic(self.inputs.size)
        policy = part if isinstance(part, protocols.Policy) else UniformPolicy(self.action.size)
        return frozen_agent(critic, policy)


def no_gradient_reaches_a_number_that_is_not_learnt(part: Any, example: Example) -> None:
    """The gradient of a part's outputs with respect to each of its `Hyperparameter`s and `State`s is 0.

    The gradient is 0 even if all floating-point arrays are differentiated, as with
    `eqx.partition(part, eqx.is_inexact_array)`.
    """
    if not any(jax.tree.leaves(jax.tree.map(is_not_trained, part, is_leaf=is_not_trained))):
        return
    for kind, output in OUTPUTS.items():
        if isinstance(part, kind):
            gradients = compiled(_gradients_of_numbers, output, part, Numbers.of(example))
            assert not any(np.any(leaf) for leaf in gradients), f"gradients {gradients} as a {kind.__name__}"


def _gradients_of_numbers(output: Callable, part: Any, numbers: Numbers) -> Any:
    arrays, rest = eqx.partition(part, eqx.is_inexact_array)

    def total(arrays: Any) -> Any:
        outputs = jax.tree.leaves(output(eqx.combine(arrays, rest), numbers))
        return sum((jnp.sum(leaf) for leaf in outputs if eqx.is_inexact_array(leaf)), jnp.zeros(()))

    # Only those of the numbers, so that nothing else is compiled.
    nodes = jax.tree.leaves(jax.grad(total)(arrays), is_leaf=is_not_trained)
    return jax.tree.leaves([node for node in nodes if is_not_trained(node)])


def _followed(update: Any, x: Numbers) -> Any:
    after = jax.tree.map(lambda leaf: leaf + 1, x.parts)
    return moved(update, update.init_targets(x.parts), x.parts, after, jnp.zeros((), jnp.int32))


_OUTPUTS: dict[type, Callable[[Any, Any], Any]] = {
    protocols.NoisePrior: lambda prior, x: (prior.log_prob(x.x0), prior.sample(x.key, (2,))),
    protocols.ProbabilityPath: lambda path, x: (
        path.at(x.t, x.x0, x.x1),
        path.conditional_velocity(x.t, x.x0, x.x1),
    ),
    protocols.ODESolver: lambda solver, x: solver.solve(Wave(x.x1, x.t), x.x0),
    protocols.VelocityField: lambda field, x: field.velocity(x.t, x.x0, field.encode(*x.condition)),
    protocols.Network: lambda network, x: network(x.inputs),
    protocols.LinearLayer: lambda layer, x: layer.with_bias(layer.part(x.inputs, 0)),
    protocols.TimeEmbedding: lambda embedding, x: embedding.embed_time(x.t),
    protocols.PointEmbedding: lambda embedding, x: embedding.embed_point(x.x0[:1]),
    protocols.TimeDistribution: lambda times, x: times.sample_times(x.key, (3,)),
    protocols.Aggregation: lambda aggregation, x: aggregation.aggregate(jnp.stack([x.x0, x.x1])),
    protocols.Backup: lambda backup, x: backup.td_targets(x.t, x.s, x.inputs),
    protocols.NoiseCoupling: lambda coupling, x: coupling.next_noise(x.inputs[None], -x.inputs[None]),
    protocols.Critic: lambda critic, x: (
        critic.score(x.observation, x.action),
        critic.critic_loss(x.batch, x.agent(critic), x.key)[0],
    ),
    protocols.NoisyCritic: lambda critic, x: critic.value(x.observation, x.action, x.key),
    protocols.HasAdvantage: lambda critic, x: critic.advantage(x.observation, x.action),
    protocols.ScoresForLatent: lambda critic, x: critic.score_for(x.observation, x.action, x.inputs),
    protocols.Policy: lambda policy, x: (
        policy.act(x.observation, SumCritic(), x.key),
        policy.policy_loss(x.batch, x.agent(policy), x.other_key)[0],
    ),
    protocols.Exploring: lambda policy, x: policy.explore(x.observation, SumCritic(), x.key),
    protocols.HasDensity: lambda policy, x: policy.act_with_log_prob(x.observation, x.key),
    protocols.ActsFromNoise: lambda policy, x: policy.act_from_noise(
        x.observation, SumCritic(), policy.draw_noise(x.key)
    ),
    protocols.ActsForLatent: lambda policy, x: policy.act_for(x.observation, x.inputs),
    protocols.SuccessorMeasure: lambda measure, x: (
        measure.sample_futures(x.observation, x.action, 2, x.key),
        measure.log_prob(x.observation, x.observation, x.action),
        measure.successor_loss(x.batch, measure, x.agent(measure), x.other_key)[0],
    ),
    protocols.SuccessorTarget: lambda target, x: regression(
        target, jax.tree.map(lambda leaf: leaf[0], x.batch), x.t, x.key
    ),
    protocols.RewardModel: lambda model, x: (model.reward_of(x.observation), model.reward_loss(x.batch)),
    protocols.TargetUpdate: _followed,
    protocols.TransitionReader: lambda reader, x: read(reader, x.dataset, x.dataset.starts, x.key),
    protocols.BatchSource: lambda source, x: draw(source, x.dataset, x.replay, 0, x.key, 4),
}
OUTPUTS: Mapping[type, Callable[[Any, Any], Any]] = MappingProxyType(_OUTPUTS)
"""For each kind of part, a function that computes a part's outputs from the part and a `Numbers`.

The gradients of these outputs with respect to numbers that are not learnt must be 0.
"""

hyperparameter_laws = (no_gradient_reaches_a_number_that_is_not_learnt,)
