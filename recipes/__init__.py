"""The recipes: one module per method, which assembles the method's agent from parts."""

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
"""The names of the recipes. Each recipe is a module of this package, which defines a `RECIPE` of the same name."""
