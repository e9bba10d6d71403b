"""What the gradients of the critics' losses reach, told apart term by term."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, frozen_agent, leaves_by_path, transitions

import floqzoo as fz
from floqzoo.hyperparameter import frozen, partition_trainable


narrow = functools.partial(fz.MLP, hidden=(4,), layer_norm=True)


@eqx.filter_jit
def build(key, kind):
    """A critic with random parameters, another one as its target, and a policy with parameters."""
    keys = jax.random.split(key, 5)

    def critic(field_key, readout_key):
        readout = fz.QEnsemble(OBSERVATION, ACTION, build=narrow, key=readout_key)
        if kind == "monolithic":
            return fz.MonolithicCritic(readout)
        field = functools.partial(
            fz.ConditionalField,
            1,
            OBSERVATION + ACTION,
            build=narrow,
            time_embedding=fz.CosineTime(),
            point_embedding=fz.HLGauss(-10.0, 1.0),
        )
        fields = fz.Ensemble.build(lambda key: field(key=key), 2, key=field_key)
        return fz.FlowCritic(fields, readout, fz.UniformPrior(-1.0, 0.0), solver=fz.Euler(2), num_noise_samples=2)

    policy = fz.DistilledFlowPolicy.build(
        OBSERVATION, ACTION, network=functools.partial(fz.MLP, hidden=(4,)), flow_steps=2, key=keys[4]
    )
    return critic(keys[0], keys[1]), critic(keys[2], keys[3]), policy


@functools.cache
def gradients(kind):
    """The gradients of each loss by every number there is: critic, target and policy, hyperparameters included."""
    numbers, rest = eqx.partition(build(jax.random.key(0, impl="unsafe_rbg"), kind), eqx.is_inexact_array)

    def losses(numbers):
        critic, target, policy = eqx.combine(numbers, rest)
        agent = frozen_agent(frozen(critic), policy, target)
        loss, metrics = critic.critic_loss(transitions(), agent, jax.random.key(1))
        if kind == "monolithic":
            return {"loss": loss}
        return {"loss": loss, "flow": metrics.flow_loss, "distill": metrics.distill_loss}

    by_loss = jax.jit(jax.jacrev(losses))(jax.tree.map(jnp.asarray, numbers))
    return {
        name: {part: leaves_by_path(tree) for part, tree in zip(("critic", "target", "policy"), trees, strict=True)}
        for name, trees in by_loss.items()
    }


def parameters(leaves, *, within=""):
    return {path: leaf for path, leaf in leaves.items() if path.startswith(within) and not path.endswith(".stored")}


def nothing(leaves):
    return leaves and all(np.all(leaf == 0) for leaf in leaves.values())


def everything(leaves):
    return leaves and all(np.any(leaf != 0) and np.all(np.isfinite(leaf)) for leaf in leaves.values())


every_critic = pytest.mark.parametrize("kind", ["monolithic", "flow"])


@pytest.mark.slow
@every_critic
def test_the_loss_reaches_every_parameter_of_the_critic(kind):
    assert everything(parameters(gradients(kind)["loss"]["critic"]))


@pytest.mark.slow
@every_critic
@pytest.mark.parametrize("constant", ["target", "policy"])
def test_no_loss_reaches_the_target_or_the_policy(kind, constant):
    for parts in gradients(kind).values():
        assert nothing(parts[constant])


def test_the_flow_loss_reaches_the_fields_alone():
    leaves = gradients("flow")["flow"]["critic"]
    assert everything(parameters(leaves, within=".fields"))
    assert nothing(parameters(leaves, within=".distilled"))


def test_the_distillation_reaches_the_readout_alone_and_nothing_passes_through_the_integration():
    leaves = gradients("flow")["distill"]["critic"]
    assert everything(parameters(leaves, within=".distilled"))
    assert nothing(parameters(leaves, within=".fields"))


@every_critic
def test_what_an_optimiser_is_given_are_the_parameters_and_no_hyperparameter(kind):
    critic, _, policy = build(jax.random.key(0, impl="unsafe_rbg"), kind)
    for part in (critic, policy):
        trainable, rest = map(leaves_by_path, partition_trainable(part))
        assert set(trainable) == set(parameters(leaves_by_path(part)))
        assert rest
        assert all(path.endswith(".stored") for path in rest)
