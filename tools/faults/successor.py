"""Faults of successor measures, their targets and their values."""

from .fault import Fault, law


MEASURE = "floqzoo/successor/flow_successor.py"
RULES = "floqzoo/successor/targets.py"
TERMS = "tests/successor/test_targets.py::test_the_loss_is_the_weighted_sum_of_its_terms"
TABLE = "tests/successor/test_targets.py::test_a_target_is_its_line_of_the_table"

SUCCESSOR = (
    Fault(
        "the weights of the two terms change places",
        MEASURE,
        "(1 - self.discount.value) * one_step + self.discount.value * bootstrap",
        "self.discount.value * one_step + (1 - self.discount.value) * bootstrap",
        (f"{TERMS}[td2-cfm]",),
    ),
    Fault(
        "futures are those of the state that was left",
        MEASURE,
        "target.flow.encode(step.next_observation, next_action)",
        "target.flow.encode(step.observation, next_action)",
        (f"{TERMS}[td2-cfm]",),
    ),
    Fault(
        "the online flow is its own target",
        MEASURE,
        "self.target_rule.regression(target.flow, next_code",
        "self.target_rule.regression(self.flow, next_code",
        (f"{TERMS}[td2-cfm]",),
    ),
    Fault(
        "the density forgets the units of the observation",
        MEASURE,
        "return log_density - self.normaliser.log_volume(self.flow.dim)",
        "return log_density",
        ("tests/successor/test_measure_laws.py::test_the_density_of_futures_integrates_to_one",),
    ),
    Fault(
        "TD rejoins its future with the noise that it came from",
        RULES,
        "flow.path.at(t, noise_of(flow, fresh_key), future)",
        "flow.path.at(t, noise_of(flow, jax.random.clone(noise_key)), future)",
        (f"{TABLE}[TDTarget-straight]",),
    ),
    Fault(
        "TD² goes to the end and not to its time",
        RULES,
        "flow.push_forward(noise_of(flow, key), code, 0.0, t)",
        "flow.push_forward(noise_of(flow, key), code)",
        (law("each_key_draws_a_point_of_its_own", "TD2Target-3"),),
    ),
    Fault(
        "Monte Carlo takes the next state for the future",
        RULES,
        'noise_of(flow, key), step.require("future", "MonteCarloTarget"))',
        "noise_of(flow, key), step.next_observation)",
        (law("a_certain_future_is_aimed_at", "MonteCarloTarget-0"),),
    ),
    Fault(
        "a target's noise is always the same",
        RULES,
        "return flow.prior.sample(key, (flow.dim,))",
        "return flow.prior.sample(jax.random.key(0), (flow.dim,))",
        (law("each_key_draws_a_point_of_its_own", "CoupledTDTarget-2"),),
    ),
    Fault(
        "errors of noise are not weighed",
        "floqzoo/successor/velocity_error.py",
        "return path.noise_error_weight(t) * jnp.mean(",
        "return jnp.mean(",
        (f"{TERMS}[td2-dd]",),
    ),
    Fault(
        "coordinates are restored to the other side of the mean",
        "floqzoo/networks/normaliser.py",
        "return z * self.scale.value + self.mean.value",
        "return z * self.scale.value - self.mean.value",
        ("tests/successor/test_flow_successor.py::test_samples_and_densities_are_in_the_units_of_the_observation",),
    ),
    Fault(
        "a value is the mean reward and not the return",
        "floqzoo/successor/successor_critic.py",
        "(futures) / (1 - self.measure.discount.value)",
        "(futures)",
        ("tests/successor/test_measure_laws.py::test_a_constant_reward_is_worth_itself_over_one_minus_the_discount",),
    ),
    Fault(
        "the standard error is that of one sample over their number",
        "floqzoo/successor/successor_critic.py",
        "/ self.num_samples**0.5",
        "/ self.num_samples",
        ("tests/successor/test_successor_critic.py::test_the_standard_error_is_that_of_the_mean",),
    ),
)
