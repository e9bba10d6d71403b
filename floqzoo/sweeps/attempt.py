"""One attempt at a trial: a child process that does not outlive this process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from floqzoo.sweeps.sweep import Resources
from floqzoo.sweeps.trial import PROGRAM
from floqzoo.sweeps.trial_state import LOG


END_WITH_PARENT = "FLOQZOO_END_WITH_PARENT"
"""The environment variable that makes a trial end with its parent process."""
POLL_SECONDS = 0.2


class Attempt:
    """One attempt at a trial, in a child process whose output is appended to `log.txt` in `directory`.

    - `directory`: The folder of the run.
    - `words`: The arguments of `python -m floqzoo.sweeps.run_trial`.
    - `environment`: Additional environment variables for the child process.
    - `cwd`: The working directory of the child process.
    """

    def __init__(self, directory: Path, words: Sequence[str], environment: Mapping[str, str], cwd: str):
        self.directory, self.words, self.environment, self.cwd = directory, list(words), dict(environment), cwd
        self._process: subprocess.Popen | None = None

    def run(self, where: str) -> int:
        """Runs the trial until it ends, and returns its exit status: $-n$ if signal $n$ ended it, as in `subprocess`.

        An exception in this process, such as `KeyboardInterrupt`, stops the trial. If this process dies, so does the
        trial.

        - `where`: A description of the machine, which is written to the log.

        **Raises** `OSError` if the trial cannot be started.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / LOG).open("a") as log:
            log.write(f"== started {time.strftime('%Y-%m-%d %H:%M:%S')} on {where}\n")
            log.flush()
            # Leaving the block closes the pipe that the trial reads, and waits until it ends.
            with self._started(log) as self._process:
                try:
                    while self._process.poll() is None:
                        time.sleep(POLL_SECONDS)
                except BaseException:
                    self.stop()
                    raise
                finally:
                    self._clear_up()
                return self._process.returncode

    def stop(self) -> None:
        """Asks the trial to stop, and waits until it has written a checkpoint and ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _clear_up(self) -> None:
        """Kills processes that the trial left behind, such as the workers of an interrupted data collection."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _started(self, log: IO[str]) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", PROGRAM, *self.words],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment, END_WITH_PARENT: "1"},
            cwd=self.cwd,
            start_new_session=True,
        )


def environment_of(resources: Resources) -> dict[str, str]:
    """Returns the environment variables that limit a trial to its share of CPU threads and GPU memory."""
    threads = str(resources.cpu)
    variables = {name: threads for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if resources.gpu:
        # A tenth of the share is reserved for what JAX does not count: the driver's context and the compiled programs.
        return variables | {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * min(resources.gpu, 1):.3f}"}
    if resources.cpu == 1:
        variables["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    return variables | {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")}
