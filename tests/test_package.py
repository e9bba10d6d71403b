"""The package as a whole: one version, a light import, documented names, imports in one direction."""

import ast
import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
import typing
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import floqzoo
from floqzoo.sweeps import Resources


ROOT = Path(__file__).parents[1]
STUB = (ROOT / "floqzoo" / "__init__.pyi").read_text()
SOURCES = sorted([*ROOT.glob("floqzoo/**/*.py"), *ROOT.glob("recipes/**/*.py")])

# A module or package imports only those before it.
ORDER = [
    {"_version", "bibliography", "scopes", "typing"},
    {"hyperparameter"},
    {"records"},
    {"protocols"},
    {"networks"},
    {"flow"},
    {"update_rules"},
    {"phased_update"},
    {"agent"},
    {"critics"},
    {"policies"},
    {"successor"},
    {"tasks"},
    {"citations", "figures"},
    {"learner"},
    {"rollout"},
    {"runs"},
    {"training"},
    {"studies", "testing"},
    {"results"},
    {"export"},
    {"sweeps"},
    {"commands"},
    {"command_line"},
]
RANK = {module: rank for rank, modules in enumerate(ORDER) for module in modules}


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


def test_the_version_is_written_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert importlib.metadata.version("floqzoo") == floqzoo.__version__
    literals = [path.name for path in SOURCES if f'"{floqzoo.__version__}"' in path.read_text()]
    assert literals == ["_version.py"]


def test_the_package_is_marked_as_typed():
    assert (Path(floqzoo.__file__).parent / "py.typed").is_file()


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """All nodes of the sources, with their files."""
    trees = [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in SOURCES]
    return [(path, node) for path, tree in trees for node in ast.walk(tree)]


def test_records_cannot_be_changed():
    classes = [node for _, node in nodes() if isinstance(node, ast.ClassDef)]
    decorated = [(node.name, ast.unparse(decorator)) for node in classes for decorator in node.decorator_list]
    records = [(name, text) for name, text in decorated if text.startswith("dataclass")]
    assert len(records) > 100
    assert [name for name, text in records if "frozen=True" not in text] == ["Stopwatch"]


# Builders whose options may also be given by position.
BY_POSITION = {"ClippedEuler.from_rewards", "EpisodePlayer.of", "LinearGaussian.spiral", "UniformSupport.from_rewards"}


def test_builders_are_static_and_take_options_by_name():
    """A builder is a function of a class that takes neither an object nor the class."""
    classes = [node for _, node in nodes() if isinstance(node, ast.ClassDef)]
    builders = {
        f"{node.name}.{each.name}": each
        for node in classes
        for each in node.body
        if isinstance(each, ast.FunctionDef) and [one.arg for one in each.args.args[:1]] not in (["self"], ["cls"])
    }
    assert len(builders) > 15
    assert {ast.unparse(decorator) for each in builders.values() for decorator in each.decorator_list} == {
        "staticmethod"
    }
    assert all(each.decorator_list for each in builders.values())
    assert {name for name, each in builders.items() if each.args.defaults} == BY_POSITION


# Where sequences that are joined may differ in length.
OF_DIFFERENT_LENGTHS = {
    "floqzoo/results/critic_figures.py": 3,
    "floqzoo/results/plot.py": 1,
    "floqzoo/results/series.py": 1,
    "floqzoo/rollout/evaluation.py": 1,
    "floqzoo/studies/study.py": 1,
}


def test_sequences_that_are_joined_have_one_length():
    calls = [(path, node) for path, node in nodes() if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    zips = [(path, ast.unparse(node)) for path, node in calls if node.func.id == "zip"]
    assert len(zips) > 50
    assert Counter(path for path, text in zips if "strict=True" not in text) == OF_DIFFERENT_LENGTHS


def run_python(code: str) -> str:
    """What a program prints in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_is_fast_and_loads_no_dependency_before_its_first_use():
    heavy = "{'diffrax', 'optax', 'orbax', 'ogbench', 'matplotlib', 'jax', 'equinox', 'mujoco', 'gymnasium', 'scipy', 'ray'}"
    found = run_python(
        "import sys, time, floqzoo\n"
        # Of all that the process did until now, the start of the interpreter included.
        f"print(time.process_time() < 1.5, sorted({heavy} & set(sys.modules)))"
    )
    assert found == "True []"


def test_all_names_take_no_accelerator_and_load_neither_simulator_nor_plotting():
    heavy = {"mujoco", "dm_control", "ogbench", "gymnasium", "matplotlib", "ray", "submitit", "yaml"}
    found = run_python(
        "import sys\nfrom floqzoo import *\n"
        "from jax._src.xla_bridge import backends_are_initialized\n"
        f"print('Agent' in globals(), sorted({heavy} & set(sys.modules)), backends_are_initialized())"
    )
    assert found == "True [] False"


@pytest.mark.slow
def test_each_name_can_be_the_first_that_is_used():
    """One module after another is imported alone, in the order in which the names are listed: none needs another first."""
    modules = sorted(
        {f"floqzoo.{node.module}" for node in ast.walk(ast.parse(STUB)) if isinstance(node, ast.ImportFrom)}
    )
    found = run_python(
        "import os, sys\n"
        "import jax, equinox, optax, diffrax\n"  # these once, for all processes
        f"for module in {modules}:\n"
        "    process = os.fork()\n"
        "    if not process:\n"
        "        __import__(module)\n"
        "        os._exit(0)\n"
        "    if os.waitpid(process, 0)[1]:\n"
        "        print(module)\n"
    )
    assert found == ""


def test_the_names_are_those_of_the_stub():
    names = {
        alias.asname for node in ast.walk(ast.parse(STUB)) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert set(floqzoo.__all__) == names
    assert names <= set(dir(floqzoo))
    with pytest.raises(AttributeError, match="No floqzoo attribute NoSuchName"):
        _ = floqzoo.NoSuchName


@pytest.mark.parametrize("name", [name for name in floqzoo.__all__ if not name.startswith("_")])
def test_every_public_name_is_documented(name):
    text = getattr(floqzoo, name).__doc__ or ""
    signature = f"{name}("  # what a dataclass without a docstring is given
    assert text.strip()
    assert not text.startswith(signature)


def test_a_module_imports_only_those_before_it():
    for path in SOURCES:
        if not path.is_relative_to(ROOT / "floqzoo") or path == ROOT / "floqzoo" / "__init__.py":
            continue
        ours = path.relative_to(ROOT / "floqzoo").with_suffix("").parts[0]
        imports = [name.split(".") for name in imported_modules(path)]
        others = {name[1] for name in imports if name[0] == "floqzoo" and len(name) > 1} - {ours}
        assert ["floqzoo"] not in imports, path
        assert "recipes" not in {name[0] for name in imports}, path
        assert {other for other in others if RANK[other] >= RANK[ours]} == set(), path


def test_shape_checks_are_not_defeated_and_loading_runs_no_code():
    loaders = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    for path in SOURCES:
        imports = imported_modules(path)
        assert "__future__.annotations" not in imports, path
        assert loaders.isdisjoint(name.split(".")[0] for name in imports), path
        assert "allow_pickle=True" not in path.read_text(), path


MUTABLE = {"Stopwatch"}


def test_a_whole_number_is_taken_where_a_float_is_wanted():
    """As static type checkers do; another type is refused."""
    assert Resources(gpu=1) == Resources(gpu=1.0)
    with pytest.raises(TypeError, match="gpu"):
        Resources(gpu="1")  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_the_checks_of_all_functions_can_be_compiled():
    """They are compiled in the first call of a function, where a mistake in an annotation would be found too late."""
    count = run_python(
        "import importlib, pkgutil, floqzoo\n"
        "from floqzoo import _typechecker\n"
        "checked = []\n"
        "_typechecker.check = lambda function: checked.append(function) or _typechecker.compiled(function)\n"
        "for module in pkgutil.walk_packages(floqzoo.__path__, 'floqzoo.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(len(checked))"
    )
    assert int(count) > 4_000


def test_no_two_modules_of_the_tests_have_one_name():
    """Tests import them by their names alone, so which one is found would depend on the tests that ran before."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in ("__init__.py", "conftest.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_records_are_immutable_and_settings_are_named():
    for path in SOURCES:
        classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        for name, decorators in ((each.name, [ast.unparse(d) for d in each.decorator_list]) for each in classes):
            if name not in MUTABLE:
                assert all("frozen=True" in one for one in decorators if one.startswith("dataclass")), f"{path}: {name}"
            if name.endswith("Config"):
                assert any("kw_only=True" in one for one in decorators), f"{path}: {name}"


RECORDS = {"OGBenchTask", "RunSummary", "UpdateProfile", "Exported", "Sweep", "Trial"}
"""What floqzoo makes, and its users read."""


def test_a_path_may_be_a_string_wherever_users_give_one():
    """Of every function and class that a package exports, every argument annotated as a path may be a string too."""
    found = {}
    for package in ("runs", "results", "training", "tasks", "export", "sweeps", "studies", "rollout", "learner"):
        module = importlib.import_module(f"floqzoo.{package}")
        for name, member in inspect.getmembers(module, callable):
            if name.startswith("_") or name in RECORDS or not getattr(member, "__module__", "").startswith("floqzoo"):
                continue
            hints = typing.get_type_hints(member.__init__ if inspect.isclass(member) else member)
            hints.pop("return", None)
            found |= {f"{name}({argument})": kind for argument, kind in hints.items() if mentions(kind, Path)}
    assert len(found) > 20
    assert [argument for argument, kind in found.items() if not mentions(kind, str)] == []


def mentions(kind, wanted):
    return kind is wanted or any(mentions(inner, wanted) for inner in typing.get_args(kind))
