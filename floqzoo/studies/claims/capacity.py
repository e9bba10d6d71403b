"""Compute and parameters: is a flow critic better than a monolithic one that is as large?"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np

from floqzoo.learner.seeds import agent_of
from floqzoo.networks.mlp import MLP
from floqzoo.networks.residual_mlp import ResidualMLP
from floqzoo.studies.critic_lab import (
    LabSettings,
    checks,
    flow_agents,
    lab_data,
    monolithic_agents,
    of_each_seed,
    policy_score,
    train,
    value_error,
)
from floqzoo.studies.study import Measurement, Statement, Study, measurements


def wide(settings: LabSettings) -> Any:
    """An MLP with as many multiplications for one Q as K evaluations of the flow's field, up to its first layer."""
    return partial(
        MLP, hidden=tuple(round(width * settings.flow_steps**0.5) for width in settings.hidden), layer_norm=True
    )


def deep(settings: LabSettings) -> Any:
    """An MLP that is K times as deep."""
    return partial(MLP, hidden=settings.hidden * settings.flow_steps, layer_norm=True)


def residual(settings: LabSettings) -> Any:
    """The same depth in residual blocks of two layers."""
    depth = len(settings.hidden) * settings.flow_steps
    return partial(ResidualMLP, width=settings.hidden[0], blocks=depth // 2, block_depth=2)


ARMS: dict[str, Any] = {
    "floq": flow_agents,
    "monolithic": monolithic_agents,
    "monolithic, wide": lambda settings: monolithic_agents(settings, build=wide(settings)),
    "monolithic, deep": lambda settings: monolithic_agents(settings, build=deep(settings)),
    "monolithic, residual": lambda settings: monolithic_agents(settings, build=residual(settings)),
    "monolithic, ensemble of 8": lambda settings: monolithic_agents(settings, size=2 * settings.flow_steps),
}


def trial(arm: str, settings: LabSettings) -> list[Measurement]:
    """Trains one critic."""
    agents = train(ARMS[arm](settings), lab_data(settings), settings)
    where = checks()
    score, error = of_each_seed(lambda critic: (policy_score(critic, where), value_error(critic, where)), agents)
    leaves = jax.tree.leaves(eqx.filter(agent_of(agents, 0).critic, eqx.is_inexact_array))
    thousands = np.full(settings.seeds, sum(leaf.size for leaf in leaves) / 1000)
    return measurements(arm, 0.0, {"score": score, "error": error, "parameters": thousands})


LARGE = [arm for arm in ARMS if arm.startswith("monolithic, ")]


def best_of_large(table: Any, metric: str, best: Any) -> Any:
    """The best of the enlarged monolithic critics of each seed."""
    return best([table.of(arm, 0, metric) for arm in LARGE], axis=0)


STUDY = Study(
    name="capacity",
    claim="A flow critic's advantage is not its parameters or its compute: monolithic critics as large do not reach it.",
    design="floq with K = 4 against monolithic critics with the same networks, and with about as much compute for one Q: "
    "wider (by the square root of K), K times deeper, as deep with residual connections, and an ensemble K times as large. "
    "All make the same number of updates.",
    settings=LabSettings(),
    trials=lambda settings: {arm.replace(", ", "-").replace(" ", "-"): partial(trial, arm, settings) for arm in ARMS},
    level=None,
    panels={
        "score": "score of the greedy policy",
        "error": "error of Q (RMS)",
        "parameters": "parameters of the critic (thousands)",
    },
    statements=[
        Statement(
            "floq's policy has a higher score than that of the monolithic critic with the same networks.",
            lambda table: table.of("floq", 0, "score") - table.of("monolithic", 0, "score"),
            "of the score",
        ),
        *(
            Statement(
                f'floq\'s Q has a smaller error than that of the critic "{arm}".',
                lambda table, arm=arm: table.of(arm, 0, "error") - table.of("floq", 0, "error"),
                "units of return",
            )
            for arm in ARMS
            if arm != "floq"
        ),
    ],
)
