"""Every law can fail: for each there is a part that breaks it, beside the sound part that keeps it."""

import jax.numpy as jnp
import pytest
from broken_parts import BROKEN, build

from floqzoo.testing import LAWS, Example


BY_NAME = {law.__name__: law for laws in LAWS.values() for law in laws}
CASES = [pytest.param(name, make, {**members}, id=name) for make, faults in BROKEN for name, members in faults.items()]
EXAMPLE = Example(
    t=jnp.asarray(0.375),
    s=jnp.asarray(0.75),
    x0=jnp.array([0.5, -1.0]),
    x1=jnp.array([1.25, 0.75]),
    condition=(jnp.array([0.5, -0.25, 1.0]), jnp.array([0.75, -1.5])),
    inputs=jnp.array([1.0, -0.5, 0.25, 2.0, -1.25]),
    observation=jnp.array([0.5, 1.5, -1.0]),
    action=jnp.array([0.25, -0.75]),
    seed=7,
)


def breaks(part, law) -> bool:
    try:
        law(part, EXAMPLE)
    except Exception:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(("name", "make", "members"), CASES)
def test_a_part_with_one_fault_breaks_the_law_that_a_sound_one_keeps(name, make, members):
    assert breaks(build(make, members), BY_NAME[name])
    BY_NAME[name](build(make, {}), EXAMPLE)


def test_there_is_a_broken_part_for_every_law():
    assert {name for _, faults in BROKEN for name in faults} == BY_NAME.keys()
