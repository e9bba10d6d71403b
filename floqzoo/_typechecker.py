"""The type checker of all annotations; a separate module, since it is imported before the import hook is installed."""

from beartype import BeartypeConf, beartype


check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Checks calls with beartype. As in static type checkers (PEP 484), an int is accepted where a float is expected."""
