"""The page on reproducing a paper's row: commands, settings, published and measured numbers."""

import csv
import warnings
from pathlib import Path
from typing import Any

from recipes import floq, fql


INTRODUCTION = """# Reproduce a paper's row

<!-- Written by docs/generate.py; measured numbers are in docs/results.csv. -->

The tables of [floq](https://arxiv.org/abs/2509.06863) and [FQL](https://arxiv.org/abs/2502.02538) have ten environments of
[OGBench](https://github.com/seohongpark/ogbench) with five tasks each. A row is the success rate over the five tasks of
its environment, with several seeds each. Every command below trains on one task, evaluates with 50 episodes, and uses the
published settings of its environment; `--seed 1`, `--seed 2` are further seeds. The other methods have pages of their own, with
their published numbers: [IQL](../recipes/iql.md), [IFQL](../recipes/ifql.md), [ReBRAC](../recipes/rebrac.md), [SORL](../recipes/sorl.md),
[IQN](../recipes/iqn.md), [C51](../recipes/c51.md), [CODAC](../recipes/codac.md), [Value Flows](../recipes/value_flows.md),
[EVOR](../recipes/evor.md).

**Data.** `cube`, `scene` and `puzzle` data can be [collected on your machine](data.md) (`--collect_episodes 1000` for as many
as the official file has) if OGBench's server cannot be reached; `antmaze`, `humanoidmaze` and `antsoccer` need the
official file.

**Reward timing.** The published numbers are of OGBench 1.1, whose environments reward the state after the step. The commands
select that with `--success_timing post`; without it they use the current OGBench, which is not the same task. See
[the timing of rewards](data.md#timing).

**Duration.** floq trains for 2M updates and compares itself with FQL at 2M; FQL's own table is at 1M. The cost of an update is
on the page [Performance](../performance.md). Try a command first with `--offline_steps 10000 --eval_interval 0`.

**All at once.** `floqzoo sweep floq-def`, `floq-best` and `fql` (at 2M) run these commands for all fifty tasks with
three seeds each, on one machine or a cluster, and print the table: see [Sweeps](sweeps.md).
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
PUBLISHED = {  # success in %, mean and spread over five tasks, from the paper of floq
    "antmaze-large": ("79 ± 3", "83 ± 5", "91 ± 5", "91 ± 5"),
    "antmaze-giant": ("22 ± 19", "27 ± 23", "36 ± 21", "51 ± 12"),
    "humanoidmaze-medium": ("57 ± 5", "69 ± 20", "82 ± 10", "82 ± 10"),
    "humanoidmaze-large": ("9 ± 6", "16 ± 9", "28 ± 9", "28 ± 9"),
    "antsoccer-arena": ("60 ± 2", "61 ± 10", "65 ± 12", "65 ± 12"),
    "cube-single": ("96 ± 1", "94 ± 5", "98 ± 3", "98 ± 3"),
    "cube-double": ("29 ± 2", "25 ± 6", "47 ± 15", "47 ± 15"),
    "scene": ("56 ± 2", "57 ± 4", "58 ± 6", "58 ± 6"),
    "puzzle-3x3": ("30 ± 1", "29 ± 5", "37 ± 7", "37 ± 7"),
    "puzzle-4x4": ("17 ± 2", "9 ± 3", "21 ± 5", "28 ± 6"),
}
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
    parts = [INTRODUCTION, "## Published and measured\n", _results_table(measured), "## Settings\n", _settings_table()]
    parts.append("## Commands\n")
    for environment in DATASETS:
        lines = [command_of(method, environment, task) for method in METHODS for task in range(1, 6)]
        parts.append(f"### {environment}\n\n```bash\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


def _results_table(measured: list[dict[str, str]]) -> str:
    rows = [
        "Success in %. *Published*: mean over the five tasks, ± as in the table of floq's paper.\n"
        "*Measured*: with the commands below, mean and standard error, over the given tasks and seeds; an empty cell was\n"
        "not measured.\n",
        "| environment | method | published | measured | tasks × seeds | updates | timing | data |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for environment, published in PUBLISHED.items():
        for method, number in zip(METHODS, published, strict=True):
            mine = [row for row in measured if (row["environment"], row["method"]) == (environment, method)]
            for row in mine or [None]:
                cells = _measured_cells(row) if row else [""] * 5
                rows.append(f"| {' | '.join([environment, method, number, *cells])} |")
    return "\n".join(rows) + "\n"


def _measured_cells(row: dict[str, str]) -> list[str]:
    success = f"{row['success']} ± {row['standard_error']}"
    return [success, row["seeds"], f"{int(row['updates']):,}", row["success_timing"], row["data"]]


def _settings_table() -> str:
    rows = [
        "The settings that each command uses, named as in the authors' code; all others are the recipe's defaults.\n",
        f"| environment | method | {' | '.join(f'`{name}`' for name in SETTINGS)} | updates |",
        "|---" * (len(SETTINGS) + 3) + "|",
    ]
    for environment in DATASETS:
        rows += [f"| {environment} | {method} | {' | '.join(settings_of(method, environment))} |" for method in METHODS]
    return "\n".join(rows) + "\n"
