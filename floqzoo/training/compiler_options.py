"""What the compiler is told about an update."""

import functools

import jax


_CPU = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


@functools.cache
def compiler_options() -> dict[str, str]:
    """Options for `jax.jit` on this device, of which none changes what is computed.

    On a CPU: XLA's library takes products, and no element-wise work with them. By default, in jaxlib 0.10, it takes both,
    and for that the constants of an activation are written as arrays of the size of a layer, anew in each step of an
    integration, by which floq of depth 4 is slower. Where XLA does not know the option, it is not given.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_CPU).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _CPU
