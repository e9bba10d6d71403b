"""If intermediate values of a critic are perturbed, does the rest of the computation correct them?"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.flow_diagnostics import with_steps
from floqzoo.flow.prior import quantile_noise
from floqzoo.networks.mlp import MLP
from floqzoo.protocols import FlowValued
from floqzoo.records import Transition
from floqzoo.studies.critic_lab import (
    LabSettings,
    checks,
    flow_agents,
    lab_data,
    monolithic_agents,
    of_each_seed,
    train,
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
from floqzoo.typing import Array, Scalar


SIZES = (0.1, 0.3, 1.0)
"""Sizes of the perturbation, as fractions of a standard deviation over states: the standard deviation of Q for flows,
and of each pre-activation for monolithic networks."""
MOVING, FIXED = "moving targets", "fixed targets"
Pairs = tuple[Float[Array, "pairs observation"], Float[Array, "pairs action"]]


def flow_errors(critic: FlowValued | Any, pairs: Pairs, delta: Scalar) -> dict[float, Scalar]:
    r"""Computes how much of a perturbation of the flow's state $z_t$ reaches the output, for each solver time $t$.

    Each value is the RMS change of the output, divided by the size of the perturbation.

    - `pairs`: Observations and actions.
    - `delta`: The size of the perturbation.
    """
    steps: Any = critic.solver
    count = steps.num_steps
    noise = quantile_noise(critic.prior, 4)

    def ends(done: int, sign: float) -> Float[Array, "members pairs noise"]:
        """The outputs of the flows if their state is perturbed by `sign * delta` after `done` steps."""

        def of_member(field: Any) -> Array:
            before, after = with_steps(critic, max(done, 1)).flow(field), with_steps(critic, count - done).flow(field)

            def of_start(observation, action, start):
                code = before.encode(observation, action)
                z = before.push_forward(start, code, 0.0, done / count) if done else start
                return after.push_forward(z + sign * delta, code, done / count, 1.0)[0]

            return jax.vmap(jax.vmap(of_start, (None, None, 0)), (0, 0, None))(*pairs, noise)

        return critic.fields.each(of_member)

    def error(done: int) -> Scalar:
        exact = ends(done, 0.0)
        moved = [ends(done, sign) - exact for sign in (-1.0, 1.0)]
        return jnp.sqrt(jnp.mean(jnp.square(jnp.stack(moved)))) / delta

    return {done / count: error(done) for done in range(count)}


def monolithic_errors(critic: Any, pairs: Pairs, size: float) -> dict[float, Scalar]:
    """Computes how much of a perturbation of a hidden layer's pre-activations reaches Q, for each hidden layer.

    Each value is the RMS change of Q in standard deviations of Q, divided by `size`. Each key is the fraction of the
    computation that precedes the perturbation.

    - `pairs`: Observations and actions.
    - `size`: The size of the perturbation, as a fraction of the standard deviation of each pre-activation.
    """
    x = jnp.concatenate(pairs, axis=-1)

    def of_member(network: MLP) -> list[Scalar]:
        batched = partial(jax.vmap, in_axes=0)

        def rest(hidden: Array, layer: int) -> Array:
            for index in range(layer, len(network.activated)):
                hidden = batched(network.layers[index])(batched(network.activated[index])(hidden))
            return hidden

        hidden, errors = batched(network.stem)(x), []
        output = rest(hidden, 0)
        for layer in range(len(network.activated)):
            spread = jnp.std(hidden, axis=0)
            noise = jax.random.normal(jax.random.key(layer), hidden.shape)
            moved = rest(hidden + size * spread[None] * noise, layer) - output
            errors.append(jnp.sqrt(jnp.mean(moved**2)) / (size * jnp.std(output)))
            hidden = batched(network.layers[layer])(batched(network.activated[layer])(hidden))
        return errors

    errors = jax.tree.map(jnp.mean, critic.networks.networks.each(of_member))
    return {(layer + 1) / (len(errors) + 1): error for layer, error in enumerate(errors)}


def errors_of(critic: Any, pairs: Pairs, spread: Scalar) -> dict[tuple[float, str], Scalar]:
    """Computes the errors of a critic for all `SIZES`, by level and metric.

    - `spread`: The standard deviation of Q.
    """
    found = {}
    for size in SIZES:
        flow = isinstance(critic, FlowValued)
        errors = flow_errors(critic, pairs, size * spread) if flow else monolithic_errors(critic, pairs, size)
        found |= {(done, f"error_{size:g}"): error for done, error in errors.items()}
    return found


WIDE = "floq with κ = 0.5"
CRITICS: dict[str, tuple[Callable[..., Any], dict[str, float]]] = {
    "floq": (flow_agents, {}),
    WIDE: (flow_agents, {"noise_coverage": 0.5}),
    "monolithic": (monolithic_agents, {}),
}


def trial(kind: str, targets: str, settings: LabSettings) -> list[Measurement]:
    """Trains one kind of critic on all seeds, with moving or fixed targets; returns its errors after perturbations."""
    build, changed = CRITICS[kind]
    settings = replace(settings, **changed)
    data = lab_data(settings)
    agents = train(build(settings), with_fixed_targets(data) if targets == FIXED else data, settings)
    where = checks()
    pairs, spread = (where.observation.reshape(-1, 2), where.action.reshape(-1, 2)), jnp.std(where.value)
    found = of_each_seed(lambda critic: errors_of(critic, pairs, spread), agents)
    return [
        row
        for (done, metric), values in found.items()
        for row in measurements(f"{kind}, {targets}", done, {metric: values})
    ]


def mean_error(table: Table, arm: str) -> np.ndarray:
    """Returns the mean error of an arm over perturbations of all sizes in the middle half of the computation."""
    errors = [
        table.of(arm, level, f"error_{size:g}")
        for size in SIZES
        for level in table.levels(arm, f"error_{size:g}")
        if 0.25 <= level <= 0.75
    ]
    return np.mean(errors, axis=0)


RECIPES: dict[str, tuple[str, dict[str, float]]] = {
    "floq": ("floq", {}),
    WIDE: ("floq", {"agent.noise_coverage": 0.5}),
    "monolithic": ("fql", {}),
}
"""The recipe of each kind of critic, and the settings that it changes."""


def run_errors(agent: Any, batch: Transition) -> dict[tuple[float, str], Scalar]:
    """Computes the errors of an agent's critic for the transitions of a batch, where the spread is that of its Q."""
    q = jax.vmap(agent.critic.score)(batch.observation, batch.action)
    return errors_of(agent.critic, (batch.observation, batch.action), jnp.std(q))


STATEMENTS = [
    Statement(
        "If a flow is perturbed in the middle of its integration, only a part of the perturbation reaches the output.",
        lambda table: 1 - mean_error(table, f"floq, {MOVING}"),
        "of the perturbation",
    ),
    Statement(
        "A smaller part of the perturbation reaches the output of a flow than the output of a monolithic network.",
        lambda table: mean_error(table, f"monolithic, {MOVING}") - mean_error(table, f"floq, {MOVING}"),
        "of the perturbation",
    ),
    Statement(
        "A flow recovers better if it was trained against moving targets than against fixed targets.",
        lambda table: mean_error(table, f"floq, {FIXED}") - mean_error(table, f"floq, {MOVING}"),
        "of the perturbation",
    ),
    Statement(
        "With the wider noise interval (κ = 0.5), only a part of the perturbation reaches the output of the flow.",
        lambda table: 1 - mean_error(table, f"{WIDE}, {MOVING}"),
        "of the perturbation",
    ),
    Statement(
        "With the wider noise interval, a flow recovers better if it was trained against moving targets.",
        lambda table: mean_error(table, f"{WIDE}, {FIXED}") - mean_error(table, f"{WIDE}, {MOVING}"),
        "of the perturbation",
    ),
]
LEVEL = "share of the computation before the perturbation"
PANELS = {
    f"error_{size:g}": f"perturbation of {size:g} standard deviations (error of Q / perturbation)" for size in SIZES
}
RUNS = RunExperiment(
    design="As in the maze, but floq and FQL are trained by their recipes, and the errors are means over 1,024 transitions of the "
    "data. The perturbation is relative to the standard deviation of the critic's Q over these transitions, since the exact Q "
    "is not known. Fixed targets are the returns of the data to the end of the episode; if the episode is truncated there, "
    "the value of its last state is that of a target network that is never updated. At the scale `paper`, the tasks are those "
    "of the published experiment, which instead uses an old network in the first integration steps, and does not say how old it is.",
    level=LEVEL,
    variants=lambda scale: [
        Variant(
            arm=f"{kind}, {targets}",
            recipe=recipe,
            fields={**changed, **(fixed_targets(scale) if targets == FIXED else {})},
        )
        for kind, (recipe, changed) in RECIPES.items()
        for targets in (MOVING, FIXED)
    ],
    measure=run_errors,
    tasks=(
        "antsoccer-arena-navigate-singletask-task4-v0",
        "cube-double-play-singletask-task2-v0",
        "humanoidmaze-medium-navigate-singletask-task1-v0",
    ),
    panels=PANELS,
    statements=STATEMENTS,
)
STUDY = Study(
    name="recovery",
    claim="The integration of a flow critic recovers from wrong intermediate values (test-time recovery), because the critic "
    "was trained against moving targets. Monolithic networks do not recover.",
    design="After training, the state of the flow is shifted up or down at a time t by a fraction (0.1, 0.3 or 1) of the "
    "standard deviation of Q over states and actions. In a monolithic network, Gaussian noise is added to the "
    "pre-activations of a layer instead. The standard deviation of this noise is the same fraction of the standard deviation "
    "of the pre-activations. An error of 1 means that the perturbation reaches the output unchanged. Each kind of critic is "
    "trained twice: on moving TD targets, and on the exact Q as fixed targets. The networks have four hidden layers. The "
    "shifts are about 0.4, 1.1 and 3.7. For a fixed target, the states at time t that occur in training lie in an interval "
    "whose width is 1 - t times that of the noise interval. At t = 0.5, this width is 1 with κ = 0.1, so that only the "
    "smallest shift usually leads to states that occur in training; it is 5 with κ = 0.5, so that the two smaller shifts do. The "
    "noise that is added to the units of a layer is independent, and later layers partly average it out, so the two kinds of "
    "perturbation are similar but not equivalent.",
    settings=LabSettings(hidden=(64, 64, 64, 64)),
    trials=lambda settings: {
        f"{kind}-{targets.split()[0]}": partial(trial, kind, targets, settings)
        for kind in CRITICS
        for targets in (MOVING, FIXED)
    },
    runs=RUNS,
    level=LEVEL,
    panels=PANELS,
    statements=STATEMENTS,
)
