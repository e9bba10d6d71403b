r"""SORL: a flow policy that acts in 1, 2, 4 or 8 steps, trained by backpropagating Q through them (arXiv 2505.22866).

The velocity field $v_\theta(t, x \mid s, k)$ transforms noise $x_0$ into an action $a_k$ in $k$ Euler steps. With
$K = 8$ and target networks $\bar v$ and $\bar Q$, the losses are

$$\begin{aligned}
\text{critic:} \quad & \bigl( Q_e(s, a, k) - r - \gamma \operatorname{agg}_e \bar Q_e(s', a', k) \bigr)^2,
\quad a' \sim \pi_k(s') \\
\text{flow BC:} \quad & \tfrac1d \lVert v(t, x_t \mid s, K) - (a - x_0) \rVert^2, \quad x_t = (1 - t) x_0 + t a \\
\text{self-consistency:} \quad & \tfrac1d \lVert v(t, x_t \mid s, k) - \tfrac12 (\bar v_1 + \bar v_2) \rVert^2,
\quad \bar v_1, \bar v_2 \text{ of the two steps of length } \tfrac1{2k} \\
\text{Q:} \quad & -Q(s, a_k, k) \,/\, \overline{|Q|},
\end{aligned}$$

where $\overline{|Q|}$ is the mean absolute score in the batch. All losses are averaged over the batch, and the critic
loss also over the two critics. The critic loss and the Q loss each draw one random $k$ for the whole batch. In each
update, a step on the critic loss is followed by a step on the weighted sum of the other losses. Both steps use the same
Adam optimiser, with clipped gradients.
"""

from dataclasses import dataclass

import jax
import numpy as np
import optax

import floqzoo as fz
from floqzoo.runs import Recipe, buildable
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import QUICKSTART, EnsembleConfig, actor_network, published_presets, refuse_encoder, value_network
from recipes.published import sorl as published


@dataclass(frozen=True, kw_only=True)
class SORLConfig(EnsembleConfig):
    """SORL's hyperparameters, named as in its official code where it has them."""

    lr: float = 1e-4
    """Adam's learning rate."""
    max_grad_norm: float = 1.0
    """Limit to which the gradient norm of each loss is clipped."""
    q_loss_coef: float = 100.0
    """Weight of the Q loss: the main hyperparameter to tune for each environment."""
    bc_flow_loss_coef: float = 10.0
    """Weight of the flow-matching loss."""
    alpha: float = 10.0
    """Weight of the self-consistency loss."""
    max_k_backprop: int = 8
    """Largest number of Euler steps in the Q loss and in the TD target; a power of two."""
    denoise_steps: int = 8
    """K, the largest number of Euler steps per action; a power of two."""
    inference_steps: int = 8
    """Number of Euler steps per action in the environment; a power of two, which may be changed after training."""
    num_samples: int = 1
    """N, the number of candidate actions in the environment; if above 1, the agent uses best-of-N."""

    def __post_init__(self):
        super().__post_init__()
        refuse_encoder(self, "SORL")
        if not (np.isfinite(self.max_grad_norm) and self.max_grad_norm > 0):
            raise ValueError(f"`max_grad_norm` must be above 0 and finite; got {self.max_grad_norm}.")
        if self.denoise_steps < max(self.inference_steps, self.max_k_backprop):
            raise ValueError(
                f"`denoise_steps` must be at least `inference_steps`, {self.inference_steps}, and `max_k_backprop`, "
                f"{self.max_k_backprop}; got {self.denoise_steps}."
            )


def sorl(
    *, observation_dim: int, action_dim: int, reward_range: tuple[float, float], config: SORLConfig, key: Key
) -> fz.Agent:
    """Builds the untrained SORL agent."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    networks = fz.QEnsemble(observation_dim + 1, action_dim, build=value_network(config), key=critic_key)
    policy = fz.ShortcutPolicy.build(
        observation_dim,
        action_dim,
        network=actor_network(config),
        num_steps=config.inference_steps,
        max_steps=config.denoise_steps,
        max_value_steps=config.max_k_backprop,
        flow_weight=config.bc_flow_loss_coef,
        consistency_weight=config.alpha,
        q_weight=config.q_loss_coef,
        key=policy_key,
    )
    return fz.Agent(
        critic=fz.StepConditionedCritic(
            fz.MonolithicCritic(networks, discount=config.discount, aggregation=config.aggregation),
            num_steps=min(config.inference_steps, config.max_k_backprop),  # It is not trained for more steps.
            max_steps=config.max_k_backprop,
        ),
        policy=policy if config.num_samples == 1 else fz.BestOfNPolicy(policy, config.num_samples),
        update_rule=fz.SequentialUpdate(
            optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.lr))
        ),
        target_update=fz.PolyakAveraging(critic=config.tau, policy=config.tau),
    )


PRESETS = published_presets(
    SORLConfig(), published.OFFLINE, quickstart=SORLConfig(**QUICKSTART, q_loss_coef=10.0), experiments="SORL"
)
RECIPE = Recipe(
    name="sorl",
    build=sorl,
    presets={name: preset for name, preset in PRESETS.items() if name != "online"},  # The paper has no online phase.
    check=buildable(sorl),
)

if __name__ == "__main__":
    run_recipe(RECIPE)
