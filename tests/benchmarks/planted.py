"""Problems whose best solution is known: edges, templates, shapes, and a way to grow, planted by a seed.

Edges: ten agents and a decision, 55 possible edges, some of them planted. A question names one edge. Every node tells
whom it heard, and passes on what it was told; so the output knows which edges there are among those that can reach it,
and says whether the named one is. That is right where an edge is there just if it is planted. The expected score of an
edge set is the share of edges that are as planted, once nodes that the output cannot hear are left out; each node costs
tokens. Every node has a planted edge, and a price of 0.1 is less than what losing one costs, so that the planted set is
the best one: a test tries all others on a smaller network.

Templates are some of these edge sets. Shapes: rounds, width and fan-in are planted, and each step away from one costs a
tenth of the score. Growth: after each stage one action is planted, which gains three times as much accuracy as another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np

from neuromas_env import Message, NodeRequest, Question, Task, Topology
from neuromas_env.search import EdgeSpace, Evaluation, ShapeSpace, Stage, TemplateSpace

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
        self.seed = seed
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

    def templates(self, count: int = 8) -> TemplateSpace:
        """Edge sets that differ from the planted one in 0, 4, 8, … edges, in random order."""
        rng = np.random.default_rng([self.seed, 1])
        best = np.array([edge in self.planted for edge in self.space.base.edges])
        found = []
        for flips in range(0, 4 * count, 4):
            mask = best.copy()
            mask[rng.choice(len(mask), flips, replace=False)] ^= True
            found.append(self.space.build(mask))
        rng.shuffle(found)
        return TemplateSpace(found)


class PlantedShape:
    """Rounds, width and fan-in, of which some are best. A question is right where its number is below the chance."""

    def __init__(self, seed: int) -> None:
        self.space = ShapeSpace(4, 4)
        rng = np.random.default_rng(seed)
        width = int(rng.integers(2, 4))
        self.planted = (int(rng.integers(1, 4)), width, int(rng.integers(0, width)))  # a fan-in that can be seen
        self.questions = [Question(str(number), str(number), "") for number in range(100)]
        self.token_budget = self.space.largest.calls * TOKENS
        self.chances: dict[Topology, float] = {}
        for shape in product(*map(range, self.space.action_space.nvec)):
            away = sum(abs(here - there) for here, there in zip(shape, self.planted, strict=True))
            topology = self.space.build(shape)  # which several shapes may build: the nearest of them counts
            self.chances[topology] = max(self.chances.get(topology, 0.0), 0.95 - 0.1 * away)

    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        return [
            Evaluation(float(int(question.id) < 100 * self.chances[topology]), topology.calls, TOKENS * topology.calls)
            for question, topology in zip(questions, topologies, strict=True)
        ]

    def value(self, topology: Topology, price: float) -> float:
        found = self(self.questions, [topology] * len(self.questions))
        return float(np.mean([each.score - price * each.tokens / self.token_budget for each in found]))

    def best(self, price: float) -> float:
        return max(self.value(topology, price) for topology in self.chances)

    def chance(self, price: float) -> float:
        shapes = product(*map(range, self.space.action_space.nvec))
        return float(np.mean([self.value(self.space.build(shape), price) for shape in shapes]))


class PlantedGrowth:
    """Three actions after stages of training, each of which gains accuracy: 0.15 where it is planted, else 0.05."""

    stages, token_budget, price = 4, 400, 0.1

    def __init__(self, seed: int) -> None:
        self.planted = np.random.default_rng(seed).choice(["continue", "widen", "deepen"], self.stages - 1).tolist()

    def __call__(self, path: Sequence[Topology]) -> Stage:
        accuracies = [0.1, 0.2]
        for place, (before, after) in enumerate(pairwise(path)):
            right = action_between(before, after) == self.planted[place]
            accuracies.append(accuracies[-1] + (0.15 if right else 0.05))
        return Stage(accuracies[-2], accuracies[-1], self.token_budget // self.stages)

    def earned(self, gains: Sequence[float]) -> float:
        return sum(gain * self.stages - self.price for gain in gains)

    def best(self) -> float:
        return self.earned([0.15] * len(self.planted))

    def chance(self) -> float:
        """The mean return of uniform actions, of which the last one may stop."""
        returns = []
        for actions in product(["continue", "widen", "deepen", "stop"], repeat=len(self.planted)):
            until = actions.index("stop") if "stop" in actions else len(actions)
            right = zip(actions[:until], self.planted, strict=False)
            returns.append(self.earned([0.15 if action == planted else 0.05 for action, planted in right]))
        return float(np.mean(returns))


def action_between(before: Topology, after: Topology) -> str:
    """The action that grew one topology to the other."""
    if len(after.layers) > len(before.layers):
        return "deepen"
    return "widen" if after.num_nodes > before.num_nodes else "continue"
