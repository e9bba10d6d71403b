r"""FB: forward-backward representations, which give a policy for any reward without retraining (arXiv 2103.07945).

$$\begin{aligned}
\text{measure:} \quad & \textstyle\sum_e \Bigl[ \tfrac12 \mathbb E_{i \ne j} \bigl( F_e(s_i, a_i, z_i)^\top B(s'_j)
- \gamma \, \overline{\bar F(s'_i, a'_i, z_i)}^\top \bar B(s'_j) \bigr)^2
- \mathbb E_i F_e(s_i, a_i, z_i)^\top B(s'_i) \Bigr] \\
\text{orthonormality:} \quad & \tfrac12 \mathbb E_{i \ne j} \bigl( B(s'_i)^\top B(s'_j) \bigr)^2
- \mathbb E_i \lVert B(s'_i) \rVert^2 \\
\text{policy:} \quad & -\mathbb E \, Q_z(s, \pi_z(s) + \epsilon) \, / \, \overline{|Q|}
+ \tfrac\alpha2 \lVert \pi_z(s) - a \rVert^2 \\
\text{task:} \quad & w = \mathbb E [r B(s)], \quad z = \sqrt d \, w / \lVert w \rVert,
\quad Q_z = \min_e F_e(s, a, z)^\top z
\end{aligned}$$

$\overline{\bar F}$ is the mean over the two target networks of F, and $\overline{|Q|}$ the mean of $|Q_z|$ over the
batch. With n-step transitions, $s'$ is the state n steps later and $\gamma$ stands for $\gamma^n$. F, B and the policy have
separate optimisers. Training does not use rewards; they are used only before each
evaluation, to infer the task vector $z$ of the run's task.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import optax

import floqzoo as fz
from floqzoo.learner.batch_sources import NStep
from floqzoo.runs import Recipe, RunConfig, buildable, convert_settings, standard_batches
from floqzoo.tasks import task_name
from floqzoo.tasks.own_task import is_reference
from floqzoo.training import run_recipe
from floqzoo.typing import Key
from recipes.common import aggregation


@dataclass(frozen=True, kw_only=True)
class FBConfig:
    """FB's hyperparameters: values from the official code (metamotivo) for the walker, unless marked as our choice."""

    forward_lr: float = 1e-4
    """Adam's learning rate for F."""
    backward_lr: float = 1e-4
    """Adam's learning rate for B; 1e-6 for the point mass."""
    actor_lr: float = 1e-4
    """Adam's learning rate for the policy; 1e-6 for the point mass."""
    batch_size: int = 1024
    """Transitions per update; the loss uses all pairs."""
    latent_dim: int = 100
    """d, the dimension of z; 50 for cheetah and quadruped."""
    discount: float = 0.98
    """Discount in [0, 1); 0.99 for the point mass."""
    tau: float = 0.01
    """Polyak averaging coefficient of the targets of F and B, in [0, 1]."""
    width: int = 1024
    """Width of F and of the policy."""
    embedding: int = 512
    """Size of each of the two embeddings in F and in the policy (our choice for the policy)."""
    backward_width: int = 256
    """Width of B."""
    orthonormality: float = 1.0
    """Weight of the orthonormality loss."""
    goal_ratio: float = 0.5
    """Probability that z is B(s) of a state s of the batch rather than a random direction."""
    actor_noise: float = 0.2
    """Standard deviation of the noise on the policy's actions, in both losses."""
    actor_noise_clip: float = 0.3
    """Limit to which the noise on the policy's actions is clipped."""
    actor_agg: Literal["min", "mean"] = "min"
    """Aggregation of the two F in the policy's loss; min equals the published pessimism of 0.5."""
    target_agg: Literal["mean", "min"] = "mean"
    """Aggregation of the two target F in the measure's loss."""
    alpha: float = 0.0
    """Weight of behaviour cloning in the policy's loss: 0 in metamotivo; must be tuned for narrow data."""
    n_step: int = 1
    """Number of steps between a state and its next state in the losses (our choice; 1 in the official code)."""
    terminations: bool = True
    """Whether a termination ends the future; False ignores terminations, which in OGBench depend on the task."""
    inference_samples: int = 50_000
    """Number of transitions from which the task is inferred."""
    reward_of: Literal["next", "current"] = "next"
    """The state to which a reward belongs: the next state in metamotivo, the current state in OGBench and InFOM."""
    reward_shift: float = 0.0
    """Shift of the rewards before the task is inferred (our choice); 1 turns OGBench's -1 and 0 into 0 and 1."""

    def __post_init__(self):
        convert_settings(self)
        for name in ("latent_dim", "n_step", "inference_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        for name in ("forward_lr", "backward_lr", "actor_lr"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"`{name}` must be above 0 and finite; got {getattr(self, name)}.")
        if self.batch_size < 2:
            raise ValueError(f"`batch_size` must be at least 2, since the loss is over pairs; got {self.batch_size}.")
        if not np.isfinite(self.reward_shift):
            raise ValueError(f"`reward_shift` must be finite; got {self.reward_shift}.")


def fb(
    *,
    observation_dim: int,
    action_dim: int,
    reward_range: tuple[float, float],
    config: FBConfig,
    key: Key,
) -> fz.Agent:
    """Builds the untrained FB agent."""
    del reward_range
    forward_key, backward_key, policy_key = jax.random.split(key, 3)
    with_latent = observation_dim + config.latent_dim
    network = partial(fz.EmbeddingNetwork, width=config.width, embedding=config.embedding)
    forward = fz.Ensemble.build(
        lambda key: network((with_latent, observation_dim + action_dim), config.latent_dim, key=key),
        2,
        key=forward_key,
    )
    backward = fz.EmbeddingNetwork(
        (observation_dim,),
        config.latent_dim,
        width=config.backward_width,
        embedding=config.backward_width,
        trunk_layers=0,
        key=backward_key,
    )
    no_task, noise = np.zeros(config.latent_dim), fz.SmoothingNoise(config.actor_noise, config.actor_noise_clip)
    return fz.Agent(
        critic=fz.ForwardBackward(
            forward,
            backward,
            no_task,
            discount=config.discount,
            orthonormality=config.orthonormality,
            latents=fz.LatentMixture(config.goal_ratio),
            noise=noise,
            aggregation=aggregation(config.actor_agg),
            target_aggregation=aggregation(config.target_agg),
        ),
        policy=fz.LatentPolicy(
            network((with_latent, observation_dim), action_dim, key=policy_key),
            no_task,
            alpha=config.alpha,
            noise=noise,
        ),
        update_rule=fz.AlternatingUpdate(
            fz.optimiser_per_field(forward=optax.adam(config.forward_lr), backward=optax.adam(config.backward_lr)),
            optax.adam(config.actor_lr),
        ),
        target_update=fz.PolyakAveraging(critic=config.tau, of_new=True),
    )


def reader(config: FBConfig) -> NStep:
    """Returns a reader of transitions over `n_step` steps."""
    return NStep(config.n_step, config.discount, terminations=config.terminations)


def to_task(agent: fz.Agent, task: Any, config: RunConfig) -> fz.Agent:
    """Returns the agent with the task of the run, which is inferred from the rewards of a fixed sample of the data."""
    drawn = task.dataset.sample(jax.random.key(0), config.agent.inference_samples)
    states = drawn.observation if config.agent.reward_of == "current" else drawn.next_observation
    return fz.infer_task(agent, states, drawn.reward + config.agent.reward_shift)


def check(config: RunConfig) -> None:
    """Checks the settings of a run.

    **Raises** `ValueError` if the run trains online or has a goal-conditioned task, and any error that `fb` raises for the
    settings.
    """
    if not is_reference(config.env_name) and task_name(config.env_name).goal_conditioned:
        raise ValueError(
            "`env_name` must be a single task for fb, which infers one task from its rewards and ignores sampled goals; "
            f"got {config.env_name}."
        )
    if config.online_steps:
        raise ValueError(f"`online_steps` must be 0 for fb, which trains without rewards; got {config.online_steps}.")
    buildable(fb)(config)


OGBENCH = {"terminations": False, "reward_of": "current", "reward_shift": 1.0}
"""The settings for OGBench, where rewards are -1 or 0 and depend on the current state, and terminations depend on the
task."""


def default(env_name: str | None) -> RunConfig:
    """The settings published for DeepMind Control's walker, applied to an OGBench task, with 3M updates."""
    return RunConfig(
        env_name=env_name or "pointmaze-medium-navigate-singletask-v0",
        agent=FBConfig(**OGBENCH),
        normalize_observations=True,
        offline_steps=3_000_000,
    )


def quickstart(env_name: str | None) -> RunConfig:
    """Trains small networks on a maze in minutes on two cores. Collects data if none are found."""
    config = FBConfig(
        forward_lr=1e-3,
        backward_lr=1e-3,
        actor_lr=1e-3,
        batch_size=256,
        latent_dim=50,
        discount=0.995,
        n_step=20,
        width=128,
        embedding=64,
        backward_width=128,
        orthonormality=100.0,
        alpha=0.2,
        **OGBENCH,
    )
    return RunConfig(
        env_name=env_name or "pointmaze-medium-navigate-singletask-v0",
        agent=config,
        normalize_observations=True,
        run_group="quickstart",
        offline_steps=10_000,
        log_interval=1_000,
        eval_interval=5_000,
        save_interval=5_000,
        eval_episodes=20,
        collect_episodes=150,
    )


RECIPE = Recipe(
    name="fb",
    build=fb,
    presets={"default": default, "quickstart": quickstart},
    check=check,
    batch_source=partial(standard_batches, reader=reader),
    to_task=to_task,
)

if __name__ == "__main__":
    run_recipe(RECIPE)
