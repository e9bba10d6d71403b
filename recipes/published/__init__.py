"""Settings that the papers published for each environment, in one file for each recipe.

A table contains only the fields that differ from the defaults of the recipe.
"""
