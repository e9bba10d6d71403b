"""Recipes: one file per method, which assembles an agent from parts."""

NAMES = (
    "bc",
    "c51",
    "codac",
    "evor",
    "floq",
    "fql",
    "ifql",
    "iql",
    "iqn",
    "qc",
    "rebrac",
    "sorl",
    "td2_cfm",
    "value_flows",
)
"""The modules of this package, each with a `RECIPE` of its name."""
