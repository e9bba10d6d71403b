"""Where floq's and FQL's code differs from what one would write after reading the papers: each a test of its name.

All are asked of the agents that the recipes build, with some parts exchanged for known maps.
"""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blueprint import blueprint
from doubles import AlternatingPrior, SteadyPolicy, linear_fields, linear_q, transitions

import floqzoo as fz
from floqzoo.testing import assert_close
from recipes.floq import RECIPE as FLOQ, FloqConfig, floq
from recipes.fql import RECIPE as FQL, FQLConfig, fql


OBSERVATION, ACTION = 3, 2
INPUTS = OBSERVATION + ACTION
ENDLESS = replace(transitions(), discount=jnp.ones(4))


def critic_of(config=FloqConfig(), ends=0.0, spread=(1.0, 1.0), readout=0.0, **parts):
    """The recipe's critic, but that its flows end in `ends + spread * noise` and its readout is `readout`."""
    made = blueprint(floq, config, OBSERVATION, ACTION)
    nothing = jnp.zeros((2, INPUTS))
    fields = linear_fields(nothing, jnp.full(2, ends), jnp.asarray(spread))
    parts = {"fields": fields, "prior": AlternatingPrior(), **parts}
    return replace(made.critic, distilled=linear_q(nothing, jnp.full(2, readout)), **parts)


@eqx.filter_jit
def loss(critic, target):
    agent = fz.FrozenAgent(critic, SteadyPolicy(), fz.ActorCritic(target, None), jnp.zeros((), jnp.int32))
    return critic.critic_loss(ENDLESS, agent, jax.random.key(0))[1]


class Clock(eqx.Module):
    """The field whose velocity is `speed` times the time."""

    speed: jax.Array

    def encode(self, *condition):
        return jnp.zeros(())

    def velocity(self, t, x, code):
        return jnp.full_like(x, t) * self.speed


class Turn(eqx.Module):
    """The field that a single Euler step carries from x to `sign * x`."""

    sign: jax.Array

    def encode(self, *condition):
        return jnp.zeros(())

    def velocity(self, t, x, code):
        return (self.sign - 1) * x


class ListedPrior(eqx.Module):
    """Noise samples that are listed."""

    noise: jax.Array

    def sample(self, key, shape):
        return jnp.broadcast_to(self.noise[None, :, None], shape)

    def log_prob(self, x):
        return jnp.zeros(())


def test_trap_1_the_time_is_seen_as_one_cosine_and_not_as_64():
    """The paper says 64 cosines, the released code computes cos(t); the paper's form is offered beside it."""
    widths = {}
    for name in ("cosine", "fourier"):
        field = blueprint(floq, FloqConfig(embed_time=name), OBSERVATION, ACTION).critic.fields.members
        widths[name] = field.network.stem.weight.shape[-2]
        embed = field.time_embedding.embed_time
        for t in (0.0, 0.3, 0.9):
            frequencies = np.array([1.0]) if name == "cosine" else np.pi * np.arange(1, 65)
            assert_close(embed(t), np.cos(frequencies * t), scale=200.0)
    assert widths == {"cosine": INPUTS + 50 + 1, "fourier": INPUTS + 50 + 64}
    assert FloqConfig().embed_time == "cosine"
    policy = blueprint(fql, FQLConfig(), OBSERVATION, ACTION).policy
    assert_close(policy.behaviour.flow.field.time_embedding.embed_time(0.3), np.array([0.3]))


@pytest.mark.parametrize("copies", [2, 8])
def test_trap_2_the_flow_loss_is_summed_over_noises_and_the_distillation_averaged(copies):
    """Every copy is wrong by the same amount, so a sum grows with their number and a mean does not."""
    parts = {"num_noise_samples": copies, "times": fz.ZeroTime(), "spread": (0.0, 0.0)}
    target = critic_of(ends=-1.0, **parts)
    wrong = critic_of(ends=-1.0, readout=-3.0, **parts)
    wanted = ENDLESS.reward - 0.99 + 1.0  # what the target asks for beyond the -1 that the flow ends in
    found = loss(wrong, target)
    assert_close(found.flow_loss, copies * jnp.mean(wanted**2))
    assert_close(found.distill_loss, 4.0)


def test_trap_3_members_are_aggregated_for_each_noise_and_only_then_averaged():
    """Two members that end in z and in -z: the least of each sample is -|z|, though either member's mean is 0."""
    config = FloqConfig(q_agg="min", critic_flow_steps=1, noise_samples=3, train_at_zero_only=True)
    noise = jnp.array([-3.0, 0.0, 3.0])
    target = critic_of(config, fields=fz.Ensemble(Turn(jnp.array([1.0, -1.0])), 2), prior=ListedPrior(noise))
    still = critic_of(config, fields=fz.Ensemble(Turn(jnp.ones(2)), 2), prior=ListedPrior(noise))
    td_target = ENDLESS.reward + 0.99 * -2
    # A field that stands still is wrong by the whole way from noise to target.
    wanted = jnp.mean(jnp.sum((td_target[:, None] - noise[None, :]) ** 2, axis=1))
    assert_close(loss(still, target).flow_loss, wanted)


def test_trap_4_the_readout_is_distilled_from_the_online_flow_and_not_from_the_target():
    online, target = critic_of(ends=-5.0, readout=-2.0), critic_of(ends=-50.0, readout=-20.0)
    assert_close(loss(online, target).distill_loss, (-2.0 + 5.0) ** 2)


def test_trap_4_the_distillation_starts_from_the_noise_of_the_flow_loss():
    """Noise that is -1 and 1 by turns ends in itself, so the mean end of an odd number of copies tells which it was."""
    critic = critic_of(readout=0.0, num_noise_samples=3)
    assert_close(loss(critic, critic).distill_loss, (1 / 3) ** 2)


@pytest.mark.parametrize("steps", [1, 4, 8, 16])
def test_trap_5_euler_asks_for_the_velocity_at_left_ends(steps):
    """Of the field v(t, x) = t, left ends make (K - 1) / 2K of the integral 1/2, and right ends (K + 1) / 2K."""
    observation, action, noise = jnp.zeros(OBSERVATION), jnp.zeros(ACTION), jnp.array([-0.5])
    critic = critic_of(FloqConfig(critic_flow_steps=steps), fields=fz.Ensemble(Clock(jnp.ones(2)), 2))
    found = critic.returns(observation, action, noise)
    assert_close(found, np.full(2, -0.5 + (steps - 1) / (2 * steps)))
    policy = blueprint(fql, FQLConfig(flow_steps=steps), OBSERVATION, ACTION).policy.behaviour
    policy = replace(policy, flow=replace(policy.flow, field=Clock(jnp.ones(()))))
    found = policy.act_from(observation, jnp.full(ACTION, -0.5))
    assert_close(found, np.full(ACTION, -0.5 + (steps - 1) / (2 * steps)))


def test_trap_6_floq_trains_for_two_million_updates_and_fql_for_one_with_two_million_to_compare():
    name = "cube-double-play-singletask-v0"
    assert [FLOQ.presets[preset](name).offline_steps for preset in ("default", "best")] == [2_000_000] * 2
    assert FQL.presets["default"](name).offline_steps == 1_000_000
    assert FQL.presets["2m"](name).offline_steps == 2_000_000
    assert FQL.presets["2m"](name).agent == FQL.presets["default"](name).agent
