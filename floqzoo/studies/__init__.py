"""Experiments, each a function from settings to a table and a figure, and a command: `python -m floqzoo.studies.NAME`."""
