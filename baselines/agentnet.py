"""AgentNet (Yang et al., arXiv 2504.00587): agents that forward, split or solve, and learn whom to forward to.

A question starts at an agent drawn by its id. The agent's router says `execute` (it solves the question), `forward N`
(agent N gets it) or `split N` (it does a part, and agent N goes on from there). Agents keep a bounded memory of what
they answered; the most similar right answers are shown to whoever solves, and how often each agent was right on similar
questions is shown to the routers. Edge weights move with success: ×1.1 where the answer was right, ×0.9 where it was
wrong, between 0.1 and 2, and an edge at 0.3 or below is not used any more. All this happens on the training split; what
was learnt is frozen before the first question is asked, so that every episode can be replayed.

On the environment forwarding is unrolled: every agent has a router and a solver at each hop, and those that a question
does not reach make no call. Memories are free nodes. A question costs a call for each router that had a choice and for
each solver reached: with 3 agents 2 calls (execute) to 5 (split, split, execute), and 1 where the first agent has no
edge left. What was chosen, and why:

1. Three agents, at most 3 hops, a memory of 40, and 3 examples, as in the original's configuration for BIG-bench hard;
   100 training questions as there, in batches of 10 that see the same state, where the original goes one by one.
2. The original slows an edge down by the seconds it took; here by sampled tokens: those beyond `hops + 1` messages of
   full length shrink the weight in proportion.
3. Similarity is the overlap of words (Jaccard), not of embeddings, so that no second model is needed. A full memory
   drops its oldest entry. Failures are kept too: they are what the success on similar questions is counted from.
4. Nobody gets a question twice, so that routes are acyclic. Where the router names nobody, the best by edge weight
   times success on similar questions is meant. Where it says none of the three words, the question is forwarded if that
   agent has the better success, else executed.
5. Examples and records are shown in the words of the instructions `example` and `record`; the embedded backbone, which
   takes every message for work on its own question, is shown none.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from neuromas_env.budget import Meter
from neuromas_env.node import Incoming, NodeRequest
from neuromas_env.task import Question
from neuromas_env.topology import Topology

from .agentnet_team import EXECUTE, SPLIT, Team, node, worded
from .base import Context, MethodName, System, Wording
from .search import SearchedMethod, Speak
from .workflow import Node, workflow

AGENTS, HOPS, MEMORY, QUESTIONS, BATCH = 3, 3, 40, 100, 10


class AgentNet(SearchedMethod):
    name = "agentnet"
    summary = "agents forward, split or solve; edges and memories are learnt on training questions"
    options = ("agents", "hops", "memory", "questions", "batch")
    wordings = {  # noqa: RUF012 - never written to
        "route": Wording(
            "You are agent {agent}. The messages say how often each agent was right on tasks like this. Say only one "
            "of: execute (you solve it), forward N (agent N gets it), split N (you do a part, agent N goes on)."
        ),
        "solve": Wording(
            "Solve the task. The messages, if any, are similar tasks with their answers, then what was done on this "
            "one. End with the answer.",
            "Answer directly.",
        ),
        "example": Wording("{task}\n{answer}"),
        "record": Wording("agent {agent}: {success} right"),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.agents = self.whole("agents", AGENTS, most=20)
        self.hops = min(self.whole("hops", HOPS), self.agents - 1)
        self.memory = self.whole("memory", MEMORY)
        self.questions = self.whole("questions", QUESTIONS, most=100_000)
        self.batch = self.whole("batch", BATCH)
        agents = range(self.agents)
        layers = [[node(agent, part) for part in ("memory", "record") for agent in agents]]
        for hop in range(self.hops):
            layers += [[node(agent, part, hop) for agent in agents] for part in ("route", "solve")]
        layers += [[node(agent, "solve", self.hops) for agent in agents], ["answer"]]
        edges = [(a, b) for depth, layer in enumerate(layers) for b in layer for a in itertools.chain(*layers[:depth])]
        self.topology: Topology = Topology.from_edges(itertools.chain(*layers), edges, "answer", str(self))

    def settings(self) -> dict[str, Any]:
        return {option: getattr(self, option) for option in self.options}

    def team_system(self, context: Context, team: Team, speak: Speak) -> System:
        """The team at work; nothing in it changes."""
        words = self.worded(context)
        nodes = {"answer": Node(computed=lambda request: team.work(request)[-1].text)}
        for agent in range(self.agents):
            nodes[node(agent, "memory")] = memory(team, agent, words["example"])
            nodes[node(agent, "record")] = record(team, agent, words["record"])
            for hop in range(self.hops + 1):
                nodes[node(agent, "solve", hop)] = solver(team, agent, hop, words["solve"])
            for hop in range(self.hops):
                nodes[node(agent, "route", hop)] = router(team, agent, hop, words["route"])
        return workflow(self.topology, nodes, context, speak)

    def search(self, context: Context, questions: list[Question], speak: Speak, meter: Meter) -> Any:
        team = Team([[1.0] * self.agents] * self.agents, [[]] * self.agents, self.hops, context.seed)
        allowance = (self.hops + 1) * context.task.max_message_tokens
        for start in range(0, len(questions), self.batch):
            acting, asked = team, questions[start : start + self.batch]
            batch = self.ask(context, self.team_system(context, acting, speak), asked, meter)
            tokens: Counter[int] = Counter()
            for turn in batch.turns:
                tokens[turn.request.episode] += turn.message.sampled_tokens
            for turn, reward in zip(batch.turns[-len(asked) :], batch.rewards_E, strict=True):  # the last node's turns
                request = turn.request
                excess = tokens[request.episode] / allowance
                team = team.learn(acting.route(request), acting.work(request), request.task, bool(reward >= 1), excess)
            team = team.forget(self.memory)
        return {"weights": team.weights, "memory": team.memory}

    def build(self, context: Context, found: Any, speak: Speak) -> System:
        return self.team_system(context, Team(found["weights"], found["memory"], self.hops, context.seed), speak)


def numbered(messages: Sequence[Incoming]) -> list[Incoming]:
    return [replace(message, slot=slot) for slot, message in enumerate(messages, start=1)]


def memory(team: Team, agent: int, form: str) -> Node:
    """A free node: what an agent remembers of similar tasks, for its solver."""
    return Node(computed=lambda request: team.examples(agent, request.task, form))


def record(team: Team, agent: int, form: str) -> Node:
    """A free node: how an agent did on similar tasks, for the routers."""
    return Node(
        computed=lambda request: worded(form, agent=agent + 1, success=f"{team.success(agent, request.task):.0%}")
    )


def router(team: Team, agent: int, hop: int, instruction: str) -> Node:
    """It speaks where the question is with its agent and it has a choice; it hears the records, and the work done."""

    def hears(request: NodeRequest) -> list[Incoming]:
        known = [agent, *team.others(agent, team.route(request)[:-1])]
        records = [
            message for message in request.messages if message.sender in {node(other, "record") for other in known}
        ]
        return numbered([*records, *team.work(request)])

    def computed(request: NodeRequest) -> str | None:
        return None if team.route(request)[hop:] == [(agent, None)] else ""

    return Node(worded(instruction, agent=agent + 1), hears=hears, computed=computed)


def solver(team: Team, agent: int, hop: int, instruction: str) -> Node:
    """It speaks where its agent executes, or does a part; it hears its memory, the work done, and what its part is."""

    def hears(request: NodeRequest) -> list[Incoming]:
        said = {message.sender: message for message in request.messages}
        split = team.route(request)[hop] == (agent, SPLIT)
        part = [said[node(agent, "route", hop)]] if split else []
        return numbered([said[node(agent, "memory")], *team.work(request), *part])

    def computed(request: NodeRequest) -> str | None:
        return None if team.route(request)[hop : hop + 1] in ([(agent, EXECUTE)], [(agent, SPLIT)]) else ""

    return Node(instruction, hears=hears, computed=computed)
