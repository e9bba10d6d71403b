"""The methods, each a page that assembles an ordinary agent from ordinary parts."""

NAMES = ("bc", "floq", "fql", "ifql", "iql", "qc", "rebrac", "td2_cfm")
"""The modules of this package, each with a `RECIPE` of its name."""
