"""A flow critic whose solver has a number of steps that cannot be changed is diagnosed all the same."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from doubles import ACTION, OBSERVATION, linear_fields, linear_q, transitions

import floqzoo as fz
from floqzoo.critics.flow_diagnostics import can_change_steps, flow_diagnostics, with_steps
from floqzoo.testing import assert_obeys


class PlainEuler:
    """Has the methods of the protocol, and is no dataclass."""

    order = 1

    def __init__(self, num_steps):
        self.num_steps = num_steps

    @property
    def evaluations(self):
        return self.num_steps

    def solve(self, *way):
        return fz.Euler(self.num_steps).solve(*way)

    def trajectory(self, *way):
        return fz.Euler(self.num_steps).trajectory(*way)


class TwicePairs(eqx.Module):
    """A dataclass whose number of steps is no field."""

    pairs: int = eqx.field(static=True, default=1)
    num_steps = property(lambda self: 2 * self.pairs)
    evaluations, solve, trajectory = num_steps, PlainEuler.solve, PlainEuler.trajectory


FIXED = {
    "plain": PlainEuler(2),
    "no field": TwicePairs(),
    "adaptive": fz.DiffraxSolver(diffrax.Tsit5(), controller=diffrax.PIDController(rtol=1e-2, atol=1e-2)),
}
CHANGEABLE = {"Midpoint": fz.Midpoint(2), "diffrax": fz.DiffraxSolver(diffrax.Tsit5(), num_steps=2)}


@pytest.mark.parametrize("name", [*FIXED, *CHANGEABLE])
def test_only_the_value_in_one_step_is_left_out(name):
    weight, solver = jnp.ones((2, OBSERVATION + ACTION)), (FIXED | CHANGEABLE)[name]
    fields = linear_fields(weight, jnp.zeros(2), jnp.ones(2))
    critic = fz.FlowCritic(fields, linear_q(weight, jnp.zeros(2)), fz.UniformPrior(-1.0, 0.0), solver=solver)
    found = eqx.filter_eval_shape(flow_diagnostics, critic, transitions(), jax.random.key(0))
    assert can_change_steps(solver) == (name in CHANGEABLE) == (found.q_one_step is not None)
    assert found.q.shape == found.path_curvature.shape == ()
    if name in CHANGEABLE:
        assert with_steps(critic, 5).solver.num_steps == 5
    else:
        with pytest.raises(
            ValueError, match=r"`critic\.solver` must be .* a dataclass with the field `num_steps`; got "
        ):
            with_steps(critic, 5)


@pytest.mark.slow
def test_a_plain_class_with_an_order_is_checked_against_the_laws():
    assert_obeys(PlainEuler(4))
