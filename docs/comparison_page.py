"""The page with the small comparison of all methods, from the scores and the costs in `comparison/`."""

import csv
from pathlib import Path

from floqzoo.results import read_comparison
from floqzoo.studies.report import markdown_table


INTRODUCTION = """# A small comparison of the methods

<!-- Written by docs/generate.py from docs/comparison. -->

This page compares fifteen methods on two tasks under the same conditions. One command runs the comparison on two CPU cores:

```bash
floqzoo sweep comparison
```

!!! warning "This is a small-scale comparison"
    The networks are small, runs have {updates} updates, the data were collected on one machine, and settings were not tuned for each
    method and task. The page shows what each method does in a short run and what it costs, **not which method is better**: the papers train
    networks of four layers of 512 units for one or two million updates, with settings tuned for each environment ([their
    numbers](reproduce.md)). floq's [quick start](quickstart.md) on cube-single has the same networks, makes 45,000 updates, and reaches
    60 ± 7 % with one seed.

{status}
"""
OUTCOME = """\
On cube-single the five highest means are those of methods that choose among several actions of a behaviour flow (QC, IFQL, C51, EVOR, IQN).
floq's mean is above FQL's, but their intervals overlap, as most intervals do. On pointmaze-medium QC succeeds in most episodes, and the
other methods in few or none. QC is the only method here that learns and acts in chunks of five actions, so its TD targets look five steps
ahead. Whether learning or acting in chunks causes the difference was not tested.
"""
CONDITIONS = """## Conditions

- **Budget.** Every method makes {updates} updates for each of five seeds. The cost of an update differs: the last column has the FLOPs of the
  matrix products of one update of one seed, counted from its trace on cube-single, including the policy's part. Equal numbers of updates
  favour methods whose updates are expensive.
- **Settings.** The networks are those of the preset `quickstart`: policies have three layers of 128 units, and monolithic critics two layers of
  96. Batches have 192 transitions, Adam has a learning rate of 0.001, and the discount is 0.97. These values were [chosen with floq on
  cube-single](quickstart.md#how-its-settings-were-found), and nothing was changed for pointmaze-medium. QC acts in chunks of five
  actions. FB has its own networks, batches of 256 and normalised observations, and learns without rewards, which it reads only to infer
  the task. The temperature or weight of each method is that of its preset; alpha is 100 for FQL, floq and CODAC.
- **Data.** All methods use the same 150 episodes of each environment, collected locally as in the [quick start](quickstart.md).
- **Evaluation.** Each seed plays 20 episodes after the last update, with the success timing of the current OGBench.
- **Statistics.** The table has the mean over five seeds and its 95 % stratified bootstrap interval. For one task and five seeds such an
  interval contains the true mean in about [83 % of cases](results.md#what-the-intervals-say). [0, 0] means that no episode of any seed
  succeeded, not that the rate is exactly 0.
- **Machine.** The sweep ran on two cores of an AMD EPYC, shared with other work ({date}, Python 3.11, jax 0.10.2, OGBench 1.2.2). Run
  times were not compared, since the machine was not idle. Estimated from its FLOPs, the whole sweep takes about three hours on two idle
  cores, almost half of it for IQN and CODAC.

## What is left out

- **SAC** has no term that keeps its policy near the data, and **RLPD** trains online: see [SAC and RLPD](../recipes/sac.md).
- **TD²-CFM** learns the successor measure of a given policy and does not train a policy: see [its page](../recipes/td2_cfm.md).
- **InFOM** has two phases with separate budgets, and did not solve pointmaze-medium in a small run: see [its page](../recipes/infom.md).
- **[FQL with critics of floq's size](../recipes/fql.md#critics-of-floqs-size)** is meant for large networks, and the networks here are small.

## Repeat it

The sweep resumes where it was interrupted, and `floqzoo sweep comparison --dry_run` prints the command of every trial. In a
clone of the repository these commands write the scores of the finished trials, the figure and this page:

```bash
python -m benchmarks.comparison exp/floqzoo/comparison
python docs/draw_figures.py comparison/scores
python docs/generate.py
```
"""
UPDATES, TRIALS, MEASURED = 15_000, 30, "2026-11-29"


def comparison_page(folder: Path) -> str:
    """The whole page; a trial that is not in the scores has a dash."""
    with (folder / "costs.csv").open(newline="") as file:
        costs = list(csv.DictReader(file))
    file = folder / "scores.csv"
    scores = {
        (row.task, row.method): f"{100 * row.value:.0f} [{100 * row.low:.0f}, {100 * row.high:.0f}]"
        for row in (read_comparison(file) if file.exists() else ())
        if row.statistic == "mean"
    }
    tasks = list(dict.fromkeys(row["task"] for row in costs))
    names = [task.partition("-play")[0].partition("-navigate")[0] for task in tasks]
    rows = [
        [
            f"[{row['method']}](../recipes/{row['method']}.md)",
            *(scores.get((task, row["method"]), "–") for task in tasks),
            f"{int(row['flops']) / 1e9:.2f}",
        ]
        for row in costs
        if row["task"] == tasks[0]
    ]
    texts = {"updates": f"{UPDATES:,}", "date": MEASURED}
    parts = [INTRODUCTION.format(status=_status(len(scores)), **texts), "## Results { #results }\n"]
    parts.append("Success in % (mean over seeds, with its interval), and the cost of an update:\n")
    parts.append(markdown_table(["method", *names, "GFLOP per update"], rows) + "\n")
    if scores:
        parts.append(OUTCOME)
        parts.append("![Success rate of each method with its interval](../comparison/scores.png)\n")
    return "\n".join([*parts, CONDITIONS.format(**texts)])


def _status(measured: int) -> str:
    if measured == TRIALS:
        return f"All {TRIALS} trials (a method on a task, with five seeds) have been run."
    return (
        f"**{measured} of the {TRIALS} trials (a method on a task, with five seeds) have been run**; the others have a dash.\n"
        "The order of the trials, roughly from cheap to expensive methods, did not depend on the scores."
    )
