"""What a text network is, the tasks it solves, and how it is stepped and scored. Needs no torch."""

from __future__ import annotations

from .budget import Meter
from .curriculum import Curriculum
from .engine import Engine
from .env import TextNetworkEnv, env, parallel_env
from .episodes import EpisodeBatch, Turn, run_episodes
from .errors import (
    BackboneError,
    CheckpointError,
    DataFileError,
    EpisodeOverError,
    InvalidMessageError,
    NeuromasError,
    TopologyError,
    TranscriptError,
    UnknownNameError,
    UsageError,
)
from .node import Incoming, Message, NodeRequest, Policy, Position
from .registry import make_task, register_environments, register_task, task_names
from .search import register_search_environments
from .spaces import UnicodeText
from .task import SPLITS, Question, Score, Task
from .topology import Topology
from .vector import VectorTextNetworkEnv, vector_env

__all__ = [
    "SPLITS",
    "BackboneError",
    "CheckpointError",
    "Curriculum",
    "DataFileError",
    "Engine",
    "EpisodeBatch",
    "EpisodeOverError",
    "Incoming",
    "InvalidMessageError",
    "Message",
    "Meter",
    "NeuromasError",
    "NodeRequest",
    "Policy",
    "Position",
    "Question",
    "Score",
    "Task",
    "TextNetworkEnv",
    "Topology",
    "TopologyError",
    "TranscriptError",
    "Turn",
    "UnicodeText",
    "UnknownNameError",
    "UsageError",
    "VectorTextNetworkEnv",
    "env",
    "make_task",
    "parallel_env",
    "register_task",
    "run_episodes",
    "task_names",
    "vector_env",
]

register_environments()
register_search_environments()
