"""Runs that two cores finish in minutes."""

from typing import Any

from floqzoo.training.configuration import RunConfig


def small_run(env_name: str | None, agent: Any) -> RunConfig:
    """45,000 updates of a small agent, on data collected on this machine where there are none; cube-single unless
    `env_name` says otherwise."""
    return RunConfig(
        env_name=env_name or "cube-single-play-singletask-task1-v0",
        agent=agent,
        run_group="quickstart",
        offline_steps=45_000,
        log_interval=1_000,
        eval_interval=15_000,
        save_interval=15_000,
        collect_episodes=150,
    )
