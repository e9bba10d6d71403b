"""What the package as a whole promises: one version, a light import, documented names, rooms in order."""

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import floqzoo


ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("floqzoo/**/*.py"), *ROOT.glob("recipes/**/*.py")])

# A room may import those before it, never those after it or beside it.
ORDER = [
    {"_version", "bibliography", "typing"},
    {"records", "hyperparameter"},
    {"protocols"},
    {"networks"},
    {"flow"},
    {"critics", "policies"},
    {"successor"},
    {"agent"},
    {"tasks"},
    {"citations"},
    {"training"},
    {"studies", "testing"},
    {"results"},
    {"sweeps"},
    {"commands"},
    {"command_line"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def over(paths: list[Path]) -> pytest.MarkDecorator:
    """Runs a test for each of some files."""
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


def imported_modules(path: Path) -> list[str]:
    """The absolute names of all modules that a file imports, inside functions too."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert importlib.metadata.version("floqzoo") == floqzoo.__version__
    literals = [path.name for path in SOURCES if f'"{floqzoo.__version__}"' in path.read_text()]
    assert literals == ["_version.py"]


def test_the_package_says_that_it_is_typed():
    assert (Path(floqzoo.__file__).parent / "py.typed").is_file()


def test_import_takes_no_accelerator_and_loads_neither_simulator_nor_plotting():
    heavy = {"mujoco", "dm_control", "ogbench", "gymnasium", "matplotlib", "ray", "submitit", "yaml"}
    code = (
        "import sys, floqzoo\n"
        "from jax._src.xla_bridge import backends_are_initialized\n"
        f"print(sorted({heavy} & set(sys.modules)), backends_are_initialized())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] False"


@pytest.mark.parametrize("name", [name for name in vars(floqzoo) if not name.startswith("_")])
def test_every_public_name_is_documented(name):
    text = getattr(floqzoo, name).__doc__ or ""
    signature = f"{name}("  # what a dataclass without a docstring is given
    assert text.strip()
    assert not text.startswith(signature)


@over([path for path in SOURCES if path.is_relative_to(ROOT / "floqzoo") and path != ROOT / "floqzoo" / "__init__.py"])
def test_a_room_imports_only_the_rooms_before_it(path):
    room = path.relative_to(ROOT / "floqzoo").with_suffix("").parts[0]
    imports = [name.split(".") for name in imported_modules(path)]
    others = {name[1] for name in imports if name[0] == "floqzoo" and len(name) > 1} - {room}
    assert ["floqzoo"] not in imports
    assert "recipes" not in {name[0] for name in imports}
    assert {other for other in others if RANK[other] >= RANK[room]} == set()


@over(SOURCES)
def test_shape_checks_are_not_defeated_and_loading_runs_no_code(path):
    imports = imported_modules(path)
    assert "__future__.annotations" not in imports
    assert {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}.isdisjoint(n.split(".")[0] for n in imports)
    assert "allow_pickle=True" not in path.read_text()
