"""The `floqzoo convert` command."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro


if TYPE_CHECKING:
    from floqzoo.tasks.recorded_episodes import RecordedEpisodes

_Bound = Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="FLOAT...")]


def ogbench(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.npz")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")],
    /,
    *,
    env_name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None,
) -> None:
    """Converts an OGBench npz file, official or collected.

    Args:
        source: The file to convert.
        out: The file to write.
        env_name: The single-task environment whose rewards are computed for the data, such as
            cube-single-play-singletask-v0; by default the data keep the file's own rewards and masks.
    """
    from floqzoo.tasks.convert import episodes_from_ogbench

    _convert(out, lambda: episodes_from_ogbench(source, env_name=env_name))


def d4rl(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.hdf5")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")],
    /,
    *,
    unordered: bool = False,
    drop_last: bool = False,
    action_low: _Bound = None,
    action_high: _Bound = None,
) -> None:
    """Converts a D4RL HDF5 file. Needs the extra floqzoo[d4rl].

    Args:
        source: The file to convert.
        out: The file to write.
        unordered: Whether the file's rows are unordered, as in a replay buffer.
        drop_last: Whether to drop the last transition of each truncated episode if the file has no next_observations.
        action_low: The lower bound of actions: one number, or one for each coordinate; by default -1.
        action_high: The upper bound of actions; by default 1.
    """
    from floqzoo.tasks.convert import episodes_from_d4rl

    low, high = _bound(action_low), _bound(action_high)
    _convert(
        out,
        lambda: episodes_from_d4rl(
            source,
            unordered=unordered,
            drop_last=drop_last,
            action_low=-1.0 if low is None else low,
            action_high=1.0 if high is None else high,
        ),
    )


def minari(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")],
    /,
    *,
    observation_keys: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY...")] = (),
    action_low: _Bound = None,
    action_high: _Bound = None,
) -> None:
    """Converts a Minari dataset that is on this machine. Needs the extra floqzoo[minari].

    Args:
        source: The name of the dataset, such as D4RL/pen/human-v2, or its folder.
        out: The file to write.
        observation_keys: The entries to concatenate, if observations are dictionaries.
        action_low: The lower bound of actions: one number, or one for each coordinate; by default the lower bound of
            the action space.
        action_high: The upper bound of actions; by default the upper bound of the action space.
    """
    from floqzoo.tasks.convert import episodes_from_minari

    _convert(
        out,
        lambda: episodes_from_minari(
            source,
            observation_keys=observation_keys,
            action_low=_bound(action_low),
            action_high=_bound(action_high),
        ),
    )


def lerobot(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")],
    /,
    *,
    observation_keys: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY...")] = ("observation.state",),
    done: Annotated[Literal["terminated", "truncated"] | None, tyro.conf.arg(metavar="MEANING")] = None,
    constant_reward: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None,
    drop_last: bool = False,
    action_low: _Bound = None,
    action_high: _Bound = None,
) -> None:
    """Converts a LeRobot dataset, without its images. Needs the extra floqzoo[lerobot].

    Args:
        source: The folder that contains meta/info.json and data/.
        out: The file to write.
        observation_keys: The numeric columns to concatenate.
        done: What next.done means in data without next.truncated: terminated or truncated.
        constant_reward: The reward for each step, for data without next.reward.
        drop_last: Whether to drop the last transition of each truncated episode, whose next observation is not in the
            data.
        action_low: The lower bound of actions: one number, or one for each coordinate; by default the minimum of each
            coordinate in the data.
        action_high: The upper bound of actions; by default the maximum of each coordinate in the data.
    """
    from floqzoo.tasks.convert import episodes_from_lerobot

    _convert(
        out,
        lambda: episodes_from_lerobot(
            source,
            observation_keys=observation_keys,
            done=done,
            constant_reward=constant_reward,
            drop_last=drop_last,
            action_low=_bound(action_low),
            action_high=_bound(action_high),
        ),
    )


def gymnasium(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")],
    /,
    *,
    episodes: int = 100,
    seed: int = 0,
    policy: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
    max_episode_steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
) -> None:
    """Records episodes in a registered Gymnasium environment.

    Args:
        source: The name of the environment, such as Pendulum-v1.
        out: The file to write.
        episodes: The number of episodes to play.
        seed: The seed of the environment and the policy.
        policy: A function that takes an observation and a NumPy generator, and returns an action; its file is executed.
            By default actions are uniformly random.
        max_episode_steps: The maximum number of steps in an episode, for environments without a step limit of their
            own.
    """
    from floqzoo.tasks.convert import record_episodes
    from floqzoo.tasks.own_code import named_in_own_code

    _convert(
        out,
        lambda: record_episodes(
            _registered(source),
            None if policy is None else named_in_own_code(policy, "`policy`"),
            episodes=episodes,
            seed=seed,
            max_episode_steps=max_episode_steps,
        ),
    )


def _subcommand(function: Callable[..., None]) -> Any:
    return Annotated[Any, tyro.conf.subcommand(name=function.__name__, constructor=function)]


_Format = Union[tuple(_subcommand(function) for function in (ogbench, d4rl, minari, lerobot, gymnasium))]  # noqa: UP007


def convert(format: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[_Format]]) -> None:  # pyright: ignore
    """Converts another project's dataset to one npz file of recorded episodes, and prints a summary.

    No transition, reward or termination of the source is lost, except for the transitions that --drop_last drops.
    Inconsistent data are rejected. In Python, floqzoo.tasks.read_dataset reads the file for a task of your own.
    """


def _convert(out: Path, read: Callable[[], "RecordedEpisodes"]) -> None:
    from floqzoo.tasks.episode_file import read_dataset, require_new_npz, write_episodes
    from floqzoo.tasks.layouts import summarise

    out = out.expanduser()
    require_new_npz(out)
    write_episodes(out, read())
    # The summary is that of the written file, not of the data in memory.
    print(summarise(read_dataset(out)))
    print(f"dataset: {out}")


def _bound(numbers: tuple[float, ...] | None) -> Any:
    return numbers[0] if numbers is not None and len(numbers) == 1 else numbers


def _registered(name: str) -> Callable[[], Any]:
    import gymnasium

    def make() -> Any:
        try:
            return gymnasium.make(name)
        except gymnasium.error.Error as error:
            raise ValueError(f"Gymnasium cannot make {name!r}: {error}") from error

    return make
