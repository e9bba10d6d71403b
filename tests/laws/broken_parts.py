"""For every law, a part that breaks it: each is a sound part with one plausible fault."""

import itertools
import types
from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import floqzoo as fz
from floqzoo.flow.path import PathCoefficients
from floqzoo.learner import BalancedReplay
from floqzoo.policies import FunctionPolicy
from floqzoo.records import ActionDraw, PathPoint
from floqzoo.successor import DataNextAction, KnownReward, TD2Target
from floqzoo.testing.policy_laws import SumCritic, UniformPolicy


def unmapped(x):
    """Leaves JAX for a moment, and does not say what to do about a batch."""
    return jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


@jax.custom_jvp
def rough(x):
    """A sine whose derivative is not a number."""
    return jnp.sin(x)


rough.defjvp(lambda primals, tangents: (rough(*primals), jnp.nan * tangents[0]))


def normal(key, shape):
    return jax.random.normal(key, shape)


PRIORS = {
    "draws_have_the_requested_shape": {"sample": lambda self, key, shape: normal(key, (*shape, 1))},
    "a_key_decides_the_draw": {"sample": lambda self, key, shape: normal(jax.random.key(0), shape)},
    "log_density_sums_over_coordinates": {
        "log_prob": lambda self, x: jnp.mean(fz.GaussianPrior().log_prob(x)) / x.size
    },
    "every_point_has_a_log_density": {"log_prob": lambda self, x: -jnp.sum(x**4 / (1 + x**2))},
    "density_integrates_to_one": {"log_prob": lambda self, x: -jnp.sum(x**2) / 2},
    "draws_follow_the_density": {"sample": lambda self, key, shape: 1.2 * normal(key, shape)},
    "coordinates_are_drawn_independently": {
        "sample": lambda self, key, shape: jnp.broadcast_to(normal(key, (*shape[:-1], 1)), shape)
    },
}
PATHS = {
    "starts_at_its_noise": {"at": lambda self, t, x0, x1: fz.LinearPath().at(t, x1, x0)},
    "ends_at_its_data": {"at": lambda self, t, x0, x1: fz.LinearPath().at(0.9 * t, x0, x1)},
    "velocity_is_the_rate_of_change": {
        "at": lambda self, t, x0, x1: PathPoint(t * x1 + (1 - t) * x0, x0 - x1),
    },
    "conditional_velocity_is_the_rate_given_the_data_end": {
        "conditional_velocity": lambda self, t, x, x1: (x1 - x) / t
    },
    "conditional_density_obeys_the_continuity_equation": {
        "conditional_velocity": lambda self, t, x, x1: jax.lax.stop_gradient((x1 - x) / (1 - t))
    },
    "distant_ends_stay_finite": {
        "at": lambda self, t, x0, x1: fz.LinearPath().at(t, x0, x1 * (1 + x0**2) / (1 + x0**2))
    },
    "a_batch_of_paths_is_its_rows": {"at": lambda self, t, x0, x1: fz.LinearPath().at(t, unmapped(x0), x1)},
    "the_ends_of_time_are_finite": {"conditional_velocity": lambda self, t, x, x1: (x1 - x) / (1 - t)},
    "nothing_overflows_between_the_ends": {
        "at": lambda self, t, x0, x1: PathPoint(t * x1 + (1 - t) * x0, x1 - x0),
    },
    "a_path_scales_with_its_points": {"at": lambda self, t, x0, x1: fz.LinearPath().at(t, jnp.clip(x0, -1e6, 1e6), x1)},
    "marginal_density_obeys_the_continuity_equation": {"conditional_velocity": lambda self, t, x, x1: x1 - x},
    "noise_shrinks_as_data_grow": {"coefficients": lambda self, t: PathCoefficients(1 - t, t, -1.0, 1.0)},
    "the_end_error_is_what_is_left_of_the_other_end": {
        "coefficients": lambda self, t: PathCoefficients(t, 1 - 0.9 * t, 1.0, -0.9)
    },
    "ends_are_recovered_from_point_and_velocity": {
        "ends_of": lambda self, t, x, velocity: fz.LinearPath().ends_of(t, x, -velocity)
    },
    "the_noise_of_a_point_determines_its_velocity": {"velocity_of_noise": lambda self, t, x, x0: x - x0},
    "noise_errors_are_weighted_velocity_errors": {"noise_error_weight": lambda self, t: t},
}


def solve_with(change):
    """A solve whose arguments are changed beforehand: velocity, start, first and last time."""
    return {"solve": lambda self, velocity, x0, t0=0.0, t1=1.0: fz.Euler(4).solve(*change(velocity, x0, t0, t1))}


SOLVERS = {
    "constant_fields_are_solved_exactly": solve_with(lambda v, x0, t0, t1: (v, x0, t0, t0 + 0.75 * (t1 - t0))),
    "a_short_step_follows_the_velocity": solve_with(lambda v, x0, t0, t1: (lambda t, x: v(1 - t, x), x0, t0, t1)),
    "the_field_is_evaluated_at_the_right_times": solve_with(lambda v, x0, t0, t1: (lambda t, x: v(t0, x), x0, t0, t1)),
    "the_error_falls_with_the_order": {"order": 2},
    "a_trajectory_joins_start_and_solution": {
        "trajectory": lambda self, velocity, x0, t0, t1: fz.Euler(4).trajectory(velocity, x0, t1, t0)
    },
    "evaluations_are_counted": {"evaluations": 5},
    "no_time_outside_the_interval_is_evaluated": {
        "step": lambda self, velocity, t, dt, x: x + dt * velocity(t + 2 * dt, x)
    },
    "gradients_reach_start_field_and_times": solve_with(
        lambda v, x0, t0, t1: (v, jax.lax.stop_gradient(x0), t0, t1),
    ),
    "distant_starts_stay_finite": solve_with(lambda v, x0, t0, t1: (v, x0 * (1 + x0**2) / (1 + x0**2), t0, t1)),
    "a_batch_of_solves_is_its_rows": solve_with(lambda v, x0, t0, t1: (v, unmapped(x0), t0, t1)),
    "two_halves_are_the_whole_interval": {"solve": lambda self, *way: fz.Euler(self.num_steps + 1).solve(*way)},
    "a_trajectory_is_one_step_after_another": {
        "trajectory": lambda self, *way: fz.Midpoint(self.num_steps).trajectory(*way)
    },
    "an_unrolled_loop_is_the_loop": {
        "solve": lambda self, *way: fz.Euler(self.num_steps).solve(*way) + (0.1 if self.unroll else 0.0)
    },
}


class Field:
    """A sound velocity field without parameters."""

    def encode(self, *condition):
        return condition[0][0]

    def velocity(self, t, x, code):
        return x * t + code


FIELDS = {
    "a_velocity_has_the_shape_of_its_point": {"velocity": lambda self, t, x, code: (x * t + code)[:1]},
    "a_code_is_valid_for_every_time_and_point": {"velocity": lambda self, t, x, code: unmapped(x) + code},
    "a_batch_of_conditions_is_its_rows": {"encode": lambda self, *condition: unmapped(condition[0][0])},
    "a_compiled_field_is_the_field": {
        "velocity": lambda self, t, x, code: x * (1.0 if isinstance(x, jax.core.Tracer) else 2.0)
    },
    "a_velocity_can_be_differentiated": {"velocity": lambda self, t, x, code: rough(x)},
}
LAYERS = {
    "parts_of_an_input_add_up": {"part": lambda self, x, start: x @ self.weight[: x.size]},
    "a_layer_is_linear_without_its_bias": {
        "part": lambda self, x, start: jnp.tanh(x) @ self.weight[start : start + x.size]
    },
    "every_input_affects_a_layer": {"part": lambda self, x, start: 0 * (x @ self.weight[start : start + x.size])},
    "the_bias_is_the_same_for_every_input": {"with_bias": lambda self, product: 2 * product + self.bias},
}
NETWORKS = {
    "a_network_is_the_body_of_its_stem": {"__call__": lambda self, x: self.body(self.stem.part(x, 0) + 1)},
    "a_batch_of_inputs_is_its_rows": {"body": lambda self, hidden: unmapped(hidden)[:3]},
    "gradients_reach_every_input": {"body": lambda self, hidden: jax.lax.stop_gradient(hidden)[:3]},
}
TIME_EMBEDDINGS = {
    "time_features_are_counted": {"embed_time": lambda self, t: jnp.stack([t, t])},
    "different_times_look_different": {"embed_time": lambda self, t: jnp.zeros(1)},
    "a_time_may_be_a_number": {"embed_time": lambda self, t: t[None]},
    "a_batch_of_times_is_its_rows": {"embed_time": lambda self, t: unmapped(t)[None]},
}
POINT_EMBEDDINGS = {
    "point_features_are_counted": {"embed_point": lambda self, x: jnp.repeat(x, 2)},
    "different_points_look_different": {"embed_point": lambda self, x: jnp.full_like(x, x[0])},
    "distant_points_stay_finite": {"embed_point": lambda self, x: x / jnp.exp(jnp.abs(x))},
    "a_batch_of_points_is_its_rows": {"embed_point": lambda self, x: unmapped(x)},
}
TIME_DISTRIBUTIONS = {
    "times_have_the_requested_shape": {"sample_times": lambda self, key, shape: jnp.zeros(())},
    "times_lie_before_the_end": {"sample_times": lambda self, key, shape: 1.01 * jax.random.uniform(key, shape)},
    "another_key_gives_other_times": {
        "sample_times": lambda self, key, shape: jax.random.uniform(jax.random.key(0), shape)
    },
    "a_key_decides_the_times": {
        "sample_times": lambda self, key, shape, draw=np.random.default_rng(0): jnp.asarray(draw.uniform(size=shape))
    },
}
AGGREGATIONS = {
    "members_have_no_order": {"aggregate": lambda self, values: values[0]},
    "an_aggregate_lies_among_its_members": {"aggregate": lambda self, values: jnp.sum(values, axis=0)},
    "an_aggregate_moves_with_its_members": {"aggregate": lambda self, values: jnp.median(values**2, axis=0)},
}
BACKUPS = {
    "nothing_is_added_after_the_end": {"td_targets": lambda self, reward, gamma, values: reward + 0.9 * values},
    "known_values_are_backed_up_exactly": {"td_targets": lambda self, r, gamma, values: r + gamma**2 * values},
    "targets_move_with_rewards_and_values": {"td_targets": lambda self, r, gamma, values: r + gamma * values**2},
    "noise_samples_have_no_order": {
        "td_targets": lambda self, r, gamma, values: r + gamma * jnp.full_like(values, values[0])
    },
}
NOISE_COUPLINGS = {
    "noise_keeps_its_shape": {"next_noise": lambda self, noise, fresh: fresh[0]},
    "next_noise_is_one_of_the_two_given": {"next_noise": lambda self, noise, fresh: (noise + fresh) / 2},
}


def with_one_draw(self, batch, *others):
    """A loss that draws one number for all rows."""
    return jnp.mean(normal(others[-1], ()) * batch.reward), None


def without_a_sound(self, batch, *others):
    """A loss that is not a number."""
    return jnp.full((), jnp.nan), None


CRITICS = {
    "scores_are_numbers": {"score": lambda self, observation, action: observation},
    "scores_can_be_improved": {"score": lambda self, observation, action: rough(action)[0]},
    "critic_loss_is_a_number_with_a_gradient": {"critic_loss": without_a_sound},
    "critic_loss_draws_for_each_row": {"critic_loss": with_one_draw},
}
NOISY_CRITICS = {"noisy_values_are_numbers": {"value": lambda self, observation, action, key: observation}}
ADVANTAGES = {
    "an_advantage_is_a_number": {"advantage": lambda self, observation, action: action},
    "advantage_and_score_differ_by_a_function_of_the_state": {"advantage": lambda self, observation, action: action[0]},
}
SCORES_FOR_LATENTS = {
    "scores_for_latents_are_numbers": {"score_for": lambda self, observation, action, latent: latent},
    "latents_are_drawn_for_each_row": {"sample_latents": lambda self, observations, key: normal(key, (5,))},
}
ACTS_FOR_LATENTS = {
    "actions_for_latents_lie_in_their_box": {"act_for": lambda self, observation, latent: latent[:2]},
    "actions_for_latents_are_rows": {"act_for": lambda self, observation, latent: jnp.sin(unmapped(latent[:2]))},
}
DIAGNOSABLE = {"diagnostics_are_numbers": {"diagnose": lambda self, batch, key: {"reward": batch.reward}}}


class Sounding(fz.NullCritic):
    """A sound critic with every optional capability."""

    def value(self, observation, action, key):
        return jnp.zeros(())

    def advantage(self, observation, action):
        return jnp.zeros(())

    def diagnose(self, batch, key):
        return {"reward": jnp.mean(batch.reward)}


class Explorer(FunctionPolicy):
    """Explores as it acts."""

    def explore(self, observation, critic, key):
        return self.act(observation, critic, key)


class Noisy(FunctionPolicy):
    """Acts by noise in two methods that share nothing, so that a fault of one is seen in the other."""

    noise_prior = fz.GaussianPrior()

    def draw_noise(self, key):
        return normal(key, (2,))

    def act_from_noise(self, observation, critic, noise):
        return jnp.tanh(noise + observation[:2])

    def act(self, observation, critic, key):
        return jnp.tanh(normal(key, (2,)) + observation[:2])


FROM_NOISE = {
    "noise_decides_the_action": {"act": lambda self, observation, critic, key: jnp.tanh(normal(key, (2,)) / 2)},
    "noise_follows_its_prior": {"draw_noise": lambda self, key: jnp.zeros(0)},
    "actions_of_any_noise_lie_in_their_box": {"act_from_noise": lambda self, observation, critic, noise: noise},
}
EXPLORING = {"explored_actions_lie_in_their_box": {"explore": lambda self, s, critic, key: 2 * normal(key, (2,))}}
POLICIES = {
    "actions_lie_in_their_box": {"act": lambda self, observation, critic, key: 2 * normal(key, (2,))},
    "a_key_decides_the_action": {
        "act": lambda self, observation, critic, key, draw=np.random.default_rng(0): jnp.asarray(
            draw.uniform(size=2), float
        )
    },
    "policy_loss_is_a_number_with_a_gradient": {"policy_loss": without_a_sound},
    "policy_loss_draws_for_each_row": {"policy_loss": with_one_draw},
}


class Measure:
    """A sound successor measure: normal, around a point that depends on state and action."""

    discount = 0.9

    def centre(self, observation, action):
        return 2 * observation + jnp.resize(3 * action, observation.shape)

    def sample_futures(self, observation, action, count, key):
        return self.centre(observation, action)[None] + normal(key, (count, observation.size))

    def log_prob(self, future, observation, action):
        return fz.GaussianPrior().log_prob(future - self.centre(observation, action))

    def successor_loss(self, batch, target, agent, key):
        return jnp.zeros(()), None


SUCCESSOR_MEASURES = {
    "futures_have_the_shape_of_observations": {
        "sample_futures": lambda self, s, a, count, key: normal(key, (count, 2))
    },
    "each_key_draws_different_futures": {"sample_futures": lambda self, s, a, count, key: jnp.tile(s, (count, 1))},
    "density_of_futures_integrates_to_one": {
        "log_prob": lambda self, future, s, a: fz.GaussianPrior(0.0, 1.5).log_prob(future - self.centre(s, a))
    },
    "futures_are_likelier_where_they_come_from": {
        "log_prob": lambda self, future, s, a: fz.GaussianPrior().log_prob(future - self.centre(s, -a))
    },
    "futures_are_possible": {"log_prob": lambda self, future, s, a: jnp.full((), -jnp.inf)},
    "successor_loss_is_a_number_with_a_gradient": {"successor_loss": without_a_sound},
    "successor_loss_draws_for_each_row": {"successor_loss": with_one_draw},
}
SUCCESSOR_TARGETS = {
    "a_target_is_a_point_and_a_velocity": {
        "regression": lambda self, flow, code, step, t, key: PathPoint(normal(key, (2,)), jnp.zeros(2))
    },
    "each_key_draws_a_different_point": {
        "regression": lambda self, flow, code, step, t, key: PathPoint(0 * code, flow.field.velocity(t, 0 * code, code))
    },
    "targets_point_to_a_certain_future": {
        "regression": lambda self, flow, code, step, t, key: TD2Target().regression(flow, code, step, t / 2, key)
    },
}
NEXT_ACTIONS = {
    "a_next_action_has_the_shape_of_an_action": {"next_actions": lambda self, batch, policy, key: batch.next_action[0]}
}
REWARD_MODELS = {"a_reward_is_a_number_with_a_gradient": {"reward_of": lambda self, observation: observation}}


def draw_with(change):
    """A draw whose arguments are changed beforehand: place, key and size."""
    return {"draw_batch": lambda self, data, replay, *ask: BalancedReplay().draw_batch(data, replay, *change(*ask))}


def with_other_rewards(self, dataset, replay, place, key, size):
    """Transitions whose rewards are those of others."""
    batch = BalancedReplay().draw_batch(dataset, replay, place, key, size)
    return replace(batch, reward=batch.reward[::-1])


def updated_with(change):
    """A joint update, whose result is changed."""

    def update_parts(self, parts, *others):
        return change(parts, *fz.JointUpdate.update_parts(self, parts, *others))

    return {"update_parts": update_parts}


def times(factor, tree):
    """All floating-point arrays, scaled."""
    return jax.tree.map(lambda leaf: factor * leaf if eqx.is_inexact_array(leaf) else leaf, tree)


def with_moved_numbers(parts, after, optimisers, metrics):
    """Hyperparameters are trained, too."""
    fixed = fz.Hyperparameter(after.critic.fixed.stored + 1)
    return replace(after, critic=replace(after.critic, fixed=fixed)), optimisers, metrics


UPDATE_RULES = {
    "an_update_can_be_scanned": updated_with(lambda parts, after, state, metrics: (after, (state, state), metrics)),
    "an_update_trains_both_parts": updated_with(
        lambda parts, after, *rest: (replace(after, policy=parts.policy), *rest)
    ),
    "an_update_keeps_what_is_not_trained": updated_with(with_moved_numbers),
    "losses_draw_independently": {
        "update_parts": lambda self, *others: fz.JointUpdate.update_parts(self, *others[:-1], jax.random.key(0))
    },
    "a_scan_of_updates_is_the_updates_one_by_one": updated_with(
        # Python counts how often an update is traced, and not how often it happens.
        lambda parts, after, *rest, traces=itertools.count(): (times(1 + next(traces), after), *rest)
    ),
}
JOINT_UPDATES = {
    "a_joint_update_is_one_step_of_optax": updated_with(
        lambda parts, after, *rest: (replace(after, policy=times(1.01, after.policy)), *rest)
    )
}
ALTERNATING_UPDATES = {
    "alternating_steps_are_those_of_optax": {  # It counts updates from 0.
        "update_parts": lambda self, parts, optimisers, agent, *others: fz.AlternatingUpdate.update_parts(
            self, parts, optimisers, replace(agent, step=agent.step + 1), *others
        )
    }
}
SEQUENTIAL_UPDATES = {
    "sequential_steps_are_those_of_optax": {"update_parts": fz.JointUpdate.update_parts},  # One step on the sum.
}
PHASED_UPDATES = {
    "phases_are_their_rules_in_turn": {  # It remains in its first phase.
        "update_parts": lambda self, *others: self.phases[0].update_rule.update_parts(*others)
    },
}
POLYAK = {
    "targets_move_by_their_tau": {
        "update_targets": lambda self, target, before, after, step: fz.PolyakAveraging.update_targets(
            self, target, after, before, step
        )
    }
}
MODULES = {
    "no_gradient_reaches_a_number_that_is_not_learnt": {
        "log_prob": lambda self, x: -jnp.sum((x - self.mean.stored) ** 2) / 2
    }
}
TARGET_UPDATES = {
    "targets_start_as_copies": {
        "init_targets": lambda self, parts: jax.tree.map(jnp.zeros_like, parts),
    },
    "targets_lie_between": {
        "update_targets": lambda self, target, before, after, step: jax.tree.map(lambda x: x - 1, target),
    },
}


def read_with(change):
    """A reader of single steps, whose transitions are changed."""
    return {"read": lambda self, store, at, key: change(fz.NStep.read(self, store, at, key), store, at)}


READERS = {
    "a_reader_stays_in_the_episode": read_with(
        lambda step, store, at: replace(step, next_observation=step.next_observation + 3)
    ),
    "a_chunk_holds_the_actions_of_one_episode": read_with(
        lambda step, store, at: replace(step, valid=jnp.zeros((len(at), 1)))
    ),
    "discounts_lie_between_0_and_1": read_with(lambda step, store, at: replace(step, discount=step.discount + 1)),
}
BATCH_SOURCES = {
    "a_batch_has_the_structure_of_the_data": draw_with(lambda place, key, size: (place, key, size - 2)),
    "a_key_decides_the_batch": draw_with(lambda place, key, size: (place, jax.random.key(0), size)),
    "examples_come_from_the_data": {"draw_batch": with_other_rewards},
    "batches_of_seeds_are_drawn_one_by_one": draw_with(lambda place, key, size: (unmapped(place), key, size)),
}


class Drawing:
    """A sound policy with a density: uniform on a part of the box that depends on the observation."""

    def act_with_log_prob(self, observation, key):
        half = 0.5 + 0.4 * jnp.tanh(observation[0])
        action = half * jax.random.uniform(key, (2,), observation.dtype, -1, 1)
        return ActionDraw(action, -2 * jnp.log(2 * half))


DENSITIES = {
    "a_draw_has_a_log_density": {
        "act_with_log_prob": lambda self, observation, key: ActionDraw(
            jnp.full(2, 1.5), jax.random.normal(key, (), observation.dtype)
        )
    },
}

# How the sound part is made, and the one member of it that each law is broken by.
BROKEN = (
    (fz.GaussianPrior, PRIORS),
    (fz.LinearPath, PATHS),
    (partial(fz.Euler, 4), SOLVERS),
    (Field, FIELDS),
    (partial(fz.Dense, 5, 3), LAYERS),
    (partial(fz.MLP, 5, 3, hidden=(8,)), NETWORKS),
    (fz.RawTime, TIME_EMBEDDINGS),
    (fz.RawPoint, POINT_EMBEDDINGS),
    (fz.UniformTime, TIME_DISTRIBUTIONS),
    (fz.MeanOverEnsemble, AGGREGATIONS),
    (fz.DistributionalBackup, BACKUPS),
    (fz.SharedNoise, NOISE_COUPLINGS),
    (fz.NullCritic, CRITICS),
    (Sounding, NOISY_CRITICS),
    (Sounding, ADVANTAGES),
    (SumCritic, SCORES_FOR_LATENTS),
    (partial(UniformPolicy, 2), ACTS_FOR_LATENTS),
    (Sounding, DIAGNOSABLE),
    (partial(Noisy, lambda observation: observation), FROM_NOISE),
    (partial(Explorer, lambda observation: jnp.tanh(observation[:2])), EXPLORING),
    (fz.JointUpdate, UPDATE_RULES),
    (fz.JointUpdate, JOINT_UPDATES),
    (partial(fz.AlternatingUpdate, policy_every=2), ALTERNATING_UPDATES),
    (fz.SequentialUpdate, SEQUENTIAL_UPDATES),
    (
        partial(
            fz.PhasedUpdate, fz.Phase("first", fz.JointUpdate(), 1), fz.Phase("second", fz.JointUpdate(policy_every=2))
        ),
        PHASED_UPDATES,
    ),
    (fz.PolyakAveraging, TARGET_UPDATES),
    (fz.PolyakAveraging, POLYAK),
    (fz.GaussianPrior, MODULES),
    (fz.NStep, READERS),
    (partial(FunctionPolicy, lambda observation: jnp.tanh(observation[:2])), POLICIES),
    (Measure, SUCCESSOR_MEASURES),
    (TD2Target, SUCCESSOR_TARGETS),
    (DataNextAction, NEXT_ACTIONS),
    (Drawing, DENSITIES),
    (partial(KnownReward, jnp.sum), REWARD_MODELS),
    (BalancedReplay, BATCH_SOURCES),
)


def build(make, members):
    """The sound part with some members exchanged; none, for the sound part itself."""
    make = make if isinstance(make, partial) else partial(make)
    keyed = {"key": jax.random.key(0)} if make.func in (fz.Dense, fz.MLP) else {}
    kind = types.new_class(make.func.__name__, (make.func,), exec_body=lambda space: space.update(members))
    return kind(*make.args, **make.keywords, **keyed)
