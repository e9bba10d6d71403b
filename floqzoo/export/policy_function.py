"""Converts policies and critics to plain functions of arrays, which can be exported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from floqzoo.critics.null_critic import NullCritic
from floqzoo.export.action_units import ActionUnits
from floqzoo.export.program import NotExportableError, Program, trace
from floqzoo.flow.prior import GaussianPrior, UniformPrior
from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import ActsFromNoise, NoisePrior
from floqzoo.records import ActorCritic


Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ExportedFunction:
    """A function of a single example, together with its weights.

    - `function`: A function that takes a tree of weights and one array for each input, and returns one array.
    - `weights`: The tree of trained arrays.
    - `inputs`: The name and the shape of each input, without the batch axis.
    - `output`: The name of the output.
    """

    function: Callable[..., Any]
    weights: PyTree
    inputs: dict[str, tuple[int, ...]]
    output: str

    def program(self) -> Program:
        """Converts the function to a list of array operations on a batch.

        **Raises** `NotExportableError` if the function uses operations that other runtimes do not have.
        """
        return trace(self.function, self.weights, self.inputs)

    def compiled(self) -> Any:
        """Returns the function as a jitted JAX function of a batch of inputs."""
        weights = self.weights
        return jax.jit(jax.vmap(lambda *inputs: self.function(weights, *inputs)))

    def stablehlo(self) -> bytes:
        """Serialises the function with `jax.export`, for batches of any size, on CPU and CUDA."""
        (n,) = jax.export.symbolic_shape("n")
        shapes = [jax.ShapeDtypeStruct((n, *shape), np.float32) for shape in self.inputs.values()]
        # Otherwise, on CUDA, products of float32 are rounded to fewer bits than in the other runtimes.
        with jax.default_matmul_precision("highest"):
            return bytes(jax.export.export(self.compiled(), platforms=["cpu", "cuda"])(*shapes).serialize())


def policy_function(
    actor: ActorCritic, observation_dim: int, bounds: tuple[Any, Any] | None = None
) -> tuple[ExportedFunction, ActionUnits]:
    """Converts a policy to a function that can be exported, and returns the function and the units of its actions.

    The function maps an observation to an action; unless the policy is deterministic, it also takes a noise sample.

    - `actor`: The policy, with its critic and its normaliser.
    - `observation_dim`: The size of an observation.
    - `bounds`: The bounds of the environment's actions, in the environment's units; None for -1 and 1.

    **Raises** `NotExportableError` if the policy does not act from noise; `ValueError` if the bounds do not fit the
    actions.
    """
    noise_shape = noise_of(actor).shape
    weights, rest = partition_trainable(actor)
    inputs = {"observation": (observation_dim,)} | ({} if 0 in noise_shape else {"noise": noise_shape})

    def drawn(weights: PyTree, observation: Any, noise: Any = jnp.zeros(0)) -> Any:
        parts = eqx.combine(weights, rest)
        return parts.policy.act_from_noise(parts.normalised(observation), parts.critic, noise)

    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in inputs.values()]
    units = ActionUnits.of_policy(actor.policy, jax.eval_shape(drawn, weights, *shapes).size, bounds)
    return ExportedFunction(lambda *given: units.from_policy(drawn(*given)), weights, inputs, "action"), units


def critic_function(actor: ActorCritic, observation_dim: int, units: ActionUnits) -> ExportedFunction:
    """Converts a critic to a function that can be exported, and that maps an observation and an action to the score.

    The number of steps and the noise samples of a flow critic are fixed.

    - `actor`: The critic, with its policy and its normaliser.
    - `observation_dim`: The size of an observation.
    - `units`: The units of the action, which is a single action of the environment or a chunk of actions.

    **Raises** `NotExportableError` if the agent has no trained critic.
    """
    if actor.critic is None or isinstance(actor.critic, NullCritic):
        raise NotExportableError("the agent has no trained critic to export.")
    weights, rest = partition_trainable(actor)

    def score(weights: PyTree, observation: Any, action: Any) -> Any:
        parts = eqx.combine(weights, rest)
        return parts.critic.score(parts.normalised(observation), units.to_policy(action))

    return ExportedFunction(score, weights, {"observation": (observation_dim,), "action": units.shape}, "value")


def noise_of(actor: ActorCritic) -> jax.ShapeDtypeStruct:
    """Returns the shape and dtype of the noise sample for one action.

    **Raises** `NotExportableError` if the policy does not act from noise.
    """
    policy = actor.policy
    try:
        if not isinstance(policy, ActsFromNoise):
            raise AttributeError("no act_from_noise")
        return jax.eval_shape(policy.draw_noise, jax.random.key(0))
    except AttributeError as error:
        name = type(policy).__name__
        raise NotExportableError(
            f"a {name} cannot be exported: it does not act from noise (`ActsFromNoise`)."
        ) from error


def draw_noise(actor: ActorCritic, count: int, seed: int) -> np.ndarray:
    """Draws the noise samples for `count` actions."""
    return np.asarray(jax.vmap(actor.policy.draw_noise)(jax.random.split(jax.random.key(seed), count)))


def distribution_of(prior: NoisePrior) -> dict[str, Any]:
    """Describes a noise prior by plain values, so that noise can be sampled without JAX.

    **Raises** `NotExportableError` if the prior is neither Gaussian nor uniform.
    """
    if isinstance(prior, GaussianPrior):
        return {"kind": "normal", "mean": float(prior.mean.value), "standard_deviation": float(prior.scale.value)}
    if isinstance(prior, UniformPrior):
        return {"kind": "uniform", "low": float(prior.low.value), "high": float(prior.high.value)}
    raise NotExportableError(f"the noise must be Gaussian or uniform to be exported; got a {type(prior).__name__}.")
