"""Tasks and datasets: OGBench's, your own, and small tasks with exact solutions.

Importing this package imports neither OGBench nor MuJoCo nor gymnasium.
"""

from floqzoo.tasks.cell_maze import CellMaze as CellMaze
from floqzoo.tasks.collect import collect as collect
from floqzoo.tasks.convert import (
    episodes_from_d4rl as episodes_from_d4rl,
    episodes_from_lerobot as episodes_from_lerobot,
    episodes_from_minari as episodes_from_minari,
    episodes_from_ogbench as episodes_from_ogbench,
    record_episodes as record_episodes,
)
from floqzoo.tasks.dataset import Dataset as Dataset, make_dataset as make_dataset
from floqzoo.tasks.episode_file import (
    read_dataset as read_dataset,
    read_episodes as read_episodes,
    write_episodes as write_episodes,
)
from floqzoo.tasks.exact_field import ExactField as ExactField
from floqzoo.tasks.goal_dataset import GoalDataset as GoalDataset
from floqzoo.tasks.layouts import (
    DatasetSummary as DatasetSummary,
    dataset_from_episodes as dataset_from_episodes,
    dataset_from_states as dataset_from_states,
    dataset_from_transitions as dataset_from_transitions,
    summarise as summarise,
)
from floqzoo.tasks.linear_gaussian import LinearGaussian as LinearGaussian, Moments as Moments
from floqzoo.tasks.load import OGBenchTask as OGBenchTask, load as load
from floqzoo.tasks.names import TaskName as TaskName, task_name as task_name, task_names as task_names
from floqzoo.tasks.own_task import GymnasiumTask as GymnasiumTask, own_task as own_task
from floqzoo.tasks.pixel_dataset import PixelDataset as PixelDataset
from floqzoo.tasks.quadratic_reward import QuadraticReward as QuadraticReward
from floqzoo.tasks.read_ahead import ReadAhead as ReadAhead, ShardError as ShardError
from floqzoo.tasks.recorded_episodes import (
    EpisodeArrays as EpisodeArrays,
    RecordedEpisodes as RecordedEpisodes,
    concatenated_episodes as concatenated_episodes,
    episodes_from_states as episodes_from_states,
    episodes_from_transitions as episodes_from_transitions,
)
from floqzoo.tasks.replay_buffer import ReplayBuffer as ReplayBuffer
from floqzoo.tasks.ring import Ring as Ring
from floqzoo.tasks.scripts import SCRIPTS as SCRIPTS
from floqzoo.tasks.shard_download import download_shards as download_shards
from floqzoo.tasks.sharded_dataset import ShardedDataset as ShardedDataset
