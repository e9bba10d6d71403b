"""Tasks and data: OGBench's environments, their datasets, and the collection of such datasets on this machine.

Importing this package imports neither OGBench nor MuJoCo nor gymnasium.
"""

from floqzoo.tasks.cell_maze import CellMaze as CellMaze
from floqzoo.tasks.collect import collect as collect
from floqzoo.tasks.dataset import Dataset as Dataset, make_dataset as make_dataset
from floqzoo.tasks.exact_field import ExactField as ExactField
from floqzoo.tasks.layouts import (
    DatasetSummary as DatasetSummary,
    EpisodeArrays as EpisodeArrays,
    dataset_from_episodes as dataset_from_episodes,
    dataset_from_states as dataset_from_states,
    dataset_from_transitions as dataset_from_transitions,
    summarise as summarise,
)
from floqzoo.tasks.linear_gaussian import LinearGaussian as LinearGaussian, Moments as Moments
from floqzoo.tasks.load import Task as Task, load as load
from floqzoo.tasks.names import TaskName as TaskName, task_name as task_name, task_names as task_names
from floqzoo.tasks.own_task import GymnasiumTask as GymnasiumTask, own_task as own_task
from floqzoo.tasks.quadratic_reward import QuadraticReward as QuadraticReward
from floqzoo.tasks.replay_buffer import ReplayBuffer as ReplayBuffer
from floqzoo.tasks.ring import Ring as Ring
from floqzoo.tasks.scripts import SCRIPTS as SCRIPTS
