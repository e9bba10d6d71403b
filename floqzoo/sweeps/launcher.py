"""Runs a sweep, and writes its comparison table and learning curves."""

import sys

from floqzoo.sweeps.live_view import LiveView
from floqzoo.sweeps.outcome import write_outcome
from floqzoo.sweeps.ray_launcher import RayLauncher
from floqzoo.sweeps.scheduler import Failure, run_trials
from floqzoo.sweeps.sweep import Sweep
from floqzoo.sweeps.trial import Trial
from floqzoo.sweeps.trial_state import is_finished, require_readable
from floqzoo.training.interruption import stoppable


def unfinished_trials(sweep: Sweep) -> list[Trial]:
    """Returns the trials that still have to be started or resumed.

    **Raises** `ValueError` if a run is damaged, or is not in the run format of this version.
    """
    for trial in sweep.trials:
        require_readable(trial.directory)
    return [trial for trial in sweep.trials if not is_finished(trial.directory)]


def run_sweep(sweep: Sweep, *, address: str | None = None) -> list[Failure]:
    """Runs the unfinished trials of a sweep on Ray, and writes the comparison table and the learning curves.

    If the sweep was run before, it is continued: finished trials are skipped, and the others resume from their
    checkpoints. Returns the trials that failed. After Ctrl-C or SIGTERM, the running trials write a checkpoint and end,
    and `KeyboardInterrupt` is raised.

    - `address`: The address of a Ray cluster, such as "auto". By default, Ray is started on this machine, and shut down
      at the end.

    **Raises** the errors of `RayLauncher` and `unfinished_trials`, and `OSError` if the folder of the sweep cannot be
    written to.
    """
    unfinished = unfinished_trials(sweep)
    failures = _run(sweep, unfinished, address) if unfinished else []
    write_outcome(sweep)
    return failures


def _run(sweep: Sweep, unfinished: list[Trial], address: str | None) -> list[Failure]:
    counts = f"{len(sweep.trials)} trials, {len(sweep.trials) - len(unfinished)} of them finished"
    with RayLauncher(sweep.resources, address) as launcher, stoppable() as check_stop:
        print(f"sweep {sweep.name} in {sweep.folder}: {counts}; on {launcher}", file=sys.stderr)
        if launcher.warning:
            print(f"warning: {launcher.warning}", file=sys.stderr)
        sweep.folder.mkdir(parents=True, exist_ok=True)
        with LiveView(sweep.trials, unfinished) as view:
            failures = run_trials(
                unfinished,
                launcher,
                restarts=sweep.restarts,
                say=view.say,
                look=view.look,
                check_stop=check_stop,
            )
            view.look([], now=True)
    return failures
