r"""Batch sources sample the transitions for an update; readers determine what is read for each transition.

| batch source | samples from |
|---|---|
| `UniformBatches` | the dataset |
| `SeededReplay` | a replay buffer that is initialised with the dataset |
| `BalancedReplay` | the dataset for one half of the batch, the replay buffer for the other half |

| reader | reads |
|---|---|
| `NStep` | the n-step return that starts at the transition; with n = 1, the transition itself |
| `ActionChunks` | the action chunk that starts at the transition, with its n-step return |
| `GeometricFuture` | the transition, the next action, and a future state |
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import EpisodeDataset, EpisodeStore, TransitionReader
from floqzoo.records import Transition
from floqzoo.tasks.replay_buffer import ReplayBuffer
from floqzoo.typing import Array, Key


class NStep(eqx.Module):
    r"""Reads transitions with n-step returns.

    The reward is the n-step return $\sum_{k<m} \gamma^k d_{<k} r_{t+k}$. The next observation is $s_{t+m}$, and the
    discount is $\gamma^{m-1} d_{<m}$. Here, $d_{<k}$ is the product of the discounts of the first $k$ steps, which is 0
    after a termination, and $m$ is $n$, or the number of remaining steps if the episode ends sooner. At a truncation,
    or at the latest transition of an episode that is still being collected, the return bootstraps from the value of the
    last known state. If next actions are read, it is the last state whose action is known.

    - `n`: The number of steps, at least 1.
    - `discount`: $\gamma$ in [0, 1), the discount of the critic.
    - `next_action`: Whether to read the data's action at $s_{t+m}$.
    - `terminations`: Whether a termination ends the return. If False, terminations are ignored, so every $d_{<k}$ is 1.
      OGBench's data have terminations where the task of the environment is solved, although the episode continues and the
      dynamics do not depend on the task.

    **Raises** `ValueError` if a number is out of range.

    Source: Sutton and Barto, Reinforcement Learning, chapter 7.
    """

    n: int = eqx.field(static=True, default=1)
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    next_action: bool = eqx.field(static=True, default=False)
    terminations: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if self.n < 1:
            raise ValueError(f"`n` must be at least 1; got {self.n}.")
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    @property
    def reads_next_action(self) -> bool:
        """Whether the reader reads next actions."""
        return self.next_action

    def apply_terminations(self, step: Transition) -> Transition:
        """Returns single steps with a discount of 1 if terminations are ignored, and otherwise unchanged."""
        return step if self.terminations else replace(step, discount=jnp.ones_like(step.discount))

    def read(self, store: EpisodeStore, at: Int[Array, " batch"], key: Key) -> Transition:
        """Reads the n-step returns that start at the transitions with addresses `at`; the key is not used."""
        del key
        first = self.apply_terminations(store.transition(at))
        if self.n == 1:
            return first if self.next_action else replace(first, next_action=None)
        further = jnp.minimum(store.steps_left(at), self.n - 1)
        steps = jnp.arange(self.n, dtype=at.dtype)

        def read(k: Int[Array, ""]) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
            step = self.apply_terminations(store.transition(store.later(at, jnp.minimum(k, further))))
            return step.reward, step.discount

        rewards, discounts = jax.vmap(read)(steps)
        powers = self.discount.value.astype(rewards.dtype) ** steps.astype(rewards.dtype)
        kept = jnp.cumprod(discounts, axis=0)  # the product of the discounts of steps 0 to k
        before = jnp.concatenate([jnp.ones_like(kept[:1]), kept[:-1]])
        inside = steps[:, None] <= further[None]
        last = store.transition(store.later(at, further))
        return Transition(
            observation=first.observation,
            action=first.action,
            reward=jnp.sum(jnp.where(inside, powers[:, None] * before * rewards, 0), axis=0),
            discount=powers[further] * jnp.take_along_axis(kept, further[None], axis=0)[0],
            next_observation=last.next_observation,
            next_action=last.next_action if self.next_action else None,
        )


class ActionChunks(eqx.Module):
    r"""Reads action chunks $(a_t, \dots, a_{t+h-1})$ as single actions, with the $h$-step returns of `NStep`.

    A critic of chunks therefore computes its targets $y = \sum_{k<h} \gamma^k d_{<k} r_{t+k} + \gamma^h d_{<h}
    Q(s_{t+h}, a')$ with the same code as a critic of single actions; $d_{<k}$ is defined as in `NStep`.

    At the end of an episode, or at the latest transition of an episode that is still being collected, the chunk is
    padded with its last action, and `valid` is 0 for the padded steps. Behaviour cloning ignores the padded steps, and
    TD losses ignore the whole chunk. With $h = 1$ nothing is padded, `valid` is absent, and the batch is the same as
    with `NStep(1)`.

    - `length`: The number $h$ of actions in a chunk, at least 1.
    - `discount`: $\gamma$ in [0, 1), the discount of the critic.

    **Raises** `ValueError` if a number is out of range.

    Source: QC (arXiv 2507.07969). QC's code also sums the rewards after a termination, up to $h$ steps, and pads with
    actions of the next episode. Here, rewards after a termination are ignored, and nothing is read from other episodes.
    """

    length: int = eqx.field(static=True)
    discount: Hyperparameter = eqx.field(converter=hyperparameter)

    def __check_init__(self):
        if self.length < 1:
            raise ValueError(f"`length` must be at least 1; got {self.length}.")
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    @property
    def reads_next_action(self) -> bool:
        """False, because the next chunk of the data is not read."""
        return False

    def read(self, store: EpisodeStore, at: Int[Array, " batch"], key: Key) -> Transition:
        """Reads the chunks that start at the transitions with addresses `at`; the key is not used."""
        returns = NStep(self.length, self.discount).read(store, at, key)
        if self.length == 1:
            return returns
        form = len(at), self.length
        steps = jnp.broadcast_to(jnp.arange(self.length, dtype=at.dtype), form)
        left = store.steps_left(at)[:, None]
        addresses = store.later(jnp.broadcast_to(at[:, None], form), jnp.minimum(steps, left))
        actions = store.transition(addresses).action
        valid = (steps <= left).astype(returns.reward.dtype)
        return replace(returns, action=actions.reshape(len(at), -1), valid=valid)


class GeometricFuture(eqx.Module):
    r"""Reads each transition with the data's next action and a future state, drawn from the rest of the episode.

    The future state of $(s_i, a_i, s_{i+1})$ is $s_{i+1+k}$, where $k \ge 1$ is drawn from a geometric distribution,
    $\Pr(k) \propto (1 - \gamma) \gamma^{k-1}$. The distribution is truncated at the last known state of the episode: if
    $L$ transitions follow, $k \le L$. Near the end of an episode, future states are therefore biased towards the next
    few states; bootstrapped targets do not have this bias. If $s_{i+1}$ is the last state, it is also the future state.

    - `discount`: $\gamma$ in [0, 1), the discount of the geometric distribution.

    **Raises** `ValueError` if the discount is outside [0, 1).
    """

    discount: Hyperparameter = eqx.field(converter=hyperparameter)

    def __check_init__(self):
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    @property
    def reads_next_action(self) -> bool:
        """True, because the next action of the data is read."""
        return True

    def read(self, store: EpisodeStore, at: Int[Array, " batch"], key: Key) -> Transition:
        """Reads the transitions with addresses `at`, with their next actions and future states."""
        step = store.transition(at)
        ahead = _steps_ahead(key, store.steps_left(at), jnp.asarray(self.discount.value))
        future = store.transition(store.later(at, ahead)).next_observation
        return eqx.tree_at(lambda step: step.future, step, future, is_leaf=lambda leaf: leaf is None)


def _steps_ahead(key: Key, left: Int[Array, " batch"], discount: Float[Array, ""]) -> Int[Array, " batch"]:
    """Samples from the truncated geometric distribution; 0 if no step is left."""
    share = jax.random.uniform(key, left.shape, discount.dtype) * (1 - discount ** left.astype(discount.dtype))
    ahead = 1 + (jnp.log1p(-share) / jnp.log(discount)).astype(left.dtype)
    return jnp.minimum(ahead, left)


class UniformBatches(eqx.Module):
    """Samples transitions uniformly from the dataset, with replacement.

    - `reader`: Determines what is read for each sampled transition.
    """

    reader: TransitionReader = NStep()

    def draw_batch(self, dataset: Any, replay: Any, place: Int[Array, ""], key: Key, batch_size: int) -> Transition:
        """Samples a batch from the dataset; the replay buffer is not used.

        If the dataset is not an [`EpisodeDataset`][floqzoo.protocols.EpisodeDataset], single transitions are drawn with
        its method `sample`.

        **Raises** `ValueError` if the dataset is not an `EpisodeDataset` and the reader is not `NStep(1)`.
        """
        del replay, place
        if not isinstance(dataset, EpisodeDataset):
            if not (isinstance(self.reader, NStep) and self.reader.n == 1 and not self.reader.next_action):
                raise ValueError(
                    f"`reader` must be NStep(1) for a {type(dataset).__name__}, which provides only single transitions "
                    f"because it is not an EpisodeDataset; got {self.reader}."
                )
            return self.reader.apply_terminations(dataset.sample(key, batch_size))
        return _read_dataset(self.reader, dataset, key, batch_size)


class SeededReplay(eqx.Module):
    r"""Samples from a replay buffer that is initialised with the dataset and then filled with new transitions.

    If the dataset has $D$ transitions and $n$ new transitions have been added, samples are drawn uniformly, with
    replacement, from the latest $\min(D + n, \text{capacity})$ transitions. A full buffer thus drops the oldest
    transitions, starting with the transitions of the dataset. The dataset is not copied.

    - `capacity`: The maximum number of transitions, at least the size of the dataset. The argument `replay` of
      `draw_batch` must be able to hold that many transitions, or all new transitions of the run if these are fewer.
    - `reader`: Determines what is read for each sampled transition.

    **Raises** `ValueError` if the capacity is below 1.

    Source: the official code of FQL (arXiv 2502.02538), `--online_steps` without `--balanced_sampling`.
    """

    capacity: int = eqx.field(static=True)
    reader: TransitionReader = NStep()

    def __check_init__(self):
        if self.capacity < 1:
            raise ValueError(f"`capacity` must be at least 1; got {self.capacity}.")

    def draw_batch(
        self, dataset: Any, replay: ReplayBuffer, place: Int[Array, ""], key: Key, batch_size: int
    ) -> Transition:
        """Samples a batch from the dataset and the replay buffer, as if both were a single buffer."""
        age_key, old_key, new_key = jax.random.split(key, 3)
        dataset = _readable(dataset, self.reader)
        next_actions = self.reader.reads_next_action
        known = replay.known(next_actions)[place]
        age = jax.random.randint(
            age_key, (batch_size,), 0, jnp.minimum(dataset.size + known, self.capacity), known.dtype
        )
        is_new = age < known
        of_seed = replay.of_seed(place, next_actions)
        new = self.reader.read(of_seed, of_seed.of_age(jnp.where(is_new, age, 0)), new_key)
        old_at = dataset.starts[jnp.where(is_new, 0, dataset.size - 1 - (age - known))]
        old = self.reader.read(dataset, old_at, old_key)
        return jax.tree.map(lambda new, old: _choose(is_new, new, old), new, old)


class BalancedReplay(eqx.Module):
    """Samples half of each batch from the dataset and half from the replay buffer, regardless of their sizes.

    - `reader`: Determines what is read for each sampled transition.

    Source: RLPD (arXiv 2302.02948), section 4.1, which calls it symmetric sampling.
    """

    reader: TransitionReader = NStep()

    def draw_batch(
        self, dataset: Any, replay: ReplayBuffer, place: Int[Array, ""], key: Key, batch_size: int
    ) -> Transition:
        """Samples a batch, uniformly and with replacement; the first half is from the dataset.

        **Raises** `ValueError` if `batch_size` is odd.
        """
        if batch_size % 2:
            raise ValueError(
                f"`batch_size` must be even for a BalancedReplay, which draws two halves; got {batch_size}."
            )
        dataset_key, age_key, new_key = jax.random.split(key, 3)
        half, next_actions = batch_size // 2, self.reader.reads_next_action
        age = jax.random.randint(age_key, (half,), 0, replay.size(next_actions)[place], replay.written.dtype)
        of_seed = replay.of_seed(place, next_actions)
        old = _read_dataset(self.reader, dataset, dataset_key, half)
        new = self.reader.read(of_seed, of_seed.of_age(age), new_key)
        return jax.tree.map(lambda old, new: jnp.concatenate([old, new]), old, new)


def _read_dataset(reader: TransitionReader, dataset: EpisodeDataset, key: Key, count: int) -> Transition:
    read_key, dataset = jax.random.fold_in(key, 0), _readable(dataset, reader)
    at = dataset.starts[jax.random.randint(key, (count,), 0, dataset.size)]
    return reader.read(dataset, at, read_key)


def _readable(dataset: EpisodeDataset, reader: TransitionReader) -> EpisodeDataset:
    """The dataset, without transitions that lack the next action if the reader needs it."""
    return dataset.with_next_actions() if reader.reads_next_action else dataset


def _choose(is_new: Array, new: Array, old: Array) -> Array:
    return jnp.where(is_new.reshape(is_new.shape + (1,) * (new.ndim - 1)), new, old)
