"""Reads YAML files without executing code, and writes them. Duplicate keys raise an error."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floqzoo.tasks.files import replacing


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that contains a mapping. Values such as 1e-3 are read as numbers, as in YAML 1.2.

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` if the file is not valid YAML, has a duplicate
    key, or does not contain a mapping, and `ModuleNotFoundError` if PyYAML is not installed.
    """
    yaml, loader = _import_yaml(), _strict_loader()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        content = yaml.load(path.read_text(), loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a mapping; it is a {type(content).__name__}.")
    return content


def write_yaml(content: Mapping[str, Any], path: Path) -> None:
    """Writes a mapping of plain values to a YAML file.

    **Raises** `ModuleNotFoundError` if PyYAML is not installed.
    """
    yaml = _import_yaml()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(dict(content), sort_keys=False, width=120))


def _import_yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "sweep files need PyYAML, which is not installed: pip install 'floqzoo[sweep]'."
        ) from error
    return yaml


def _strict_loader() -> Any:
    """PyYAML's safe loader, which only builds plain values, extended by an error for duplicate keys."""
    yaml = _import_yaml()

    class StrictLoader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            lines: dict[str, int] = {}
            for key in (key for key, _ in node.value if isinstance(key.value, str)):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise ValueError(f"line {line}: `{key.value}` is set twice, first in line {lines[key.value]}.")
                lines[key.value] = line
            return super().construct_mapping(node, deep)

    StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789."))
    return StrictLoader


_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
