"""A conditional field is one network, read in two stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.testing import assert_close
from floqzoo.testing.families import narrow, narrow_residual


@pytest.mark.parametrize("build", [narrow, narrow_residual], ids=["MLP", "ResidualMLP"])
@pytest.mark.parametrize(
    ("time", "point"),
    [
        (fz.RawTime(), fz.HLGauss(-2.0, 2.0, 6)),
        (fz.CosineTime(), fz.RawPoint()),
        (fz.FourierTime(5), fz.NormalisedValue(-2.0, 2.0)),
    ],
    ids=["RawTime-HLGauss", "CosineTime-RawPoint", "FourierTime-NormalisedValue"],
)
def test_two_stages_are_the_network_of_all_inputs_at_once(build, time, point, getkey):
    r"""$v(t, x \mid c) = \text{network}(c, \text{embed}(x), \text{embed}(t))$, in this order."""
    field = fz.ConditionalField(2, 5, build=build, time_embedding=time, point_embedding=point, key=getkey())
    bias = jax.random.normal(getkey(), (8,))
    field = jax.tree.map(lambda leaf: leaf + bias if leaf.shape == (8,) else leaf, field)
    observation, action, x = (jax.random.normal(getkey(), (size,)) for size in (3, 2, 2))
    found = field.velocity(0.3, x, field.encode(observation, action))
    whole = jnp.concatenate([observation, action, point.embed_point(x), time.embed_time(0.3)])
    assert_close(found, field.network(whole))


def test_only_the_whole_of_a_condition_counts(getkey):
    field, condition = fz.ConditionalField(1, 5, build=narrow, key=getkey()), jnp.arange(5.0)
    np.testing.assert_array_equal(field.encode(condition[:3], condition[3:]), field.encode(condition))


def test_a_field_may_have_no_condition(getkey):
    field = fz.ConditionalField(2, 0, build=narrow, key=getkey())
    x = jnp.array([0.5, -1.0])
    assert_close(field.velocity(0.25, x, field.encode()), field.network(jnp.append(x, 0.25)))


@pytest.mark.parametrize(("sizes", "told"), [((3, 3), r"3 \+ 3 = 6"), ((4,), "4 = 4"), ((), "0 = 0")])
def test_a_condition_of_another_size_is_refused(sizes, told, getkey):
    field = fz.ConditionalField(1, 5, build=narrow, key=getkey())
    with pytest.raises(ValueError, match=rf"`condition` must have 5 features in total .*got {told}"):
        field.encode(*(jnp.zeros(size) for size in sizes))


def test_a_velocity_has_the_dtype_of_its_point_whatever_the_network_computes_in(getkey):
    def coarse(inputs, outputs, *, key):
        return fz.MLP(inputs, outputs, hidden=(8,), dtype=jnp.bfloat16, key=key)

    field = fz.ConditionalField(2, 1, build=coarse, key=getkey())
    assert field.encode(jnp.ones(1)).dtype == jnp.bfloat16
    assert field.velocity(0.5, jnp.ones(2), field.encode(jnp.ones(1))).dtype == jnp.float32
