"""What AgentNet learns (see agentnet.py): edge weights and memories, and where a question goes by them.

All of it is a pure function of the messages: a team never changes, `learn` and `forget` give another one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from neuromas_env.node import Incoming, NodeRequest

EXAMPLES, NEAREST, PRUNED = 3, 5, 0.3
EXECUTE, FORWARD, SPLIT = "execute", "forward", "split"
Stop = tuple[int, str | None]
"""An agent that had the question, and what it decided: None where it has yet to decide."""
Entry = tuple[float, str, str, bool]
"""How similar a remembered task is, the task, what was answered, and whether that was right."""


def node(agent: int, part: str, hop: int | None = None) -> str:
    return f"agent{agent + 1}.{part}" + ("" if hop is None else f"{hop + 1}")


def worded(form: str, **values: object) -> str:
    """`form` with each `{name}` in it replaced; other braces stay."""
    return re.sub(r"{(\w+)}", lambda found: str(values.get(found[1], found[0])), form)


def read_decision(text: str) -> tuple[str | None, int | None]:
    """The first of the three words in a router's text, and the first agent that it names (counted from 0)."""
    words = re.findall(r"[a-z]+|[0-9]+", text.lower()[:1000])
    action = next((word for word in words if word in (EXECUTE, FORWARD, SPLIT)), None)
    number = next((int(word[:9]) for word in words if word.isdecimal()), None)
    return action, None if number is None else number - 1


def similarity(first: str, second: str) -> float:
    """The share of all words of two texts that both have."""
    a, b = set(first.lower().split()), set(second.lower().split())
    return len(a & b) / max(len(a | b), 1)


@dataclass(frozen=True)
class Team:
    """What was learnt: the weight of each edge, and each agent's memory of (task, answer, whether it was right)."""

    weights: Sequence[Sequence[float]]
    memory: Sequence[Sequence[tuple[str, str, bool]]]
    hops: int
    seed: int

    @cached_property
    def _found(self) -> dict[tuple[int, str], list[Entry]]:
        return {}

    def nearest(self, agent: int, task: str) -> list[Entry]:
        """What an agent remembers, the most similar first."""
        if (agent, task) not in self._found:  # every node of a question asks for the same
            entries = [(similarity(task, asked), asked, text, right) for asked, text, right in self.memory[agent]]
            self._found[agent, task] = sorted(entries, key=lambda entry: -entry[0])  # stable: of equals the older first
        return self._found[agent, task]

    def success(self, agent: int, task: str) -> float:
        """How often it was right on the most similar tasks, each counted by its similarity; 0.5 with none."""
        near = self.nearest(agent, task)[:NEAREST]
        return (1 + sum(like for like, _, _, right in near if right)) / (2 + sum(like for like, *_ in near))

    def examples(self, agent: int, task: str, form: str) -> str:
        """The most similar tasks that it answered right, each in the words of `form`."""
        right = [(asked, text) for _, asked, text, right in self.nearest(agent, task) if right]
        return "\n".join(worded(form, task=asked, answer=text) for asked, text in right[:EXAMPLES]).strip()

    def others(self, agent: int, route: Sequence[Stop]) -> list[int]:
        """Whom it may forward to: nobody after the last hop, nobody twice, nobody along a pruned edge."""
        had = {agent, *(before for before, _ in route)}
        weights = self.weights[agent] if len(route) < self.hops else []
        return [other for other, weight in enumerate(weights) if other not in had and weight > PRUNED]

    def decide(self, agent: int, text: str, others: Sequence[int], task: str) -> tuple[str, int]:
        """What the router's text means: the action, and the agent that it hands the question to."""
        action, named = read_decision(text)
        best = max(others, key=lambda other: self.weights[agent][other] * self.success(other, task))
        if action is None:
            action, named = (FORWARD if self.success(best, task) > self.success(agent, task) else EXECUTE), best
        return action, best if named is None or named not in others else named

    def route(self, request: NodeRequest) -> list[Stop]:
        """The question's way so far, by what was heard from the routers on it."""
        from algorithms.seeds import derive

        said = {message.sender: message.text for message in request.messages}
        agent, route = derive(self.seed, "start", request.question_id) % len(self.weights), list[Stop]()
        while others := self.others(agent, route):
            text = said.get(node(agent, "route", len(route)))
            if text is None:
                return [*route, (agent, None)]
            action, target = self.decide(agent, text, others, request.task)
            route.append((agent, action))
            if action == EXECUTE:
                return route
            agent = target
        return [*route, (agent, EXECUTE)]  # nobody is left to forward to, so nothing to decide

    def work(self, request: NodeRequest) -> list[Incoming]:
        """What the solvers on the way have said."""
        said = {message.sender: message for message in request.messages}
        solvers = [
            node(agent, "solve", hop) for hop, (agent, action) in enumerate(self.route(request)) if action != FORWARD
        ]
        return [said[solver] for solver in solvers if solver in said]

    def learn(self, route: Sequence[Stop], work: Sequence[Incoming], task: str, right: bool, excess: float) -> Team:
        """The team after an answer that came along `route` and took `excess` times the allowance of tokens."""
        weights, memory = [list(row) for row in self.weights], [list(entries) for entries in self.memory]
        for (agent, _), (other, _) in itertools.pairwise(route):
            moved = weights[agent][other] * (1.1 if right else 0.9) / max(1.0, excess)
            weights[agent][other] = round(min(2.0, max(0.1, moved)), 6)
        workers = [agent for agent, action in route if action != FORWARD]
        for agent, message in zip(workers, work, strict=True):
            memory[agent].append((task, message.text, right))
        return replace(self, weights=weights, memory=memory)

    def forget(self, limit: int) -> Team:
        return replace(self, memory=[entries[-limit:] for entries in self.memory])
