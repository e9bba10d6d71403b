"""The type checker of all annotations, in a separate module because it is imported before the import hook is installed."""

from beartype import BeartypeConf, beartype


check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Checks calls by beartype. As for static type checkers (PEP 484), an int is accepted where a float is."""
