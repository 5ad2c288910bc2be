"""A network with a known best edge set: ten agents and a decision, 55 possible edges, some of them planted.

A question names one edge. Every node tells whom it heard, and passes on what it was told; so the output knows which
edges there are among those that can reach it, and says whether the named one is. That is right where an edge is there
just if it is planted. The expected score of an edge set is the share of edges that are as planted, once nodes that the
output cannot hear are left out; each node costs tokens. Every node has a planted edge, and a price of 0.1 is less than
what losing one costs, so that the planted set is the best one: a test tries its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuromas_env import Message, NodeRequest, Question, Task, Topology
from neuromas_env.search import EdgeSpace, Evaluation

TOKENS = 8
"""What a node says, in tokens."""


class Wires(Task):
    """Is the edge one that is planted?"""

    name = "wires"
    max_message_tokens = TOKENS

    def __init__(self, base: Topology, planted: Sequence[tuple[str, str]]) -> None:
        self.base, self.planted = base, set(planted)

    def size(self, split: str) -> int | None:
        return len(self.base.edges)

    def question(self, split: str, index: int) -> Question:
        sender, receiver = edge = self.base.edges[index]
        return Question(f"wires/{index}", f"{sender}>{receiver}", "there" if edge in self.planted else "absent")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text or None


class Reporters:
    """Every node tells which edges it knows of; the output says whether the one that is asked about is there."""

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return [Message(self._say(request), token_ids=(0,) * TOKENS) for request in requests]

    def _say(self, request: NodeRequest) -> str:
        known = {word for message in request.messages for word in message.text.split()}
        known |= {f"{message.sender}>{request.agent}" for message in request.messages}
        if request.position.is_output:
            return "there" if request.task in known else "absent"
        return " ".join(sorted(known)) or "nobody"


class Planted:
    """The planted problem of a seed; as an evaluator it gives what playing `Reporters` gives, without playing."""

    def __init__(self, seed: int, nodes: int = 11) -> None:
        self.space = EdgeSpace("-".join(["1"] * nodes) + "/all")
        rng = np.random.default_rng(seed)
        edges = self.space.base.edges
        while True:
            self.planted = [edge for edge, on in zip(edges, rng.random(len(edges)) < 0.5, strict=True) if on]
            if {sender for sender, _ in self.planted} == set(self.space.base.nodes[:-1]):
                break
        self.task = Wires(self.space.base, self.planted)
        self.questions = [self.task.question("train", index) for index in range(len(edges))]
        self.token_budget = nodes * TOKENS

    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        return [self._evaluation(*each) for each in zip(questions, topologies, strict=True)]

    def _evaluation(self, question: Question, topology: Topology) -> Evaluation:
        sender, _, receiver = question.prompt.partition(">")
        there = (sender, receiver) in topology.edges
        right = there == (question.answer == "there")
        return Evaluation(float(right), topology.num_nodes, TOKENS * topology.num_nodes)

    def value(self, topology: Topology, price: float) -> float:
        """The expected reward of a topology."""
        wrong = len(set(topology.edges) ^ set(self.planted))
        return 1 - wrong / len(self.questions) - price * topology.num_nodes * TOKENS / self.token_budget

    def best(self, price: float) -> float:
        return self.value(self.space.build([edge in self.planted for edge in self.space.base.edges]), price)

    def chance(self, price: float, draws: int = 2000) -> float:
        """The mean value of edge sets in which each edge is there with even chances."""
        rng = np.random.default_rng(0)
        masks = rng.random((draws, len(self.questions))) < 0.5
        return float(np.mean([self.value(self.space.build(mask), price) for mask in masks]))
