"""How many updates one compiled call makes."""

import math

import jax

from floqzoo.training.configuration import RunConfig


CPU_CALL, ACCELERATOR_CALL = 10, 100
"""The most updates in one compiled call. On a CPU it is so short that Ctrl-C and the progress bar need not wait
for it, on an accelerator so long that Python costs it nothing."""


def call_limit() -> int:
    """The most updates in one compiled call on this machine's devices."""
    return CPU_CALL if jax.default_backend() == "cpu" else ACCELERATOR_CALL


def updates_in_a_call(config: RunConfig, step: int = 0, at_most: int | None = None) -> int:
    """The most updates, up to a limit, that divide every interval of a run, so that no call goes beyond what is due.

    - `step`: Where the run begins or goes on; a run that was stopped may go on with other intervals, or elsewhere.
    - `at_most`: The limit; without it the one that suits the device.
    """
    common = math.gcd(step, config.offline_steps, config.log_interval, config.eval_interval, config.save_interval)
    return longest_call(common, call_limit() if at_most is None else at_most)


def longest_call(updates: int, at_most: int) -> int:
    """The greatest divisor of a number of updates, up to a limit."""
    return max(count for count in range(1, at_most + 1) if updates % count == 0)
