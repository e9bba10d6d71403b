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
"""The names of the recipes; each is a module of this package, with a `RECIPE` of the same name."""
