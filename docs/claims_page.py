"""The page on claims about flow matching: verdicts, figures and tables, from the studies and their stored measurements."""

from collections import Counter
from pathlib import Path

from floqzoo.studies.claims import study_named, study_names
from floqzoo.studies.critic_lab import LabSettings
from floqzoo.studies.report import markdown_table, read_table
from floqzoo.studies.study import Measurement, Study, Table, Verdict, judge, result_table, verdict_table
from floqzoo.sweeps.study_sweep import EVALUATIONS, SCALES


MEASURED = "2026-11-30 and 2026-12-01"
MEASURED_ON_OGBENCH = "2026-11-30"
MEASURED_LATER = {"update_ratio": "2026-12-01"}
INTRODUCTION = """# What flow matching brings: measured

<!-- Written by docs/generate.py from docs/studies. -->

The papers on flow-matching critics ([floq](https://arxiv.org/abs/2509.06863), [its analysis](https://arxiv.org/abs/2603.04333))
make claims about why these critics work. Each study on this page tests one of the claims on a maze whose values are known
exactly. The error of a critic can therefore be measured directly, and does not have to be inferred from success rates. Most of
the claims [can also be tested on OGBench](#on-ogbench). One more study tests a claim of
[TD-Flow](https://arxiv.org/abs/2503.09817) on a chain whose [successor measures](#successor-measures) are known exactly.

{summary}

**Scale.** These are small experiments. Except for successor measures, the task is a
[`CellMaze`][floqzoo.tasks.cell_maze.CellMaze] with 39 cells, networks have two layers of 64 units unless stated otherwise, and
agents are trained for 4,000 updates. Every variant is trained with {seeds} seeds. A verdict applies only
to this maze and these sizes; the papers' experiments use OGBench, networks of four layers of 512 units, and 2M updates. In this maze, the
policy is exactly greedy over four actions, and the data cover all states and actions (except where data are scarce on purpose). Studies
in this maze therefore do not test offline policy extraction.

**Fairness.** Unless stated otherwise, floq's critic and the monolithic critic are trained on the same data for each seed, with
the same number of updates, hidden layers, batch size, target update rate and learning rate. The learning rate is 3e-3, which is
not the best value for every metric: without noise in the targets, a learning rate of 1e-3 gives floq a smaller error in Q, but
its policy a lower score ([target noise](#target-noise)). Unless stated otherwise, floq uses K = 4, two noise samples and κ = 0.1.

**What we changed after the first trials.** Each statement was written down before it was tested, but the task and the sizes
were chosen after some trials. In a larger maze with the same number of updates, and with a discount of 0.98, floq did not
learn, so the maze was made smaller. In the first version of the study of target noise, each critic had its own learning rate,
which turned out to be unfair when the targets were noisy. Now each critic uses the better of two learning rates at each noise
scale. Each study was first run with 10 seeds, which are also the first 10 of the {seeds}. No statement or setting was changed in
between. The ratio of 64 was added to the study of [update ratios](#update-ratio) after the others had been measured. Its statements are
about the highest ratios. With 16 as the highest one, all three were reproduced, and floq's score was higher than at a ratio of 1 by
0.124 [0.034, 0.266]. A study runs its trials one after another, so a ratio of 128 would take it beyond the two hours that we allow
at this scale.

**Statistics.** Each study compares several variants, called arms, which are paired by seed. An effect is the interquartile mean
over seeds of the difference that a statement is about, with its 95 % bootstrap interval. *Reproduced* means that the interval
is above 0. *Not reproduced* means that it is below 0, so the opposite of the statement was measured. *Undecided* means that the
interval includes 0. A statement that something is at most 0.05 worse has this margin: its interval is compared with -0.05
instead of 0. The margins were chosen after the measurements. There are {statements} statements. On average, at least one in
twenty such intervals misses the true value, and with few seeds [even more of them](results.md#what-the-intervals-say) do.

**Score.** The score of a policy is its return from a random cell, scaled so that the best policy has a score of 1 and a random
policy a score of 0. The returns of both are known exactly. The error of Q is measured in units of return. Values lie between
-13 and 0, with a standard deviation of 3.7 over states and actions.

The measurements were made on {date}, with Python 3.11 and jax 0.10.2. Two studies ran at the same time, each on
one of two cores (`taskset -c 0 floqzoo study NAME`), and took 5 to 44 minutes; update ratios took 75. `floqzoo study` lists
the studies. `floqzoo study NAME` repeats a study, or resumes it if it was interrupted. `floqzoo study NAME --from
docs/studies/NAME` redraws the figure of a study from the stored measurements. The same claims [can be
tested on OGBench](#on-ogbench).
"""

ON_OGBENCH = """## The claims on OGBench {{ #on-ogbench }}

Most of the claims can also be tested on OGBench with the ordinary recipes. The metrics are then those of the evaluations: the
success rate and, for floq, [diagnostics of its flows](metrics.md). They are averaged over the last {evaluations} evaluations of a
run. For [recovery](#recovery), the critics of the last checkpoints are perturbed instead. We ran all of these studies at the scale
`ogbench-small`, and none at the scale `paper`.

| `--scale` | tasks | seeds | preset of the recipes | budget |
|---|---|---|---|---|
| `small` | the maze of this page | {maze_seeds} | none | {maze_updates:,} updates |
| `ogbench-small` | {tasks}, on {episodes} collected episodes | {seeds} | `{small}` | {updates:,} updates |
| `paper` | those of each study, with the official data | {paper_seeds} | `{paper}` | 2M updates |

All arms of a study have the same tasks, seeds and budget, and the same data except in [little data](#little-data). The budget of
[update ratio](#update-ratio) is a number of environment steps instead.

The scale `ogbench-small` has 20-step returns, a discount of 0.995, α = 10 and normalised observations, because with the
preset's own values, neither floq nor FQL succeeds in this maze ([comparison](comparison.md)). These settings were found in a few runs
of FQL and floq with two or three seeds on the tasks of the maze.

| study | arms and levels |
|---|---|
{designs}

Successor measures are compared on a maze and on the robot arm by [another command](successor.md#known-policy), since their errors are
measured against episodes of a known policy. It resumes, too. With the published sizes, it is as follows; the sizes of the networks are not
published:

```bash
python -m floqzoo.studies.measure_evaluation --policy_run exp/floqzoo/... --states 64 --steps 1000 --samples 2048 \\
    --compared 2048 --scored 2048 --training.updates 3000000 --training.batch_size 1024 --training.tau 0.001 \\
    --training.hidden 512 512 512 512
```

Both scales on OGBench are [sweeps](sweeps.md), so they run on Ray, and an interrupted study resumes if the same command is run
again. With `--dry_run`, the command writes a sweep file instead, which `floqzoo sweep` can submit to Slurm or run on a cluster.
With `--from`, it reads the runs without training, and lists those that have no last evaluation yet:

```bash
floqzoo study backups --scale ogbench-small
floqzoo study backups --scale paper --directory exp/backups --dry_run
floqzoo sweep exp/backups/sweep.yaml --slurm
floqzoo study backups --scale paper --from exp/backups
```

The table of results contains all evaluated runs. Verdicts and the figure only use the seeds of a task for which all arms have
been evaluated. Effects are paired by task and seed, and their intervals are stratified by task.

{results}"""
ON_COLLECTED = """### {title} on OGBench {{ #{name}-on-ogbench }}

{design}

{verdicts}

![Results of the study {study} on OGBench](../studies/{study}-ogbench-small/{study}.png)

{numbers}

{remark}
This was measured on {date} on 2 shared cores, with Python 3.11 and jax 0.10.2:

```bash
floqzoo study {study} --scale ogbench-small
```
"""
RUN_ON_OGBENCH = {
    "backups": "The variance over noise is measured at states and actions of the data.",
    "capacity": "",
    "integration_length": "",
    "little_data": "The numbers of episodes were chosen after first runs of floq, which succeeded more often with 10 episodes than with\n"
    "all 150 (0.67, see [backups](#backups-on-ogbench)). An episode has 1,000 steps and visits several goals; the first one\n"
    "spends nine steps at the goal of the task.",
    "noise_interval": "The statement about curvature was written for the mean over K. It is now about K = 8, because an evaluation measures\n"
    "the curvature of paths with K steps, which is 0 for K = 1. With κ = 1, floq rarely succeeds, whatever K is.",
    "plasticity": "With fixed targets, floq rarely succeeds even without freezing, so the second statement says little: there is hardly any\n"
    "success that freezing could reduce.",
    "recovery": "With the default κ = 0.1, the flow amplifies perturbations; with κ = 0.5, it corrects about half of them. In the maze, where\n"
    "the exact Q is known, training against moving targets did not help in this way. Here, fixed targets are also other targets:\n"
    "single returns of the data, which differ between transitions with the same state and action. The effect may be due to that.",
    "target_noise": "Values are about -126 at the data. The success rate of floq is lower with the largest noise, and that of FQL is not;\n"
    "with five seeds, the intervals of both are too wide for a verdict.",
    "update_ratio": "With a ratio of 1, a run makes 475 updates, too few to learn the task from scratch; with 64, it makes 30,400. The\n"
    "runs with a ratio of 64 took 25 minutes for floq and 11 for FQL on one core. With a ratio of 128, the study would take more\n"
    "than two hours on one core. An earlier run of the ratios 1, 4 and 16 on another machine gave mean success rates of 0.47\n"
    "for floq and 0.63 for FQL at a ratio of 16, instead of 0.71 for both.",
}
"""Remarks on the studies that were run on OGBench; their measurements are in `studies/NAME-ogbench-small`."""


def measured_on_ogbench(name: str, folder: Path) -> Table:
    """The stored measurements of a study on OGBench."""
    return Table(read_table(Measurement, folder / f"{name}-ogbench-small" / "measurements.csv"))


def on_collected(name: str, folder: Path) -> str:
    """The results of a study on OGBench."""
    study, table = study_named(name), measured_on_ogbench(name, folder)
    return ON_COLLECTED.format(
        title=_title(study),
        name=name.replace("_", "-"),
        study=name,
        design=study.runs.design,
        verdicts=markdown_table(*verdict_table(judge(study.runs, table))),
        numbers=markdown_table(*result_table(study.runs, table)),
        date=MEASURED_LATER.get(name, MEASURED_ON_OGBENCH),
        remark=RUN_ON_OGBENCH[name],
    )


def on_ogbench(folder: Path) -> str:
    """The section on the scales on OGBench, with the results of the studies that were run there."""
    small, paper = SCALES["ogbench-small"], SCALES["paper"]
    designs = [
        f"| [{name.replace('_', ' ')}](#{name.replace('_', '-')}) | {study_named(name).runs.design} |"
        for name in study_names()
        if study_named(name).runs is not None
    ]
    return ON_OGBENCH.format(
        evaluations=EVALUATIONS,
        tasks=" and ".join(f"`{task}`" for task in small.tasks),
        episodes=small.fields["collect_episodes"],
        updates=small.fields["offline_steps"],
        seeds=small.seeds,
        maze_seeds=LabSettings.seeds,
        maze_updates=LabSettings.updates,
        paper_seeds=paper.seeds,
        small=small.preset,
        paper=paper.preset,
        designs="\n".join(designs),
        results="\n".join(on_collected(name, folder) for name in RUN_ON_OGBENCH),
    )


def tables(folder: Path) -> dict[str, Table]:
    """The stored measurements of every study."""
    return {name: Table(read_table(Measurement, folder / name / "measurements.csv")) for name in study_names()}


def outcome(verdicts: list[Verdict]) -> str:
    """How many statements of a claim were reproduced, and how many were not."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    order = ("reproduced", "undecided", "not reproduced")
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict])


def summary_table(folder: Path, page: str) -> str:
    """Claims down; the outcomes of their statements across."""
    rows = []
    for name, table in tables(folder).items():
        study, link = study_named(name), f"{page}#{name.replace('_', '-')}"
        ogbench = "–"
        if name in RUN_ON_OGBENCH:
            ogbench = f"[{outcome(judge(study.runs, measured_on_ogbench(name, folder)))}]({link}-on-ogbench)"
        rows.append([f"[{study.claim}]({link})", outcome(judge(study, table)), ogbench])
    return markdown_table(["claim", "statements", "statements tested on OGBench"], rows)


def _title(study: Study) -> str:
    return study.name.replace("_", " ").capitalize()


def section(study: Study, table: Table) -> str:
    """One claim."""
    results = markdown_table(*result_table(study, table)).replace("\n", "\n    ")
    return (
        f"## {_title(study)} {{ #{study.name.replace('_', '-')} }}\n\n"
        f"> {study.claim}\n\n{study.design}\n\n"
        f"{markdown_table(*verdict_table(judge(study, table)))}\n\n"
        f"![Results of the study {study.name}](../studies/{study.name}/{study.name}.png)\n\n"
        f'??? note "All numbers: interquartile means over seeds with 95 % intervals"\n\n    {results}\n\n'
        f"```bash\nfloqzoo study {study.name}\n```\n"
    )


def claims_page(folder: Path) -> str:
    """The whole page."""
    found = tables(folder)
    studies = [study_named(name) for name in found]
    introduction = INTRODUCTION.format(
        summary=summary_table(folder, ""),
        seeds=studies[0].settings.seeds,
        statements=sum(len(study.statements) for study in studies),
        date=MEASURED,
    )
    return "\n".join([introduction, *(section(study, found[study.name]) for study in studies), on_ogbench(folder)])


def readme_with_claims(readme: Path, folder: Path) -> str:
    """The README, with the outcomes as they are measured now."""
    before, rest = readme.read_text().split("<!-- claims: written by docs/generate.py -->")
    _, after = rest.split("<!-- end of claims -->")
    table = summary_table(folder, "docs/guides/measured.md")
    return f"{before}<!-- claims: written by docs/generate.py -->\n{table}\n<!-- end of claims -->{after}"
