"""A flow over actions whose every path ends in three times the observation's first coordinates."""

import equinox as eqx
from doubles import ACTION

import floqzoo as fz


class Ideal(eqx.Module):
    """$(a - x) / (1 - t)$: the straight way to the action, whatever the noise."""

    def encode(self, observation):
        return 3 * observation[:ACTION]

    def velocity(self, t, x, code):
        return (code - x) / (1 - t)


def ideal_flow(steps=5):
    """Exact for any number of Euler steps."""
    return fz.Flow(Ideal(), ACTION, solver=fz.Euler(steps))
