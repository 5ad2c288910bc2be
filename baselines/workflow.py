"""What hand-designed systems need beyond a topology and an instruction: a few declared extensions, and no loops of
their own.

A workflow is an ordinary network on the environment. Each of its nodes may have

    instruction   what it is told, on top of the task;
    temperature   how it is sampled; 0 takes the likeliest token;
    hears         which of the messages on its incoming edges reach it, question by question: a routing rule;
    computed      a text in place of a call, or None to make the call: votes, choices, and stop rules. A node that has
                  nothing left to do passes on what stands, at no cost.

`hears` and `computed` are pure functions of the request, so that every episode can be replayed from its transcript, and
what a node computes is metered as no call and no token.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from neuromas_env.errors import UnknownNameError
from neuromas_env.node import Incoming, Message, NodeRequest, Policy
from neuromas_env.task import Question, Task
from neuromas_env.topology import Topology

from .base import Context, Method, Sampled, System

if TYPE_CHECKING:
    from algorithms.backbone import Backbone

Computed = Callable[[NodeRequest], str | None]
Hears = Callable[[NodeRequest], Sequence[Incoming]]


@dataclass(frozen=True)
class Node:
    """What one node of a workflow does (see the module). Without any of it, it is a node of the bare backbone."""

    instruction: str = ""
    temperature: float = 0.0
    hears: Hears | None = None
    computed: Computed | None = None


@dataclass(frozen=True)
class Workflow:
    """The policy of a hand-designed system. `speak(temperature)` answers for every node that makes a call."""

    nodes: Mapping[str, Node]
    speak: Callable[[float], Policy]

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        messages: list[Message | None] = []
        asked: dict[float, list[tuple[int, NodeRequest]]] = {}
        for place, request in enumerate(requests):
            node = self.nodes[request.agent]
            text = node.computed(request) if node.computed else None
            messages.append(None if text is None else Message(text, finish_reason="scripted", calls=0))
            if text is None:
                heard = tuple(node.hears(request)) if node.hears else request.messages
                group = asked.setdefault(node.temperature, [])
                group.append((place, dataclasses.replace(request, messages=heard)))
        for temperature, group in asked.items():
            spoken = self.speak(temperature).act([request for _, request in group])
            for (place, _), message in zip(group, spoken, strict=True):
                messages[place] = message
        return [message for message in messages if message is not None]


def frozen(backbone: Backbone, seed: int) -> Callable[[float], Policy]:
    """The bare backbone at every node, for `Workflow.speak`; nodes of one question share its prompt's cache."""
    from algorithms import Network

    network = Network.create("1", backbone=backbone, rank=0)

    def speak(temperature: float) -> Policy:
        return Sampled(network, temperature, seed)

    return speak


def workflow(
    topology: Topology, nodes: Mapping[str, Node], context: Context, speak: Callable[[float], Policy] | None = None
) -> System:
    """The system of a workflow on the frozen backbone of `context` (or of whoever `speak`s).

    Nodes that are not in `nodes` are plain. Raises UnknownNameError for a node that the topology has not.
    """
    for node in nodes:
        if node not in topology.nodes:
            raise UnknownNameError("node of the workflow", node, topology.nodes)
    whole = {node: nodes.get(node, Node()) for node in topology.nodes}
    instructions = {node: part.instruction for node, part in whole.items() if part.instruction}
    return System(topology, Workflow(whole, speak or frozen(context.backbone, context.seed)), instructions)


class WorkflowMethod(Method):
    """A hand-designed system: subclasses say in `system` what it is made of."""

    greedy: ClassVar[bool] = False
    """Whether no node of it samples, so that all seeds give the same answers."""

    @property
    def deterministic(self) -> bool:
        return self.greedy

    @abstractmethod
    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        """The network on the frozen backbone of `context`, or on whoever speaks."""

    def prepare(self, context: Context) -> System:
        return self.system(context)


class Reader:
    """Reads answers as the task does, in rules that look at messages. It never holds a reference answer."""

    def __init__(self, task: Task, questions: Sequence[Question]) -> None:
        self._task = task
        self._questions = {question.id: dataclasses.replace(question, answer="") for question in questions}

    def __call__(self, request: NodeRequest, text: str) -> str | None:
        """The answer in `text` to the question of `request`, or None where none can be read."""
        return self._task.parse(self._questions[request.question_id], text)
