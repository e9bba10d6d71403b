import contextlib
import functools
import os
import random
import signal
import threading

import jax
import jax.numpy as jnp
import pytest

from floqzoo.training.interruption import Terminated, interrupt_held, signal_of, stoppable


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)


def test_the_block_is_finished_first(capfd):
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117 (what matters is the way through the block)
        with interrupt_held():
            interrupt()
            done.append(True)
    assert done
    assert "press Ctrl-C again" in capfd.readouterr().err


def test_a_second_one_takes_effect_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117 (as above)
        with interrupt_held():
            interrupt()
            interrupt()
            done.append(True)
    assert not done


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_handler_is_put_back(error):
    before = signal.getsignal(signal.SIGINT)
    try:
        with interrupt_held():
            assert signal.getsignal(signal.SIGINT) is not before
            if error:
                raise error
    except ValueError:
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_where_ctrl_c_is_ignored_it_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_held():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_is_changed():
    seen = []

    def work():
        with interrupt_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_sigterm_waits_too_and_is_told_apart():
    done = []
    with pytest.raises(Terminated) as interrupted, stoppable():  # noqa: PT012 (as above)
        with interrupt_held():
            interrupt(signal.SIGTERM)
            done.append(True)
        done.append(False)
    assert done == [True]
    assert signal_of(interrupted.value) == signal.SIGTERM
    assert signal_of(KeyboardInterrupt()) == signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_swallowed_is_not_lost(number):
    with stoppable() as check:
        check()
        with contextlib.suppress(KeyboardInterrupt):  # As in a destructor.
            interrupt(number)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            check()
    assert signal_of(interrupted.value) == number


@pytest.mark.slow
@pytest.mark.parametrize("held", [False, True])
def test_a_compilation_is_not_abandoned(held, capfd):
    """A thread of XLA would continue it, and crash the process if Python exits meanwhile."""
    new = random.random()  # A constant that makes the program one that no compilation cache has.
    program = jax.jit(lambda x: functools.reduce(lambda x, n: jnp.sin(x @ x + n), range(800), x + new))
    lowered = program.lower(jnp.eye(8))
    done = []
    with pytest.raises(Terminated), stoppable() as check:  # noqa: PT012 (as above)
        with interrupt_held() if held else contextlib.nullcontext():
            if held:
                interrupt(signal.SIGTERM)
            threading.Timer(0.2, interrupt, [signal.SIGTERM]).start()
            lowered.compile()
            done.append(True)
        check()
    assert done
    assert "Stopping after the compilation" in capfd.readouterr().err


def test_sigterm_is_as_before_after_the_block():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
