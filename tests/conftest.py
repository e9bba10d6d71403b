"""One strict setting for every test: promotions, warnings and shapes are all checked, and random keys where updates are."""

import gc
import importlib.util
import itertools
import os
import signal
from contextlib import contextmanager
from importlib.metadata import version


# Before JAX and MuJoCo are imported: tests run on the CPU and draw nothing, unless the caller says otherwise.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MUJOCO_GL", "disabled")
# Tests write nothing into the cache of the user who runs them.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")
# Most of a test is compilation. The compiler still rewrites and fuses, but its machine code is not optimised, and of its
# two code generators for fusions the faster one is used, in one piece; the long profile tests what users run. An unknown
# flag of XLA ends the process, so these are for the versions that are known to have them.
if os.environ.get("HYPOTHESIS_PROFILE", "ci") == "ci":
    release = tuple(map(int, version("jaxlib").split(".")[:2]))
    kept = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1" if release <= (0, 12) else ""
    os.environ.setdefault("XLA_FLAGS", f"--xla_backend_optimization_level=0{kept}")

import hypothesis
import jax
import jax.random as jr
import pytest


# A program started in the background ignores Ctrl-C, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tracing makes many short-lived objects, and the heap of a test process is large: Python would search it far too often.
gc.set_threshold(50_000)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_traceback_in_locations_limit", 0)  # of the instructions of a program, which no test reads

# An example compiles, so its time says nothing about the law; hence no deadline.
hypothesis.settings.register_profile("ci", derandomize=True, max_examples=12, deadline=None, database=None)
hypothesis.settings.register_profile("long", max_examples=500, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def getkey():
    """A function that hands out typed keys, each once; every test sees the same ones."""
    count = itertools.count()
    return lambda: jr.fold_in(jr.key(0), next(count))


@pytest.fixture
def fewer_examples():
    """A context in which a law has this many examples, unless the profile is the long one."""

    @contextmanager
    def fewer_examples(count):
        profile = hypothesis.settings.get_current_profile_name()
        hypothesis.settings.register_profile("few", hypothesis.settings.get_profile(profile), max_examples=count)
        hypothesis.settings.load_profile(profile if profile == "long" else "few")
        try:
            yield
        finally:
            hypothesis.settings.load_profile(profile)

    return fewer_examples


@pytest.fixture(autouse=True)
def _no_key_is_used_twice(request):
    """Checked where whole updates are computed, and everywhere in the long profile: it takes an eighth of the time."""
    long = hypothesis.settings.get_current_profile_name() == "long"
    with jax.debug_key_reuse(long or "recipes" in request.path.parts):
        yield


_weight = 0


@pytest.fixture(autouse=True)
def _limited_number_of_programs(request):
    """A compiled program takes memory, and memory maps, of which Linux gives a process 65,530; a slow test has more."""
    global _weight
    yield
    _weight += 1 if request.node.get_closest_marker("slow") is None else 3
    if _weight >= 400:
        _weight = 0
        jax.clear_caches()


@pytest.fixture(scope="session")
def short_episodes():
    """A context in which episodes of OGBench's point mazes end after 200 steps, enough for returns to be known."""

    @contextmanager
    def short_episodes():
        with pytest.MonkeyPatch.context() as patch:
            if importlib.util.find_spec("ogbench") is not None:
                from floqzoo.tasks.simulator import ogbench_module

                for name, entry in ogbench_module("gymnasium").registry.items():
                    if name.startswith("pointmaze-"):
                        patch.setattr(entry, "max_episode_steps", 200)
            yield

    return short_episodes


@pytest.fixture
def double_precision():
    # Not `jax.enable_x64`, which holds in one thread: callbacks run in others.
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)
