"""Each operation that can be exported gives in ONNX Runtime and PyTorch what it gives in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_runtimes import in_jax, programs
from jax import lax

from floqzoo.export import NotExportableError, onnx_graph, torch_source
from floqzoo.export.program import trace


pytestmark = pytest.mark.slow


# From a vector of 6 numbers and a matrix of (6, 4); the operation that each is there for comes first.
FUNCTIONS = {
    "abs": lambda w, x: jnp.abs(x),
    "add": lambda w, x: x + 2.5,
    "add_any": lambda w, x: jax.grad(lambda x: jnp.sum(jnp.sin(x) * x))(x),
    "and": lambda w, x: jnp.where((x > 0) & (x < 1), x, 0),
    "argmax": lambda w, x: x * jnp.argmax(x).astype(float),
    "argmin": lambda w, x: x * jnp.argmin(x).astype(float),
    "broadcast_in_dim": lambda w, x: jnp.sum(jnp.broadcast_to(x[:, None], (6, 3)) * jnp.arange(3.0)[None], axis=1),
    "ceil": lambda w, x: jnp.ceil(x),
    "clamp": lambda w, x: lax.clamp(-0.5, x, 0.75),
    "concatenate": lambda w, x: jnp.concatenate([x, jnp.ones(2), x[:1]]),
    "convert_element_type": lambda w, x: (x > 0).astype(jnp.float32) + x,
    "cos": lambda w, x: jnp.cos(x),
    "div": lambda w, x: 1 / (3 + jnp.abs(x)),
    "dot_general": lambda w, x: jnp.einsum("ij,kj,i->jk", w, w, x) @ x,
    "eq": lambda w, x: jnp.where(x == jnp.max(x), 1.0, x),
    "erf": lambda w, x: jax.scipy.special.erf(x),
    "erfc": lambda w, x: jax.scipy.special.erfc(x),
    "exp": lambda w, x: jnp.exp(x),
    "floor": lambda w, x: jnp.floor(x),
    "gather": lambda w, x: (x[:, None] * w)[jnp.argmax(x)],
    "ge": lambda w, x: jnp.where(x >= x[0], x, 2 * x),
    "gt": lambda w, x: jnp.where(x > 0.1, x, -x),
    "integer_pow": lambda w, x: x**3 + (2 + x**2) ** -1,
    "le": lambda w, x: jnp.where(x <= x[0], x, 2 * x),
    "log": lambda w, x: jnp.log(1 + jnp.abs(x)),
    "logistic": lambda w, x: jax.nn.sigmoid(x),
    "lt": lambda w, x: jnp.where(x < 0.1, x, -x),
    "max": lambda w, x: jnp.maximum(x, w[:, 0]) + jnp.maximum(0.25, x),
    "min": lambda w, x: jnp.minimum(x, w[:, 0]) + jnp.minimum(x, 0.25),
    "mul": lambda w, x: 3 * x * x,
    "ne": lambda w, x: jnp.where(x != jnp.max(x), 1.0, x),
    "neg": lambda w, x: -x,
    "not": lambda w, x: jnp.where(~(x > 0), x, 5.0),
    "or": lambda w, x: jnp.where((x < 0) | (x > 1), x, 0),
    "pow": lambda w, x: jnp.power(2.0, x),
    "reduce_max": lambda w, x: x * jnp.max(w * x[:, None], axis=0).sum(),
    "reduce_min": lambda w, x: x * jnp.min(w * x[:, None]),
    "reduce_sum": lambda w, x: jnp.sum(w * x[:, None], axis=1),
    "reshape": lambda w, x: (w.T * x[None]).reshape(-1),
    "rsqrt": lambda w, x: lax.rsqrt(1 + x**2),
    "select_n": lambda w, x: lax.select(x > 0, x, x**2),
    "sign": lambda w, x: jnp.sign(x),
    "sin": lambda w, x: jnp.sin(x),
    "slice": lambda w, x: x[1:6:2],
    "sqrt": lambda w, x: jnp.sqrt(jnp.abs(x)),
    "square": lambda w, x: jnp.square(x),
    "squeeze": lambda w, x: jnp.squeeze((w * x[:, None])[:, 1:2], 1),
    "stack": lambda w, x: jnp.stack([x, w[:, 0], x], axis=1).reshape(-1),
    "sub": lambda w, x: 1 - x,
    "tanh": lambda w, x: jnp.tanh(x),
    "transpose": lambda w, x: (w * x[:, None]).T[0],
}
INPUTS = {"observation": (6,)}
W = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def arguments(function):
    """What `trace` takes for a function of `W` and an input."""
    return (lambda weights, x: function(weights["w"], x)), {"w": jnp.asarray(W)}, INPUTS


def traced(function):
    return trace(*arguments(function))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_operation_is_the_same_in_every_runtime(name):
    function = FUNCTIONS[name]
    assert name in {step.operation for step in traced(function).steps}
    runtimes = programs(*arguments(function))
    for batch in (1, 2, 7):
        x = np.random.default_rng(batch).normal(size=(batch, 6)).astype(np.float32)
        wanted = in_jax(function, W)(x)
        for run in runtimes:
            found = run(x)
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_every_operation_that_is_known_is_tested():
    onnx = {*onnx_graph.DIRECT, *onnx_graph.REDUCTIONS, *onnx_graph.OTHERS}
    torch = {*torch_source.INFIX, *torch_source.FUNCTIONS, *torch_source.REDUCTIONS, *torch_source.OTHERS}
    assert onnx == torch == FUNCTIONS.keys()


@pytest.mark.parametrize("reverse", [False, True])
def test_loops_are_unrolled_in_their_order(reverse):
    def function(w, x):
        def body(carry, row):
            return jnp.tanh((carry + row[0] * row[1]) @ w) @ w.T, None

        rows = (x[None] * jnp.arange(1.0, 4.0)[:, None], jnp.arange(3.0))
        return lax.scan(body, x, rows, reverse=reverse)[0]

    program = traced(function)
    assert sum(step.operation == "tanh" for step in program.steps) == 3
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    for run in programs(*arguments(function)):
        np.testing.assert_allclose(run(x), in_jax(function, W)(x), rtol=2e-5, atol=2e-6)


def test_what_the_output_does_not_depend_on_is_left_out_and_constants_are_computed():
    weights = {"used": jnp.ones(6), "unused": jnp.ones((100, 100))}

    def function(weights, x):
        _ = weights["unused"] @ weights["unused"]
        return x * weights["used"] + jnp.sum(jnp.sort(jax.random.normal(jax.random.key(0), (9,))))

    program = trace(function, weights, INPUTS)
    assert program.weights.keys() == {"used"}
    assert {step.operation for step in program.steps} <= {"mul", "add", "broadcast_in_dim"}


REFUSED = {
    "a loop whose length is not known": lambda w, x: lax.while_loop(lambda x: x[0] < 3, lambda x: x + 1, x),
    "a branch": lambda w, x: lax.cond(jnp.sum(w) > 0, jnp.sin, jnp.cos, x),
    "random numbers": lambda w, x: x + jax.random.normal(jax.random.key(x[0].astype(int)), (6,)),
    "only float32": lambda w, x: x.astype(jnp.bfloat16).astype(jnp.float32),
    "cumsum": lambda w, x: jnp.cumsum(x),
    "indexes an array in a way": lambda w, x: (w * x[:, None])[jnp.argmax(x), jnp.argmin(x)][None],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_said_is_refused_in_one_sentence(reason):
    with pytest.raises(NotExportableError, match=reason) as error:
        programs(*arguments(REFUSED[reason]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("others", [{"a.b": jnp.ones(6)}, {"a": {"b": jnp.ones(6)}}])
def test_two_weights_of_one_name_are_refused(others):
    with pytest.raises(
        NotExportableError, match=r"`a.b` and `a_b` of the policy would have the same name in an export"
    ):
        trace(lambda weights, x: x * weights["a_b"], {"a_b": jnp.ones(6)} | others, INPUTS)
