"""Recipes: one file per method, which assembles an agent from parts."""

NAMES = (
    "bc",
    "c51",
    "codac",
    "evor",
    "fb",
    "floq",
    "fql",
    "gaussian_bc",
    "ifql",
    "infom",
    "iql",
    "iqn",
    "qc",
    "rebrac",
    "sac",
    "sorl",
    "td2_cfm",
    "value_flows",
)
"""The modules of this package, each with a `RECIPE` of its name."""
