"""The published settings for each environment, with one module per recipe.

If a table omits a field, the recipe's default is used.
"""
