"""JAX's persistent compilation cache, in a folder of the user."""

import hashlib
import os
import platform
import tempfile
import warnings
from pathlib import Path

import jax
from jaxlib.version import __version__ as jaxlib_version


AUTO, OFF = "auto", "off"

LEAST_SECONDS = 0.1
"""Programs that take longer than this to compile are kept; JAX's own bound, 1 s, leaves out most of the small ones of a start."""


def use_compilation_cache(setting: str = AUTO) -> Path | None:
    """Keeps compiled programs in a folder, so that the next process that needs one reads it instead of compiling.

    Several processes may share the folder: an entry that another one has not finished writing is refused by its checksum, and
    compiled. The numbers of a run do not change. Whoever can write to the folder can execute code in a process that reads it, so
    a new one belongs to the user alone.

    - `setting`: "auto" leaves what JAX was told, by `JAX_COMPILATION_CACHE_DIR` or `jax.config`, and is else `user_cache_folder`;
      "off" uses no cache; anything else is a folder.

    Returns the folder; None where no cache is used. A folder that cannot be written to is a warning, and no cache.
    """
    if setting == OFF:
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    if not jax.config.jax_enable_compilation_cache:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    told = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if setting == AUTO and told:
        return Path(told)
    folder = user_cache_folder() if setting == AUTO else Path(setting).expanduser()
    try:
        require_writable(folder)
    except OSError as error:
        warnings.warn(
            f"compiled programs are not kept, since {folder} cannot be written to ({error.strerror or error}); choose another "
            "folder by `--compilation_cache=DIR`, or none by `--compilation_cache=off`.",
            stacklevel=2,
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def user_cache_folder() -> Path:
    """`$XDG_CACHE_HOME/floqzoo/compiled/MACHINE`, with `~/.cache` where the variable is not set.

    A home directory may be shared by machines whose processors differ, and machine code for one of them may be refused by
    another, or crash it: XLA warns of that, but does not prevent it. So each kind of processor has a folder of its own.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "floqzoo" / "compiled" / machine_key()


def machine_key() -> str:
    """A name for this kind of processor, with its instruction sets, and this version of XLA."""
    facts = f"{platform.machine()} {_instruction_sets()} {jaxlib_version}"
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _instruction_sets() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # Linux alone has it.
        return platform.processor()
    named = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    facts = dict.fromkeys(line for line in text.splitlines() if line.split(":")[0].strip() in named)
    return "\n".join(facts)


def require_writable(folder: Path) -> None:
    """Makes a folder, readable by the user alone where it is new, and checks that files can be made in it.

    **Raises** `OSError` otherwise.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
