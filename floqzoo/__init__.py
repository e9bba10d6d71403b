"""A modular library for flow-matching reinforcement learning in JAX and Equinox.

Shapes and types are checked in every call while JAX traces it, so the checks do not slow down compiled code. The
environment variable `JAXTYPING_DISABLE=1` disables them. The names in this package are imported lazily.
"""

import lazy_loader as _lazy_loader
from jaxtyping import install_import_hook as _install_import_hook

import floqzoo._typechecker as _typechecker


_install_import_hook("floqzoo", f"{_typechecker.__name__}.check")

from floqzoo._version import __version__ as __version__  # noqa: E402


__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
