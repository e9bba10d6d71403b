"""Parts of successor measures whose answers are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import floqzoo as fz
from floqzoo.tasks import ExactField, LinearGaussian


class Correctable(eqx.Module):
    """A given field plus a linear correction, which is all there is to learn: 0 where the field is right."""

    field: fz.protocols.VelocityField
    correction: jax.Array

    @staticmethod
    def of(field, dim, condition):
        return Correctable(field, jnp.zeros((dim + condition + 2, dim)))

    def encode(self, *condition):
        return self.field.encode(*condition), jnp.concatenate(condition)

    def velocity(self, t, x, code):
        given, condition = code
        features = jnp.concatenate([x, condition, jnp.stack([jnp.asarray(t, dtype=float), jnp.ones(())])])
        return self.field.velocity(t, x, given) + features @ self.correction


class ExactNoise(eqx.Module):
    """The noise that the chain's own measure makes likely, as a network of a diffusion predicts it."""

    field: ExactField

    def encode(self, *condition):
        return self.field.encode(*condition)

    def velocity(self, t, x, code):
        return self.field.path.ends_of(t, x, self.field.velocity(t, x, code)).x0


def exact_field(chain: LinearGaussian, path=fz.LinearPath()) -> ExactField:
    return ExactField(chain, path)


def small_field(key, dim=2, condition=4):
    def build(*sizes, key):
        return fz.MLP(*sizes, hidden=(8, 8), key=key)

    return fz.ConditionalField(dim, condition, build=build, key=key)


@eqx.filter_jit
def trained_on(chain, critic, policy, key, *, updates):
    """The critic of an agent and of its target network after updates on transitions of the chain."""
    rule, averaging = fz.JointUpdate(optax.adam(3e-3)), fz.PolyakAveraging(critic=0.05)
    agent = fz.Agent(critic=critic, policy=policy, update_rule=rule, target_update=averaging)

    def step(arrays, key):
        batch_key, update_key = jax.random.split(key)
        agent, _ = eqx.combine(arrays, static).update(chain.sample(batch_key, 128), update_key)
        return eqx.filter(agent, eqx.is_array), None

    arrays, static = eqx.partition(agent, eqx.is_array)
    agent = eqx.combine(jax.lax.scan(step, arrays, jax.random.split(key, updates))[0], static)
    return agent.critic, agent.target.critic
