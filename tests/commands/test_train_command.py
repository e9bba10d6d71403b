"""`floqzoo train`."""

import sys


def test_train_is_the_program_of_the_method(run):
    status, out, _ = run("train", "iql", "--preset", "quickstart", "--help")
    assert status == 0
    assert "Trains and evaluates iql" in out and "preset 'quickstart'" in out
    assert "--agent.NAME=VALUE" in out


def test_flags_of_the_method_are_checked_by_its_program(run):
    status, out, err = run("train", "floq", "--alpha=1")
    assert (status, err) == (2, "error: there is no flag --alpha; did you mean --agent.alpha?\n"), out


def test_an_unknown_method_is_an_error_with_the_nearest_one(run):
    status, _, err = run("train", "floqq", "--preset", "quickstart")
    assert status == 2 and "there is no recipe 'floqq'" in err and "Did you mean floq?" in err


def test_train_leaves_the_modules_of_this_process_as_they_were(run):
    main = sys.modules["__main__"]
    run("train", "fql", "--help")
    assert sys.modules["__main__"] is main
