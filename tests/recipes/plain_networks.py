"""The papers' networks, their gradients, Adam and Polyak averaging, in NumPy.

A network is a list of layers, a layer a dictionary: `weight` (in, out), `bias`, and, where the layer is followed by a
layer norm, its `scale` and `shift`. Every function takes a batch of rows.
"""

import numpy as np


def gelu(x):
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the approximation that flax takes."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_slope(x):
    tanh = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return (1 + tanh) / 2 + x / 2 * (1 - tanh**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)


def standardised(x):
    """Each row with mean 0 and variance 1, and the deviation that it was divided by."""
    deviation = np.sqrt(x.var(axis=1, keepdims=True) + 1e-6)
    return (x - x.mean(axis=1, keepdims=True)) / deviation, deviation


def apply(network, x):
    """Dense, GELU, layer norm for each hidden layer; then a dense layer. The outputs."""
    return outputs_and_tape(network, x)[0]


def outputs_and_tape(network, x):
    """The outputs, and for each layer what its gradient needs: its input and its pre-activation."""
    tape = []
    for layer in network:
        hidden = x @ layer["weight"] + layer["bias"]
        tape.append((x, hidden))
        x = hidden
        if layer is not network[-1]:
            x = gelu(x)
            if "scale" in layer:
                x = standardised(x)[0] * layer["scale"] + layer["shift"]
    return x, tape


def gradients(network, tape, outer):
    """The gradients of sum(outer * outputs) by the parameters and by the inputs."""
    found = []
    for layer, (x, hidden) in zip(reversed(network), reversed(tape), strict=True):
        gradient = {}
        if layer is not network[-1]:
            if "scale" in layer:
                unit, deviation = standardised(gelu(hidden))
                gradient |= {"scale": (outer * unit).sum(axis=0), "shift": outer.sum(axis=0)}
                outer = outer * layer["scale"]
                along = unit * (outer * unit).mean(axis=1, keepdims=True)
                outer = (outer - outer.mean(axis=1, keepdims=True) - along) / deviation
            outer = outer * gelu_slope(hidden)
        gradient |= {"weight": x.T @ outer, "bias": outer.sum(axis=0)}
        found.insert(0, gradient)
        outer = outer @ layer["weight"].T
    return found, outer


def each(function, *trees):
    """`function` of corresponding arrays in nested lists and dictionaries."""
    if isinstance(trees[0], dict):
        return {name: each(function, *(tree[name] for tree in trees)) for name in trees[0]}
    if isinstance(trees[0], list):
        return [each(function, *parts) for parts in zip(*trees, strict=True)]
    return function(*trees)


def adam(parameters, gradient, mean, square, count, rate):
    """Step number `count`, from 1, of Adam (arXiv 1412.6980) with betas 0.9 and 0.999 and epsilon 1e-8."""
    mean = each(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = each(lambda v, g: 0.999 * v + 0.001 * g**2, square, gradient)

    def step(p, m, v):
        return p - rate * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)

    return each(step, parameters, mean, square), mean, square


def polyak(target, online, tau):
    """The target a step of size `tau` nearer to the online parameters."""
    return each(lambda old, new: (1 - tau) * old + tau * new, target, online)
