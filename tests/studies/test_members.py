"""Training of many agents in one program."""

import equinox as eqx
import jax
import numpy as np
import pytest

from floqzoo.studies.critic_lab import AGENTS, LabSettings, lab_data
from floqzoo.studies.members import train_members


SETTINGS = LabSettings(seeds=2, transitions=200, hidden=(8,), batch_size=4, updates=7)


def trained(**options):
    """The members after their updates, their losses, and the numbers of updates after each compiled call."""
    keys, seen = jax.random.split(jax.random.key(0), SETTINGS.seeds), []
    options = {"updates": SETTINGS.updates, "batch_size": SETTINGS.batch_size, "progress": seen.append, **options}
    agents, losses = train_members(AGENTS["monolithic"](SETTINGS), lab_data(SETTINGS), keys, **options)
    return agents, losses, seen


def test_the_length_of_a_compiled_call_makes_no_difference():
    agents, losses, seen = trained()
    for chunk, calls in ((3, [3, 6, 7]), (7, [7]), (1, [1, 2, 3, 4, 5, 6, 7])):
        others, other_losses, other_seen = trained(chunk=chunk)
        assert other_losses.shape == (SETTINGS.seeds, SETTINGS.updates)
        assert other_seen == calls
        np.testing.assert_allclose(other_losses, losses, rtol=1e-5)
        pairs = zip(
            *(jax.tree.leaves(eqx.filter(each, eqx.is_inexact_array)) for each in (agents, others)), strict=True
        )
        for ours, theirs in pairs:
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)
    assert seen == [7]


@pytest.mark.parametrize("name", ["updates", "chunk"])
def test_numbers_below_1_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        trained(**{name: 0})
