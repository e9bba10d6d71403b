"""The type checker of all annotations; a module of its own, since it is imported before any annotation is checked."""

from beartype import BeartypeConf, beartype


check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Checks calls by beartype. As for static type checkers (PEP 484), an int is accepted where a float is."""
