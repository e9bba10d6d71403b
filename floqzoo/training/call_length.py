"""How many updates one compiled call makes."""

import math

import jax

from floqzoo.training.configuration import RunConfig


CPU_CALL, ACCELERATOR_CALL = 10, 100
"""The most updates in one compiled call. On a CPU it is so short that Ctrl-C and the progress bar need not wait
for it, on an accelerator so long that Python costs it nothing."""


def updates_in_a_call(config: RunConfig, at_most: int | None = None) -> int:
    """The most updates, up to a limit, that divide every interval of a run.

    - `at_most`: The limit; without it the one that suits the device.
    """
    if at_most is None:
        at_most = CPU_CALL if jax.default_backend() == "cpu" else ACCELERATOR_CALL
    common = math.gcd(config.offline_steps, config.log_interval, config.eval_interval, config.save_interval)
    return max(count for count in range(1, at_most + 1) if common % count == 0)
