"""Checks that the settings of a run suit its observations, which are either pixels or state vectors."""

from floqzoo.protocols import Task
from floqzoo.runs.configuration import RunConfig
from floqzoo.tasks.pixel_dataset import PixelDataset


def require_pixels(config: RunConfig, task: Task) -> None:
    """Checks that the settings of a run suit the observations of its task, which are either pixels or state vectors.

    **Raises** `ValueError` for an incompatible setting; the message says what is required.
    """
    encoder = getattr(config.agent, "encoder", None)
    if not isinstance(task.dataset, PixelDataset):
        for name, value, plain in (
            ("agent.encoder", encoder, None),
            ("frame_stack", config.frame_stack, 1),
            ("p_aug", config.p_aug, 0.0),
        ):
            if value != plain:
                raise ValueError(f"`{name}` must be {plain} on {config.env_name}, which has no pixels; got {value}.")
        return
    if encoder is None:
        known = "set --agent.encoder=impala_small" if hasattr(config.agent, "encoder") else "this method has no encoder"
        raise ValueError(f"{config.env_name} has observations of pixels, which need an encoder; {known}.")
    for name, value in (
        ("normalize_observations", config.normalize_observations),
        ("online_steps", config.online_steps),
    ):
        if value:
            raise ValueError(f"`{name}` must be {type(value)(0)} on {config.env_name}, which has pixels; got {value}.")
