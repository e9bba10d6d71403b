"""Laws of networks and their linear layers."""

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import LinearLayer, Network
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example


def parts_of_an_input_add_up(layer: LinearLayer, example: Example) -> None:
    r"""$\text{part}(x, 0) = \text{part}(x_{<k}, 0) + \text{part}(x_{\ge k}, k)$ for every $k$."""
    whole, sums = compiled(_whole_and_sums, layer, example.inputs)
    assert_close(sums, jnp.broadcast_to(whole, sums.shape))


def a_layer_is_linear_without_its_bias(layer: LinearLayer, example: Example) -> None:
    r"""$\text{part}(x + 2 y) = \text{part}(x) + 2 \, \text{part}(y)$."""
    assert_close(*compiled(_both_sides_of_linearity, layer, example.inputs))


def every_input_affects_a_layer(layer: LinearLayer, example: Example) -> None:
    """Every input affects the output: no column of the Jacobian is 0."""
    jacobian = compiled(_layer_jacobian, layer, example.inputs)
    assert np.all(np.any(jacobian != 0, axis=0)), f"Jacobian {jacobian}"


def the_bias_is_the_same_for_every_input(layer: LinearLayer, example: Example) -> None:
    r"""$\text{with\_bias}(p) = p + b$, with the same $b$ for every $p$."""
    assert_close(*compiled(_both_sides_of_the_bias, layer, example.inputs))


def a_network_is_the_body_of_its_stem(network: Network, example: Example) -> None:
    r"""$f(x) = \text{body}(\text{stem}(x))$; the output is finite and has the dtype of $x$."""
    x = example.inputs
    output, body = compiled(_apply, x, network), compiled(_apply_in_stages, x, network)
    assert output.dtype == x.dtype, f"dtype {output.dtype} instead of {x.dtype}"
    assert_close(output, body)


def a_batch_of_inputs_is_its_rows(network: Network, example: Example) -> None:
    """`jax.vmap` over inputs gives the same outputs as computing them one by one."""
    assert_rows_are_mapped(_apply, jnp.stack([example.inputs, -example.inputs, 2 * example.inputs]), network)


def gradients_reach_every_input(network: Network, example: Example) -> None:
    """The gradient of the summed output with respect to the input is finite, and nonzero in every coordinate."""
    gradient = compiled(_gradient, example.inputs, network)
    assert np.isfinite(gradient).all() and np.all(gradient != 0), f"gradient {gradient}"


def _layer_jacobian(layer: LinearLayer, x):
    return jax.jacrev(lambda x: layer.part(x, 0))(x)


def _whole_and_sums(layer: LinearLayer, x):
    sums = [layer.part(x[:k], 0) + layer.part(x[k:], k) for k in range(1, x.size)]
    return layer.part(x, 0), jnp.stack(sums)


def _both_sides_of_linearity(layer: LinearLayer, x):
    y = jnp.flip(x)
    return layer.part(x + 2 * y, 0), layer.part(x, 0) + 2 * layer.part(y, 0)


def _both_sides_of_the_bias(layer: LinearLayer, x):
    product = layer.part(x, 0)
    return layer.with_bias(product), product + layer.with_bias(jnp.zeros_like(product))


def _apply(x, network: Network):
    return network(x)


def _apply_in_stages(x, network: Network):
    return network.body(network.stem.with_bias(network.stem.part(x, 0)))


def _gradient(x, network: Network):
    return jax.grad(lambda x: jnp.sum(network(x)))(x)


layer_laws = (
    parts_of_an_input_add_up,
    a_layer_is_linear_without_its_bias,
    every_input_affects_a_layer,
    the_bias_is_the_same_for_every_input,
)

network_laws = (
    a_network_is_the_body_of_its_stem,
    a_batch_of_inputs_is_its_rows,
    gradients_reach_every_input,
)
