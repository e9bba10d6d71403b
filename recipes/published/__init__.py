"""Settings that the papers published for each environment, in one file for each recipe.

A field that a table omits has the default of the recipe.
"""
