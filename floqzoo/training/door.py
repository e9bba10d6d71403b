"""The door of a command: what a user got wrong is said in one sentence, without a traceback."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


USER_ERROR, INTERRUPTED, FAILED = 2, 130, 1
"""The exit statuses of every command, beside 0."""


@contextmanager
def errors_explained() -> Iterator[None]:
    """Turns the errors of bad input into one line on standard error and exit status 2, and Ctrl-C into status 130.

    Warnings are lines too.
    """
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError) as error:
        leave(f"error: {error}", USER_ERROR)
    except KeyboardInterrupt:
        leave("Interrupted.", INTERRUPTED)
    finally:
        warnings.formatwarning = before


def leave(line: str, status: int) -> None:
    """Prints a line on standard error and ends the program with a status."""
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(status) from None
