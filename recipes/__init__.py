"""The methods, each a page that assembles an ordinary agent from ordinary parts."""

NAMES = ("bc", "c51", "codac", "evor", "floq", "fql", "ifql", "iql", "iqn", "qc", "rebrac", "td2_cfm", "value_flows")
"""The modules of this package, each with a `RECIPE` of its name."""
