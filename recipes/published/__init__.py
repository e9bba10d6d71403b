"""The published settings for each environment, with one module per recipe.

If a table omits a field, the recipe's default is used.
"""

from collections.abc import Mapping
from typing import Any


def with_pixels(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Returns the settings for the pixel environments of FQL's experiments, with the values that `table` has for the same
    environments with states."""
    environments = ("cube-single", "cube-double", "scene", "puzzle-3x3", "puzzle-4x4")
    return {f"visual-{environment}": table[environment] for environment in environments}
