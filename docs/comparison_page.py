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
    The networks are small, each run makes only {updates} updates, the data were collected on one machine, and the settings were
    not tuned for each method and task. The page shows what each method achieves in a short run and what an update costs, **not
    which method is better**. The papers train networks of four layers of 512 units for one or two million updates, with
    settings tuned for each environment ([their numbers](reproduce.md)). For reference, floq's [quick start](quickstart.md) on
    cube-single uses the same networks as this page; after 45,000 updates it reaches 60 ± 7 % with one seed.

{status}
"""
OUTCOME = """\
On cube-single, the five methods with the highest means all choose among several actions of a behaviour flow (QC, IFQL, C51,
EVOR, IQN). floq's mean is above FQL's, but their intervals overlap, as most intervals on this page do. On pointmaze-medium, QC
succeeds in most episodes, and the other methods succeed in few or none. QC is the only method in this comparison that learns
and acts in chunks of five actions, so its TD targets look five steps ahead. Such targets alone do not explain the difference:
FQL with five-step returns (`--agent.n_step=5`) and otherwise the same settings also has a success rate of 0 % there, on each of
five seeds ({date}). We did not test whether the difference comes from learning in chunks or from acting in chunks.
"""
CONDITIONS = """## Conditions

- **Budget.** Every method is trained for {updates} updates with each of five seeds. The updates of some methods cost more than
  those of others, and an equal number of updates favours the more expensive methods. The last column of the table shows the
  cost: the FLOPs of all matrix products in one update of one seed, including those of the policy, counted from its trace on
  cube-single.
- **Settings.** The networks are those of the preset `quickstart`: policies have three layers of 128 units, and monolithic
  critics have two layers of 96. The batch size is 192, Adam's learning rate is 0.001, and the discount is 0.97. These values
  were [chosen with floq on cube-single](quickstart.md#how-its-settings-were-found), and nothing was changed for
  pointmaze-medium. QC acts in chunks of five actions. FB has its own networks, a batch size of 256 and normalised observations.
  It learns without rewards, and reads them only to infer the task. The temperature or weight of each method is the one in its
  preset; alpha is 100 for FQL, floq and CODAC.
- **Data.** For each environment, all methods use the same 150 episodes, which were collected locally as in the [quick
  start](quickstart.md).
- **Evaluation.** Each seed plays 20 episodes after the last update, with the success timing of the current OGBench.
- **Statistics.** The table shows the mean over five seeds and its 95 % stratified bootstrap interval. For one task and five
  seeds, such an interval contains the true mean in about [83 % of cases](results.md#what-the-intervals-say). An interval of
  [0, 0] means that no episode of any seed succeeded, which does not imply that the success rate is exactly 0.
- **Machine.** The sweep ran on two cores of an AMD EPYC, shared with other work ({date}, Python 3.11, jax 0.10.2, OGBench
  1.2.2). Because the machine was not idle, run times were not compared. According to an estimate from its FLOPs, the whole
  sweep would take about three hours on two idle cores, and almost half of this time would go to IQN and CODAC.

## What is left out

- **SAC** has no term that keeps its policy close to the data, and **RLPD** trains online; see [SAC and
  RLPD](../recipes/sac.md).
- **TD²-CFM** learns the successor measure of a given policy, but does not train a policy; see [its
  page](../recipes/td2_cfm.md).
- **InFOM** has two phases with separate budgets. In a small run, it did not solve pointmaze-medium; see [its
  page](../recipes/infom.md).
- **[FQL with critics of floq's size](../recipes/fql.md#critics-of-floqs-size)** is intended for large networks, whereas the
  networks on this page are small.

## Repeat it

If the sweep is interrupted, the same command resumes it. `floqzoo sweep comparison --dry_run` prints the command of every
trial. In a clone of the repository, the following commands write the scores of the finished trials, the figure and this page:

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
    parts.append("Success rate in % (mean over seeds, with its interval), and the cost of an update:\n")
    parts.append(markdown_table(["method", *names, "GFLOP per update"], rows) + "\n")
    if scores:
        parts.append(OUTCOME.format(**texts))
        parts.append("![Success rate of each method with its interval](../comparison/scores.png)\n")
    return "\n".join([*parts, CONDITIONS.format(**texts)])


def _status(measured: int) -> str:
    if measured == TRIALS:
        return f"All {TRIALS} trials have been run. A trial is one method on one task, with five seeds."
    return (
        f"**{measured} of the {TRIALS} trials have been run**; the table has a dash for the others. A trial is one method\n"
        "on one task, with five seeds. The trials were run roughly from cheap to expensive methods, in an order that did\n"
        "not depend on the scores."
    )
