"""Making the environments from names, as `gymnasium.make` does, and making them known to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium

from ..errors import UnknownNameError, UsageError
from ..node import Policy
from ..registry import make_task
from ..task import Question, Task, split_size
from ..topology import Topology
from ..vector import ENDLESS
from .env import PRICE, TopologyEnv
from .evaluation import Evaluator, Played, Recorded
from .growth_env import GrowthEnv
from .spaces import EdgeSpace, SearchSpace, ShapeSpace, TemplateSpace


def longest_answers(task: Task, space: SearchSpace) -> int:
    """The token budget of a question: what the largest network of the space can sample at most."""
    return space.largest.calls * task.max_message_tokens


def question_pool(task: Task, split: str = "train", most: int = 1000) -> list[Question]:
    """Up to `most` questions of a split, the first ones. Raises UsageError where it is empty."""
    size = split_size(task, split)
    if size == 0:
        raise UsageError(f"the split {split!r} of task {task.id} is empty; choose another")
    return [task.question(split, index) for index in range(min(most, ENDLESS if size is None else size))]


def topology_env(
    task: str | Task,
    policy: Policy | None = None,
    *,
    space: str | SearchSpace = "edges",
    base: str | Topology = "1-1-1-1/all",
    width: int = 3,
    rounds: int = 3,
    templates: Sequence[str] = ("1", "1-1", "1-1-1", "2-2-1"),
    transcripts: Sequence[str] = (),
    split: str = "train",
    price: float = PRICE,
    layerwise: bool = False,
    **task_options: Any,
) -> TopologyEnv:
    """A TopologyEnv of a task, with whoever speaks at the nodes; what `gymnasium.make` calls.

    `base` belongs to the space `edges`, `width` and `rounds` to `shape`, `templates` to `templates`. With `transcripts`
    nobody speaks: the topologies recorded there are the templates. Raises UsageError where neither is given.
    """
    problem = make_task(task, **task_options)
    evaluator: Evaluator
    if transcripts:
        evaluator = recorded = Recorded.from_transcripts(transcripts)
        chosen: SearchSpace = TemplateSpace(recorded.topologies)
        questions: Sequence[Question] = recorded.questions
    elif policy is not None:
        made = {
            "edges": lambda: EdgeSpace(base),
            "shape": lambda: ShapeSpace(width, rounds),
            "templates": lambda: TemplateSpace(templates),
        }
        if isinstance(space, str) and space not in made:
            raise UnknownNameError("search space", space, made)
        chosen = made[space]() if isinstance(space, str) else space
        evaluator, questions = Played(problem, policy, split), question_pool(problem, split)
    else:
        raise UsageError("nobody speaks at the nodes: give a policy, or transcripts of what was said")
    return TopologyEnv(
        chosen, evaluator, questions, longest_answers(problem, chosen), price=price, layerwise=layerwise
    )  # fmt: skip


def growth_env(**given: Any) -> GrowthEnv:
    """A GrowthEnv; what `gymnasium.make` calls."""
    return GrowthEnv(**given)


def register_search_environments() -> None:
    """Make the environments known to gymnasium; called once when neuromas_env is imported."""
    for name in ("edges", "shape", "templates"):
        env_id = f"neuromas/Topology{name.title()}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point=f"{__name__}:topology_env", kwargs={"space": name})
    if "neuromas/Growth-v0" not in gymnasium.registry:
        gymnasium.register("neuromas/Growth-v0", entry_point=f"{__name__}:growth_env")
