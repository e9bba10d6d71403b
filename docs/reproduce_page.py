"""The page on reproducing a published score: published and measured numbers, settings, commands."""

import csv
import textwrap
import warnings
from pathlib import Path
from typing import Any

from floqzoo.results import PUBLISHED_SCORES, read_reference_scores
from recipes import floq, fql


INTRODUCTION = """# Reproduce a published score

<!-- Written by docs/generate.py; measured numbers are in docs/results.csv. -->

The following command trains a method on one task with the published settings for its environment, and evaluates it:

```bash
python recipes/floq.py --env_name cube-double-play-singletask-task2-v0 --success_timing post --seeds 3
```

On this page, a *score* is one number in the tables of the papers on [floq](https://arxiv.org/abs/2509.06863) and
[FQL](https://arxiv.org/abs/2502.02538): the mean success rate of a method over the five tasks of an
[OGBench](https://github.com/seohongpark/ogbench) environment, with several seeds for each task. To run all fifty tasks with
three seeds each, use `floqzoo sweep floq-def`, `floqzoo sweep floq-best` or `floqzoo sweep fql` (2M updates). These commands
run on one machine or a cluster and print the table; see [Sweeps](sweeps.md).

The next table has the published scores of four variants of FQL and floq in ten environments.
{status}
"""
CONDITIONS = """## Before you compare

- **Reward timing.** The published numbers were measured with OGBench 1.1, whose environments reward the state after the step.
  To select this timing, use `--success_timing post`. Without this flag, a run uses the timing of the current OGBench, which
  defines a different task; see [the timing of rewards](data.md#timing).
- **Duration.** floq's paper trains for 2M updates and compares with FQL after 2M updates, whereas the table in FQL's own paper
  shows results after 1M. See [the cost of an update](../performance.md), and first try a command with
  `--offline_steps 1e4 --eval_interval 0`.
- **Episodes.** Each evaluation plays 50 episodes, which is the default.
- **Data.** The official dataset is downloaded on first use. For `cube`, `scene` and `puzzle`, you can instead [collect a
  dataset on your machine](data.md); with `--collect_episodes 1000`, it has the size of the official one. `antmaze`,
  `humanoidmaze` and `antsoccer` need the official dataset.

The pages of the other methods list their published numbers: [IQL](../recipes/iql.md), [IFQL](../recipes/ifql.md),
[ReBRAC](../recipes/rebrac.md), [QC](../recipes/qc.md), [IQN](../recipes/iqn.md), [C51](../recipes/c51.md),
[CODAC](../recipes/codac.md), [Value Flows](../recipes/value_flows.md), [EVOR](../recipes/evor.md), [SAC and
RLPD](../recipes/sac.md), [SORL](../recipes/sorl.md), [Gaussian behaviour cloning](../recipes/gaussian_bc.md).
"""
DATASETS = {
    "antmaze-large": "navigate",
    "antmaze-giant": "navigate",
    "humanoidmaze-medium": "navigate",
    "humanoidmaze-large": "navigate",
    "antsoccer-arena": "navigate",
    "cube-single": "play",
    "cube-double": "play",
    "scene": "play",
    "puzzle-3x3": "play",
    "puzzle-4x4": "play",
}
METHODS: dict[str, tuple[str, Any]] = {
    "FQL, 1M": ("recipes/fql.py", fql.default),
    "FQL, 2M": ("recipes/fql.py --preset 2m", fql.two_million),
    "floq": ("recipes/floq.py", floq.default),
    "floq, best": ("recipes/floq.py --preset best", floq.best),
}
SCORES = {  # the method and the number of updates behind each score
    "FQL, 1M": ("FQL", 1_000_000),
    "FQL, 2M": ("FQL", 2_000_000),
    "floq": ("floq", 2_000_000),
    "floq, best": ("floq, best settings of each environment", 2_000_000),
}


def published_numbers() -> dict[str, tuple[str, ...]]:
    """Success in % with its spread, of each environment and method, from the table of floq's paper."""
    table = {
        (score.environment, score.method, score.step): f"{100 * score.score:.0f} ± {100 * (score.spread or 0):.0f}"
        for score in read_reference_scores(PUBLISHED_SCORES)
        if score.source.startswith("floq, arXiv")
    }
    return {
        name: tuple(table[f"{name}-{kind}", *SCORES[method]] for method in METHODS) for name, kind in DATASETS.items()
    }


PUBLISHED = published_numbers()
SETTINGS = ("discount", "batch_size", "q_agg", "alpha", "block_depth", "critic_flow_steps", "noise_coverage")


def task_of(environment: str, task: int) -> str:
    """OGBench's name of one of the five tasks of an environment."""
    return f"{environment}-{DATASETS[environment]}-singletask-task{task}-v0"


def command_of(method: str, environment: str, task: int) -> str:
    """The command that trains a method on a task with the published settings."""
    return f"python {METHODS[method][0]} --env_name {task_of(environment, task)} --success_timing post"


def settings_of(method: str, environment: str) -> list[str]:
    """The published settings of a method, as the command uses them; a dash if it has no such setting."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an environment without published settings has no row here
        run = METHODS[method][1](task_of(environment, 1))
    values = [getattr(run.agent, name, None) for name in SETTINGS]
    values = [
        None if method.startswith("FQL") and name == "block_depth" else value
        for name, value in zip(SETTINGS, values, strict=True)
    ]
    return [
        *("–" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in values),
        f"{run.offline_steps:,}",
    ]


def reproduce_page(results: Path) -> str:
    """The page, in Markdown."""
    with results.open(newline="") as file:
        measured = list(csv.DictReader(file))
    commands = [_folded(environment, _commands(environment)) for environment in DATASETS]
    return "\n".join(
        [
            INTRODUCTION.format(status=_status(measured)),
            _published_table(),
            *([_measured_table(measured)] if measured else []),
            CONDITIONS,
            "## Settings\n",
            "Each command uses these settings, named as in the authors' code. All other settings are the recipe's defaults.\n",
            _folded("The settings of every score", _settings_table()),
            "## Commands\n",
            "There is one command for each method and task. For another seed, add `--seed 1`; for three seeds, `--seeds 3`.\n",
            *commands,
        ]
    )


def _status(measured: list[dict[str, str]]) -> str:
    rows = len(PUBLISHED) * len(METHODS)
    if not measured:
        return f"**None of these {rows} scores has been measured with floqzoo yet.**"
    return f"**{len(measured)} of these {rows} scores have been [measured with floqzoo](#measured).**"


def _published_table() -> str:
    rows = [
        "## Published\n",
        "Success rate in %: the mean over the five tasks. The numbers after ± are copied unchanged from the table of floq's paper.\n",
        f"| environment | {' | '.join(METHODS)} |",
        "|---" * (len(METHODS) + 1) + "|",
    ]
    rows += [f"| {environment} | {' | '.join(numbers)} |" for environment, numbers in PUBLISHED.items()]
    return "\n".join(rows) + "\n"


def _measured_table(measured: list[dict[str, str]]) -> str:
    rows = [
        "## Measured\n",
        "Success rate in %: the mean and standard error over the given tasks and seeds, measured with the commands below.\n",
        "| environment | method | published | measured | tasks × seeds | updates | timing | data |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for environment, published in PUBLISHED.items():
        for method, number in zip(METHODS, published, strict=True):
            for row in measured:
                if (row["environment"], row["method"]) == (environment, method):
                    rows.append(f"| {' | '.join([environment, method, number, *_measured_cells(row)])} |")
    return "\n".join(rows) + "\n"


def _measured_cells(row: dict[str, str]) -> list[str]:
    success = f"{row['success']} ± {row['standard_error']}"
    return [success, row["seeds"], f"{int(row['updates']):,}", row["success_timing"], row["data"]]


def _settings_table() -> str:
    rows = [
        f"| environment | method | {' | '.join(f'`{name}`' for name in SETTINGS)} | updates |",
        "|---" * (len(SETTINGS) + 3) + "|",
    ]
    for environment in DATASETS:
        rows += [f"| {environment} | {method} | {' | '.join(settings_of(method, environment))} |" for method in METHODS]
    return "\n".join(rows)


def _commands(environment: str) -> str:
    lines = [command_of(method, environment, task) for method in METHODS for task in range(1, 6)]
    return "```bash\n" + "\n".join(lines) + "\n```"


def _folded(title: str, text: str) -> str:
    """A section that opens with a click."""
    return f'??? note "{title}"\n\n{textwrap.indent(text, "    ")}\n'
