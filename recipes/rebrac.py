r"""ReBRAC: TD3 with behaviour penalties in both losses (arXiv 2305.09836).

$$\begin{aligned}
\text{critic:} \quad & \Bigl( Q_e(s, a) - r - \gamma \bigl( \min_e \bar Q_e(s', a')
- \beta \lVert a' - a'_{\text{data}} \rVert^2 \bigr) \Bigr)^2, \quad a' = \bar\pi(s') + \text{noise} \\
\text{policy:} \quad & -\min_e Q_e(s, \pi(s)) \,/\, \overline{|Q|} + \alpha \lVert \pi(s) - a \rVert^2,
\end{aligned}$$

where $\overline{|Q|}$ is the mean absolute score in the batch. Both losses are averaged over the batch, and the critic
loss also over the two critics. The critic is updated in every update; the policy and the target networks of both the
critic and the policy are updated in every second update.
"""

from dataclasses import dataclass
from functools import partial

import jax
import optax

import floqzoo as fz
from floqzoo.learner import NStep
from floqzoo.runs import Recipe, buildable, standard_batches
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, ActorCriticConfig, actor_network, published_presets, value_network, visual_preset
from recipes.published import rebrac as published


@dataclass(frozen=True, kw_only=True)
class ReBRACConfig(ActorCriticConfig):
    """ReBRAC's hyperparameters, named as in the official code of FQL."""

    alpha_actor: float = 0.1
    """Weight of the penalty in the policy's loss; must be tuned for each environment."""
    alpha_critic: float = 0.01
    """Weight of the penalty in the TD target; must be tuned for each environment."""
    actor_freq: int = 2
    """Number of critic updates per update of the policy and of the target networks."""
    actor_noise: float = 0.2
    """Standard deviation of the noise on the target policy's actions, and of the exploration noise."""
    actor_noise_clip: float = 0.5
    """Limit to which both kinds of noise are clipped."""


def rebrac(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: ReBRACConfig, key: Key
) -> fz.Agent:
    """Builds the untrained ReBRAC agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    noise = fz.SmoothingNoise(config.actor_noise, config.actor_noise_clip)
    network = actor_network(config, output_scale=0.01)
    return fz.Agent(
        critic=fz.ReBRACCritic(
            fz.QEnsemble(observation_dim, action_dim, build=value_network(config), key=critic_key),
            discount=config.discount,
            beta=config.alpha_critic,
            noise=noise,
        ),
        policy=fz.DeterministicPolicy(network(observation_dim, action_dim, key=policy_key), config.alpha_actor, noise),
        update_rule=fz.AlternatingUpdate(optax.adam(config.lr), optax.adam(config.lr), policy_every=config.actor_freq),
        target_update=fz.PolyakAveraging(critic=config.tau, policy=config.tau, every=config.actor_freq, of_new=True),
    )


def with_next_actions(config: ReBRACConfig) -> NStep:
    """Returns a reader of n-step returns that also reads the data's next actions."""
    return NStep(config.n_step, config.discount, next_action=True)


RECIPE = Recipe(
    name="rebrac",
    build=rebrac,
    presets=published_presets(
        ReBRACConfig(),
        published.OFFLINE,
        quickstart=ReBRACConfig(**QUICKSTART, alpha_actor=1.0, alpha_critic=0.0),
    )
    | {"visual": visual_preset(published.VISUAL, ReBRACConfig())},
    check=buildable(rebrac),
    batch_source=partial(standard_batches, reader=with_next_actions),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
