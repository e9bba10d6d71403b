"""Experiments that produce tables and figures. Run those with a `main` as `python -m floqzoo.studies.NAME`."""
