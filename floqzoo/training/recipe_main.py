"""What every recipe does when it is run as a program."""

import sys

from floqzoo.training.arguments import parse_arguments
from floqzoo.training.door import errors_explained
from floqzoo.training.prepared_run import carry_out, prepare
from floqzoo.training.processes import join_processes
from floqzoo.training.recipe import Recipe


def run_recipe(recipe: Recipe) -> None:
    """Runs a recipe from the words of the command line: data, training, evaluation, a table and a picture.

    Ends the program with status 2 after a user's mistake, and otherwise as `floqzoo.training.prepared_run.carry_out`
    does.
    """
    with errors_explained():
        join_processes()
        run = prepare(recipe, parse_arguments(recipe, sys.argv[1:]))
    carry_out(run)
