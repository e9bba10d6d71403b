"""Reports the errors of commands: a one-line message on standard error and an exit status, without a traceback."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from floqzoo.learner.devices import why_no_device
from floqzoo.training.interruption import has_abandoned_compilation, signal_of


FAILED, USER_ERROR = 1, 2
"""The exit statuses of a command that fails, other than the statuses for signals (see `status_of`)."""


def status_of(number: int) -> int:
    """Returns the exit status of a program that a signal has ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number


@contextmanager
def errors_explained() -> Iterator[None]:
    """Ends the program with a one-line message and status 2 on an input error in the block, or if there is no device.

    Input errors are `ValueError`, `OSError` and `ModuleNotFoundError`. Ctrl-C ends the program with status 130, SIGTERM
    within `stoppable` with 143, and a broken output pipe with 141. If Ctrl-C abandons a compilation, the process ends
    without Python's cleanup at exit. Warnings are also printed on one line each.
    """
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed the pipe, as `head` does; the remaining output is discarded.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(status_of(signal.SIGPIPE)) from None
    except (ValueError, OSError, ModuleNotFoundError) as error:
        leave(f"error: {error}", USER_ERROR)
    except (RuntimeError, AssertionError):
        # The error that JAX raises without a device depends on the first call, and may be an assertion without message.
        reason = why_no_device()
        if reason is None:
            raise
        leave(f"error: {reason}", USER_ERROR)
    except KeyboardInterrupt as interrupt:
        status = status_of(signal_of(interrupt))
        if has_abandoned_compilation(interrupt):
            # A thread of XLA still compiles, and would crash during a regular exit of Python.
            print("Interrupted.", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(status)
        leave("Interrupted.", status)
    finally:
        warnings.formatwarning = before


def leave(line: str, status: int) -> None:
    """Prints `line` on standard error, and ends the program with the exit status `status`."""
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(status) from None
