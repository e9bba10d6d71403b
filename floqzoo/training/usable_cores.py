"""The processor cores that a process may use."""

import os


def usable_cores() -> int:
    """How many cores this process may run on, and no more than the environment variable `NPROC` says, as JAX counts them."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it.
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    reserved = os.environ.get("NPROC", "")
    return min(cores, int(reserved)) if reserved.isdecimal() else cores
