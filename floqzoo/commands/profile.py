"""The `floqzoo profile` command."""

from pathlib import Path
from typing import Annotated

import tyro


def profile(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    updates: int = 20,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
) -> None:
    """Traces updates with the settings and the data of a run, and prints the time that each step of an update takes.

    Args:
        run: The folder of the run, which is not changed.
        out: The folder for the trace, which XProf and Perfetto can open.
        updates: The number of updates to trace, rounded up to a whole number of calls of the compiled program.
        recipe: The file of your own recipe, which is executed; by default the floqzoo recipe of the run.
        task: Your own task, whose code is executed; by default the OGBench task of the run.
    """
    from floqzoo.learner.compilation_cache import OFF, use_compilation_cache
    from floqzoo.results.text_table import text_table
    from floqzoo.runs.recipe import load_recipe
    from floqzoo.training.profile import profile_run

    # A cached program compiled from earlier sources would have outdated names.
    use_compilation_cache(OFF)
    found = profile_run(run, out, updates=updates, recipe=recipe and load_recipe(recipe), task=task)
    title = f"One update of {run}, the mean of {found.updates}; the times of concurrent kernels add up"
    rows = [
        [each.step, f"{1e3 * each.seconds:.2f}", f"{100 * each.seconds / found.seconds:.1f} %", f"{each.kernels:.0f}"]
        for each in found.steps
    ]
    total = ["all", f"{1e3 * found.seconds:.2f}", "", f"{sum(each.kernels for each in found.steps):.0f}"]
    print(text_table(title, ["step", "ms", "share", "kernels"], [*rows, total]), end="")
    print(f"trace: {found.trace}")
