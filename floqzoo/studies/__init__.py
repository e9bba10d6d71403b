"""Experiments that produce tables and figures; those with a `main` are run by `python -m floqzoo.studies.NAME`."""
