"""Searching for a network's graph as an environment: topologies are actions, and their score on a question is reward.

Any library of reinforcement learning that speaks gymnasium can search here; `baselines/architecture` holds the
optimisers of this project, the batched form for stable-baselines3, and the command. It stands in this package because
it needs no torch: a search only needs somebody who speaks at the nodes.
"""

from __future__ import annotations

from .embedding import Embedding, hashed_words
from .env import TopologyEnv
from .evaluation import Evaluation, Evaluator, Played, Recorded
from .growth_env import GROWTH_ACTIONS, GrowthEnv, Stage, TrainStage
from .making import growth_env, register_search_environments, topology_env
from .spaces import SPACES, EdgeSpace, SearchSpace, ShapeSpace, TemplateSpace, space_from_json

__all__ = [
    "GROWTH_ACTIONS",
    "SPACES",
    "EdgeSpace",
    "Embedding",
    "Evaluation",
    "Evaluator",
    "GrowthEnv",
    "Played",
    "Recorded",
    "SearchSpace",
    "ShapeSpace",
    "Stage",
    "TemplateSpace",
    "TopologyEnv",
    "TrainStage",
    "growth_env",
    "hashed_words",
    "register_search_environments",
    "space_from_json",
    "topology_env",
]
