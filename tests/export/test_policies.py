"""Every policy that acts from noise is the same function in JAX, ONNX Runtime, PyTorch and jax.export."""

from functools import partial

import diffrax
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st
from in_runtimes import in_onnx, in_torch, operators

import floqzoo as fz
from floqzoo.export import NotExportableError
from floqzoo.export.action_units import ActionUnits
from floqzoo.export.onnx_graph import onnx_model
from floqzoo.export.policy_function import critic_function, distribution_of, policy_function
from floqzoo.export.torch_source import torch_source
from floqzoo.flow import DDIM, DiffraxSolver, Heun, Midpoint
from floqzoo.networks.precision import with_compute_dtype
from floqzoo.policies import BehaviourFlow, FunctionPolicy, GPIPolicy
from floqzoo.records import ActorCritic
from floqzoo.testing import families
from floqzoo.testing.families import best_of_n, critic, every_policy_from_noise, field, policy


pytestmark = pytest.mark.slow


KEY = jax.random.key(0)


def clone():
    """The same key, for another part."""
    return jax.random.clone(KEY)


OBSERVATION, ACTION = families.sizes.observation, families.sizes.action


def with_flow(**parts):
    """A behaviour flow with some parts exchanged."""
    condition = {"dim": ACTION, "condition": OBSERVATION}
    made = field(
        **condition,
        **{name: parts.pop(name) for name in [*parts] if name.endswith("embedding") or name == "build"},
        key=clone(),
    )
    return BehaviourFlow(fz.Flow(made, ACTION, **{"solver": fz.Euler(2), **parts}))


POLICIES = {
    "behaviour": lambda: policy(key=clone()),
    "distilled": lambda: policy(fz.DistilledFlowPolicy, key=clone()),
    "awr": lambda: families.actor(fz.AWRPolicy, key=clone()),
    "ddpg+bc": lambda: families.actor(fz.DDPGBCPolicy, key=clone()),
    "deterministic": lambda: families.actor(fz.DeterministicPolicy, key=clone()),
    "tanh-Gaussian": lambda: families.tanh_gaussian(key=clone()),
    "best of n": lambda: best_of_n(key=clone()),
    "latent": lambda: families.latent_policy(key=clone()),
    "soft best of n": lambda: families.soft_best_of_n(key=clone()),
    "shortcut": lambda: families.shortcut_policy(key=clone()),
    "chunks": lambda: families.chunked_policy(key=clone()),
    "best of n chunks": lambda: families.chunked_best_of_n(key=clone()),
    "midpoint": lambda: with_flow(solver=Midpoint(3)),
    "heun": lambda: with_flow(solver=Heun(3)),
    "ddim": lambda: with_flow(solver=DDIM(3, fz.LinearPath())),
    "unrolled": lambda: with_flow(solver=fz.Euler(2, unroll=True)),
    "residual, hl-gauss, fourier": lambda: with_flow(
        build=families.narrow_residual, point_embedding=fz.HLGauss(-3.0, 3.0), time_embedding=fz.FourierTime(4)
    ),
    "layer norm, sinusoidal": lambda: with_flow(
        build=partial(families.narrow, layer_norm=True), time_embedding=fz.SinusoidalTime(4)
    ),
    "uniform noise": lambda: with_flow(prior=fz.UniformPrior(-1.0, 2.0)),
    "relu": lambda: with_flow(build=partial(families.narrow, activation=jax.nn.relu)),
    "silu": lambda: with_flow(build=partial(families.narrow, activation=jax.nn.silu)),
    "exact gelu": lambda: with_flow(build=partial(families.narrow, activation=partial(jax.nn.gelu, approximate=False))),
}


UNITS = ActionUnits(-np.ones(ACTION, np.float32), np.ones(ACTION, np.float32), known=False)


def in_box(actor):
    """The policy as a function, with actions in [-1, 1]."""
    return policy_function(actor, OBSERVATION)[0]


def assert_same_everywhere(exported):
    program = exported.program()
    model = onnx_model(program, exported.output)
    assert not operators(model) & {"Loop", "Scan", "If"}
    assert {each.domain for each in model.opset_import} == {""}
    assert all(
        each.type.tensor_type.shape.dim[0].dim_param == "n" for each in [*model.graph.input, *model.graph.output]
    )
    stablehlo = jax.export.deserialize(bytearray(exported.stablehlo()))
    assert set(stablehlo.platforms) == {"cpu", "cuda"}
    runtimes = (in_onnx(model), *in_torch(*torch_source(program)), stablehlo.call)
    for batch in (1, 6):
        rng = np.random.default_rng(batch)
        inputs = [2 * rng.normal(size=(batch, *shape)).astype(np.float32) for shape in exported.inputs.values()]
        wanted = np.asarray(exported.compiled()(*inputs))
        for run in runtimes:
            found = np.asarray(run(*inputs))
            assert (found.shape, found.dtype) == (wanted.shape, np.float32)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_one_function_in_every_runtime(name):
    assert_same_everywhere(in_box(ActorCritic(families.iql_critic(key=clone()), POLICIES[name]())))


def test_every_class_of_policy_that_acts_from_noise_is_tested():
    tested = {type(make()) for make in POLICIES.values()}

    @settings(max_examples=20, phases=[Phase.generate], database=None)
    @given(st.one_of(every_policy_from_noise))
    def is_tested(policy):
        assert type(policy) in tested

    is_tested()


CRITICS = {
    "ensemble": lambda: critic(key=clone()),
    "minimum": lambda: critic(key=clone(), aggregation=families.MinOverEnsemble()),
    "iql": lambda: families.iql_critic(key=clone()),
    "rebrac": lambda: families.rebrac_critic(key=clone()),
    "sac": lambda: families.sac_critic(key=clone()),
    "step conditioned": lambda: families.step_conditioned_critic(key=clone()),
    "flow": lambda: families.flow_critic(key=clone()),
    "return flow": lambda: families.return_flow_critic(key=clone()),
    "evor": lambda: families.evor_critic(key=clone()),
    "successor": lambda: families.successor_critic(key=clone()),
    "forward-backward": lambda: families.forward_backward(key=clone()),
}


@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_is_one_function_in_every_runtime(name):
    assert_same_everywhere(critic_function(ActorCritic(CRITICS[name](), policy(key=clone())), OBSERVATION, UNITS))


@pytest.mark.parametrize("name", CRITICS)
def test_best_of_n_chooses_with_every_critic(name):
    assert_same_everywhere(in_box(ActorCritic(CRITICS[name](), best_of_n(key=clone()))))


def test_the_noise_of_best_of_n_is_that_of_its_candidates():
    chosen, one = best_of_n(key=clone()), CRITICS["iql"]()
    observation, key = jnp.array([0.5, -1.0, 2.0]), jax.random.key(3)
    noise, candidates = chosen.draw_noise(jax.random.clone(key)), chosen.candidates(observation, one, key)
    each = [chosen.behaviour.act_from_noise(observation, one, row) for row in noise]
    np.testing.assert_allclose(np.stack(each), candidates, rtol=0, atol=1e-6)


def test_an_adaptive_solver_is_refused_in_one_sentence():
    solver = DiffraxSolver(diffrax.Tsit5(), controller=diffrax.PIDController(rtol=1e-3, atol=1e-3))
    refused(with_flow(solver=solver), "fixed-step solver")


def test_reduced_precision_is_refused():
    refused(with_compute_dtype(policy(key=clone()), jnp.bfloat16), "only float32")


def test_a_policy_that_does_not_act_from_noise_is_refused():
    refused(FunctionPolicy(jnp.tanh), "FunctionPolicy")
    refused(fz.BestOfNPolicy(FunctionPolicy(jnp.tanh), 2), "BestOfNPolicy")
    refused(GPIPolicy((policy(key=clone()),), (critic(key=clone()),)), "GPIPolicy")


def refused(policy, reason):
    with pytest.raises(NotExportableError, match=reason) as error:
        in_box(ActorCritic(CRITICS["iql"](), policy)).program()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prior", [fz.GaussianPrior(0.5, 2.0), fz.UniformPrior(-1.0, 3.0)], ids=repr)
def test_a_distribution_in_words_is_that_of_the_prior(prior):
    words = distribution_of(prior)
    drawn = prior.sample(clone(), (100_000,))
    rng = np.random.default_rng(0)
    if words["kind"] == "normal":
        again = rng.normal(words["mean"], words["standard_deviation"], 100_000)
    else:
        again = rng.uniform(words["low"], words["high"], 100_000)
    np.testing.assert_allclose(np.quantile(again, [0.1, 0.5, 0.9]), np.quantile(drawn, [0.1, 0.5, 0.9]), atol=0.05)
