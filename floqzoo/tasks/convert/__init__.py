"""Converts datasets of other projects to recorded episodes. Inconsistent data raise an error.

Importing this package does not import the libraries that read these formats.
"""

from floqzoo.tasks.convert.from_d4rl import episodes_from_d4rl as episodes_from_d4rl
from floqzoo.tasks.convert.from_gymnasium import record_episodes as record_episodes
from floqzoo.tasks.convert.from_lerobot import episodes_from_lerobot as episodes_from_lerobot
from floqzoo.tasks.convert.from_minari import episodes_from_minari as episodes_from_minari
from floqzoo.tasks.convert.from_ogbench import episodes_from_ogbench as episodes_from_ogbench
