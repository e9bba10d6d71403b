"""Settings that a paper published, by environment."""

import warnings
from collections.abc import Mapping
from typing import TypeVar


Settings = TypeVar("Settings")


def published_settings(env_name: str, table: Mapping[str, Settings], otherwise: Settings) -> Settings:
    """The settings published for an environment, whatever its dataset and task.

    - `env_name`: Such as "cube-double-play-singletask-task1-v0".
    - `table`: The settings of each environment, such as "cube-double".
    - `otherwise`: What is used, with a warning, for an environment that is not in the table.
    """
    for environment, settings in table.items():
        if env_name.startswith(f"{environment}-"):
            return settings
    warnings.warn(
        f"no settings are published for {env_name}, so the method's own defaults are used; alpha is the one to tune "
        f"(published: {', '.join(table)}).",
        stacklevel=2,
    )
    return otherwise
