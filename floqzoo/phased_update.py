"""Training in phases with different losses or update rules."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool, PyTree

from floqzoo.protocols import UpdateRule
from floqzoo.records import ActorCritic, FrozenAgent, NamedMetric, Occasional, Transition, UpdateMetrics, named_metrics
from floqzoo.typing import Array, Key


class Phase(eqx.Module):
    """A phase of training.

    - `name`: The name under which the phase appears in logs and figures.
    - `update_rule`: Any update rule, such as a `JointUpdate` with the losses of the phase.
    - `updates`: The number of updates. In the last phase it may be None, which means all remaining updates.

    **Raises** `ValueError` if the name is empty, or `updates` is negative.
    """

    name: str = eqx.field(static=True)
    update_rule: UpdateRule
    updates: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not self.name:
            raise ValueError("`name` must not be empty.")
        if self.updates is not None and self.updates < 0:
            raise ValueError(f"`updates` must be at least 0, or None; got {self.updates}.")


class PhasedUpdate(eqx.Module):
    """Applies update rules in sequence, each for a given number of updates, such as pre-training before fine-tuning.

        fz.PhasedUpdate(
            fz.Phase("pretraining", fz.JointUpdate(critic_loss=MyCritic.pretraining_loss), 1_000_000),
            fz.Phase("finetuning", fz.JointUpdate()),
        )

    Each phase continues with the optimiser state of the previous phase. All rules must therefore have optimiser states
    of the same structure: use rules of one class with the same kind of optimiser. The number of updates so far
    determines the current phase. Checkpoints store this number, so a run resumes in the phase where it stopped. At
    the end of each phase, the trainer writes a row of metrics, saves a checkpoint and evaluates the agent.

    Metrics keep the names that the rules give them; a metric that occurs only in some phases is averaged over the
    updates of these phases. Each update computes only the rule of the current phase, except with several seeds on an
    accelerator, where it computes all rules.

    - `phases`: One or more phases, in order.

    **Raises** `ValueError` if there is no phase, two phases have the same name, or `updates` is None in a phase before
    the last.
    """

    phases: tuple[Phase, ...]

    def __init__(self, *phases: Phase):
        self.phases = phases
        names = [phase.name for phase in phases]
        if not phases or len(set(names)) < len(names):
            raise ValueError(f"`phases` must be one or more phases with different names; got {names}.")
        for phase in phases[:-1]:
            if phase.updates is None:
                raise ValueError(
                    f"`updates` of the phase {phase.name!r}, which is not the last, must be a number; got None."
                )

    @property
    def phase_starts(self) -> Mapping[str, int]:
        """The number of updates before each phase starts, by phase name."""
        starts, total = {}, 0
        for phase in self.phases:
            starts[phase.name] = total
            total += phase.updates or 0
        return starts

    def init_optimisers(self, parts: ActorCritic) -> PyTree:
        """Returns the initial optimiser state, which is passed on from phase to phase.

        **Raises** `ValueError` if the states of two phases differ in structure.
        """
        first, *rest = (phase.update_rule.init_optimisers(parts) for phase in self.phases)
        for phase, state in zip(self.phases[1:], rest, strict=True):
            if _form(state) != _form(first):
                raise ValueError(
                    f"the optimisers of the phases {self.phases[0].name!r} and {phase.name!r} must have states of the same "
                    "structure, since one state is kept through all phases. Use the same update rule and optimiser in both "
                    "phases; numbers such as the learning rate may differ."
                )
        return first

    def update_parts(
        self, parts: ActorCritic, optimisers: PyTree, agent: FrozenAgent, batch: Transition, key: Key
    ) -> tuple[ActorCritic, PyTree, UpdateMetrics]:
        """Performs one update with the rule of the current phase; returns the new parts, the new optimiser states, and
        the metrics."""
        arrays, rest = eqx.partition((parts, optimisers), eqx.is_array)

        def updated(phase: Phase, arrays: PyTree) -> tuple[PyTree, dict[str, NamedMetric]]:
            parts, optimisers = eqx.combine(arrays, rest)
            *updated, metrics = phase.update_rule.update_parts(parts, optimisers, agent, batch, key)
            return eqx.filter(tuple(updated), eqx.is_array), named_metrics(metrics)

        forms = [jax.eval_shape(lambda phase=phase: updated(phase, arrays)[1]) for phase in self.phases]
        form = {name: metric.value for metrics in reversed(forms) for name, metric in metrics.items()}
        always = {name for name in form if all(name in each and each[name].happened is None for each in forms)}

        def branch(phase: Phase):
            def run(arrays: PyTree) -> tuple[PyTree, dict[str, tuple[Array, Bool[Array, ""]]]]:
                arrays, metrics = updated(phase, arrays)
                return arrays, {name: _found(metrics.get(name), like) for name, like in form.items()}

            return run

        ends = jnp.array(list(self.phase_starts.values())[1:], agent.step.dtype)
        arrays, metrics = jax.lax.switch(jnp.sum(agent.step >= ends), [branch(phase) for phase in self.phases], arrays)
        named = {name: found[0] if name in always else Occasional(*found) for name, found in metrics.items()}
        parts, optimisers = eqx.combine(arrays, rest)
        return parts, optimisers, UpdateMetrics(_of_part("critic", named), _of_part("actor", named))


def _found(metric: NamedMetric | None, like: jax.ShapeDtypeStruct) -> tuple[Array, Bool[Array, ""]]:
    """A metric, and whether it occurred; 0 and False for a metric that a phase does not have."""
    if metric is None:
        return jnp.zeros(like.shape, like.dtype), jnp.array(False)
    return metric.value, jnp.array(True) if metric.happened is None else metric.happened


def _of_part(part: str, named: Mapping[str, Any]) -> Any:
    """The metrics of a part, by their path within it; a single metric if the loss returns only one number."""
    return named.get(
        part, {name.removeprefix(f"{part}/"): metric for name, metric in named.items() if name.startswith(f"{part}/")}
    )


def _form(state: PyTree) -> tuple:
    return jax.tree.structure(state), [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(state)]
