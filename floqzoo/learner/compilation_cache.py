"""Configuration of JAX's persistent compilation cache, by default in the user's cache directory."""

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
"""Programs that take longer than this to compile are cached; JAX's default, 1 s, excludes most small programs."""


def use_compilation_cache(setting: str = AUTO) -> Path | None:
    """Caches compiled programs in a folder, so that later processes load them instead of compiling them again.

    Several processes may share the folder: an incomplete entry fails its checksum and is compiled again. Results do not
    change. Anyone who can write to the folder can execute code in processes that read it, so a new folder is private to
    the user.

    - `setting`: "auto" uses JAX's own setting (`JAX_COMPILATION_CACHE_DIR` or `jax.config`), or else
      `user_cache_folder`; "off" disables the cache; anything else is a folder.

    Returns the folder, or None if no cache is used. If the folder is not writable, the function warns, and no cache is
    used.
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
            f"compiled programs are not cached, since {folder} is not writable ({error.strerror or error}); choose another "
            "folder with `--compilation_cache=DIR`, or disable the cache with `--compilation_cache=off`.",
            stacklevel=2,
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def user_cache_folder() -> Path:
    """Returns the default cache folder, `$XDG_CACHE_HOME/floqzoo/compiled/MACHINE`.

    If `XDG_CACHE_HOME` is not set, `~/.cache` takes its place. `MACHINE` is the `machine_key`: each kind of
    processor has its own folder, because a home directory may be shared by machines with different processors. Machine
    code for one processor may fail or crash on another; XLA warns about this, but does not prevent it.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "floqzoo" / "compiled" / machine_key()


def machine_key() -> str:
    """Returns a hash of the kind of processor, its instruction sets, and the version of jaxlib."""
    facts = f"{platform.machine()} {_instruction_sets()} {jaxlib_version}"
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _instruction_sets() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # exists on Linux only
        return platform.processor()
    named = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    facts = dict.fromkeys(line for line in text.splitlines() if line.split(":")[0].strip() in named)
    return "\n".join(facts)


def require_writable(folder: Path) -> None:
    """Checks that a folder is writable. If it does not exist, it is created, and is accessible only to the user.

    **Raises** `OSError` if the folder cannot be created or is not writable.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
