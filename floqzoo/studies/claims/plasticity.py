"""Can features that are learnt early, and then frozen, fit the targets of later training?"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.critics.flow_diagnostics import effective_rank
from floqzoo.networks.mlp import MLP
from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import (
    ERROR,
    SCORE,
    Checks,
    LabSettings,
    checks,
    flow_agents,
    lab_data,
    monolithic_agents,
    of_each_seed,
    policy_score,
    train,
    value_error,
    with_fixed_targets,
)
from floqzoo.studies.study import (
    Measurement,
    RunExperiment,
    Statement,
    Study,
    Table,
    Variant,
    fixed_targets,
    measurements,
)
from floqzoo.update_rules import freeze_features_after


MOMENTS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Fractions of the training after which the features are frozen; 1 means never."""
FLOQ, MONOLITHIC, FIXED = "floq", "monolithic", "floq, fixed targets"
FLOW_ONLY = "floq, distilled critic not frozen"


def inside(critic: Any, where: Checks) -> tuple[Any, Any]:
    """Computes the effective rank of the last hidden layer's features, and the fraction of dormant hidden units.

    Both are averaged over the ensemble. A unit is dormant if its mean absolute activation is below 0.025 times the
    average over its layer (arXiv 2302.12902). The field of a flow is evaluated at random times on the paths from noise
    to the exact value.
    """
    observation, action, value = (array[:, 0].reshape(-1, *array.shape[3:]) for array in vars(where).values())
    condition = jnp.concatenate([observation, action], axis=1)
    members = critic.fields if isinstance(critic, FlowCritic) else critic.networks.networks

    def first_layer(member: Any) -> Any:
        if not isinstance(critic, FlowCritic):
            return jax.vmap(member.stem)(condition)
        time_key, noise_key = jax.random.split(jax.random.key(5))
        times = jax.random.uniform(time_key, value.shape)
        points = (1 - times) * critic.prior.sample(noise_key, (*value.shape, 1))[:, 0] + times * value
        codes = jax.vmap(member.encode)(observation, action)
        return jax.vmap(member._hidden)(times, points[:, None], codes)

    def of_member(member: Any) -> tuple[Any, Any]:
        network: MLP = member.network if isinstance(critic, FlowCritic) else member
        hidden, dormant = first_layer(member), []
        for index, activated in enumerate(network.activated):
            if index:
                hidden = jax.vmap(network.layers[index - 1])(hidden)
            size = jnp.mean(jnp.abs(activated.activation(hidden)), axis=0)
            dormant.append(jnp.mean(size < 0.025 * jnp.mean(size)))
            hidden = jax.vmap(activated)(hidden)
        return effective_rank(hidden), jnp.mean(jnp.stack(dormant))

    ranks, dormant = members.each(of_member)
    return jnp.mean(ranks.astype(float)), jnp.mean(dormant)


def trial(arm: str, moment: float, settings: LabSettings) -> list[Measurement]:
    """Trains one kind of critic on all seeds, freezes its features after a fraction `moment` of the updates, and
    returns its measurements."""
    frozen = round(moment * settings.updates)
    trained = ("distilled",) if arm == FLOW_ONLY else ()
    optimiser = freeze_features_after(frozen, optax.adam(settings.lr), except_for=trained)
    agents = (monolithic_agents if arm == MONOLITHIC else flow_agents)(settings, optimiser=optimiser)
    data = lab_data(settings)
    agents = train(agents, with_fixed_targets(data) if arm == FIXED else data, settings)
    where = checks()

    def of_seed(critic: Any) -> dict[str, Any]:
        rank, dormant = inside(critic, where)
        score, error = policy_score(critic, where), value_error(critic, where)
        return {"score": score, "error": error, "rank": rank, "dormant": dormant}

    return measurements(arm, moment, of_each_seed(of_seed, agents))


def lost_by_freezing(table: Table, arm: str, metric: str) -> np.ndarray:
    """Returns a metric without freezing minus the metric with freezing, averaged over the moments in `MOMENTS`
    except 0 and 1."""
    return np.mean([table.of(arm, 1.0, metric) - table.of(arm, moment, metric) for moment in MOMENTS[1:-1]], axis=0)


UPDATES = {"ogbench-small": 5_000, "paper": 2_000_000}


def run_variants(scale: str) -> list[Variant]:
    """Returns floq, FQL, and floq with fixed targets, each without and with freezing after half of the updates."""
    return [
        Variant(
            arm=arm,
            recipe=recipe,
            level=moment,
            fields={"offline_steps": UPDATES[scale], **changed}
            | ({"agent.features_frozen_after": round(moment * UPDATES[scale])} if moment < 1 else {}),
        )
        for arm, recipe, changed in (
            (FLOQ, "floq", {}),
            ("fql", "fql", {}),
            (FIXED, "floq", fixed_targets(scale)),
        )
        for moment in (0.5, 1.0)
    ]


def lost_success(table: Table, arm: str) -> np.ndarray:
    """Returns the success rate without freezing minus the success rate with freezing."""
    return table.of(arm, 1.0, SUCCESS_METRIC) - table.of(arm, 0.5, SUCCESS_METRIC)


RUNS = RunExperiment(
    design="After half of the updates, all layers of each network of the critic are frozen, except the last linear layer. floq's "
    "distilled critic, which only follows the flow, is not frozen. With fixed targets, floq is regressed onto the returns of "
    "the data to the end of the episode; if the episode is truncated there, the value of its last state is that of a target "
    "network that is never updated. At the scale `paper`, the tasks are the published ones. Which layers are frozen is not "
    "published for floq and FQL, so this is our choice.",
    level="share of the training before freezing",
    variants=run_variants,
    tasks=(
        "antmaze-giant-navigate-singletask-task1-v0",
        "antsoccer-arena-navigate-singletask-task4-v0",
        "cube-double-play-singletask-task2-v0",
        "puzzle-4x4-play-singletask-task4-v0",
    ),
    panels={SUCCESS_METRIC: "success (rate)"},
    statements=[
        Statement(
            "Freezing reduces the success rate of FQL more than the success rate of floq.",
            lambda table: lost_success(table, "fql") - lost_success(table, FLOQ),
            "of the success rate",
        ),
        Statement(
            "Freezing reduces floq's success rate less with moving targets than with fixed targets.",
            lambda table: lost_success(table, FIXED) - lost_success(table, FLOQ),
            "of the success rate",
        ),
    ],
)
STUDY = Study(
    name="plasticity",
    claim="Flow matching learns plastic features: if the features are frozen part-way through training, they can still fit "
    "later targets. The features of monolithic critics cannot.",
    design="After a given share of the training, this study freezes all layers of each network except the last linear layer. "
    "If the share is 0, the features are random; if it is 1, they are never frozen, and their rank and the share of dormant "
    "units are those at the end of the training. Because frozen features no longer change, those of the other rows are also "
    "the values at the moment of freezing. floq's policy acts according to its distilled critic, which is a monolithic "
    "network, so its features are frozen in one variant and trained to the end in another. With fixed targets, floq is regressed "
    "onto the exact optimal Q from the first update on.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"{arm}-{moment:g}": partial(trial, arm, moment, settings)
        for arm in (FLOQ, MONOLITHIC, FIXED, FLOW_ONLY)
        for moment in MOMENTS
    },
    runs=RUNS,
    level="share of the training before freezing",
    panels={
        "score": SCORE,
        "error": ERROR,
        "rank": "effective rank of features",
        "dormant": "share of dormant units",
    },
    statements=[
        Statement(
            "Freezing reduces the score of the monolithic critic's policy more than the score of floq's policy.",
            lambda table: lost_by_freezing(table, MONOLITHIC, "score") - lost_by_freezing(table, FLOQ, "score"),
            "of the score",
        ),
        Statement(
            "The same holds if floq's distilled critic is not frozen.",
            lambda table: lost_by_freezing(table, MONOLITHIC, "score") - lost_by_freezing(table, FLOW_ONLY, "score"),
            "of the score",
        ),
        Statement(
            "Freezing increases the error of the monolithic critic's Q more than the error of floq's Q.",
            lambda table: lost_by_freezing(table, FLOQ, "error") - lost_by_freezing(table, MONOLITHIC, "error"),
            "units of return",
        ),
        Statement(
            "Freezing increases the error of floq's Q less with moving targets than with fixed targets.",
            lambda table: lost_by_freezing(table, FLOQ, "error") - lost_by_freezing(table, FIXED, "error"),
            "units of return",
        ),
    ],
)
