"""Several devices of one processor, for programs in processes of their own."""

import os


def forced_devices(count: int) -> dict[str, str]:
    """What to add to the environment of a program that is to see `count` devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    return {"XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}".strip(), "JAX_PLATFORMS": "cpu"}
