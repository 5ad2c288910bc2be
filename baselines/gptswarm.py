"""GPTSwarm (Zhuge et al., arXiv 2402.16823): agents whose connections are learnt by REINFORCE.

Each possible edge of the graph has a probability, 0.5 at the start. An iteration draws 4 graphs, asks each of them one
training question, and moves the log-odds of the edges by the gradient of what they earned; after 200 iterations the
edges above 0.5 stay. Adam with learning rate 0.1, as in the original. What is learnt here is the edges only: the
original's other half, rewriting the prompts of nodes, is a method of its own.

On the environment the agents stand in a line that ends with the node that decides, and anyone may hear anyone before:
ten agents and the decision make 11 calls and 55 possible edges. Which of the edges carry a message is a `hears` rule;
an agent that nobody hears still speaks, as in the original. What was chosen, and why:

1. Edges run forward only. The original draws both directions and leaves out an edge that would close a cycle; our
   agents are alike, so every acyclic graph is one with forward edges, but for the agents' names.
2. The decision is a call that reads the answers. The original has this, a vote, and others.
3. The baseline of the gradient is the mean reward of all graphs drawn before. The original's two optimisers have none
   (for MMLU) and a moving average (for crosswords). Where a reward of 0 or 1 is drawn with the share of 55 edges that
   are as planted, 200 iterations set 70 % of the edges right with it, and 65 % without.
4. Agents speak at the original's default temperature of 0.2, and have no roles.

`gptswarm:agents=N:iterations=N:batch=N:learning_rate=X`. The search costs (agents + 1) · batch · iterations calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuromas_env.budget import Meter
from neuromas_env.node import Incoming, NodeRequest
from neuromas_env.task import Question
from neuromas_env.topology import Topology

from .architecture.coding import Coding
from .base import Context, MethodName, System, Wording
from .search import SearchedMethod, Speak
from .workflow import Node, workflow

AGENTS, ITERATIONS, BATCH, LEARNING_RATE = 10, 200, 4, 0.1
THRESHOLD = 0.5
TEMPERATURE = 0.2


class GPTSwarm(SearchedMethod):
    name = "gptswarm"
    summary = "agents and a decision; who hears whom is learnt by REINFORCE on training questions"
    options = ("agents", "iterations", "batch", "learning_rate")
    wordings = {  # noqa: RUF012 - never written to
        "agent": Wording(
            "Solve the task. The messages above, if any, are from others, and may be wrong. End with the answer."
        ),
        "decision": Wording(
            "The messages above, if any, are answers of others, and may be wrong. Decide, and end with the answer.",
            "Answer directly.",
        ),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.agents = self.whole("agents", AGENTS, most=100)
        self.iterations = self.whole("iterations", ITERATIONS, most=100_000)
        self.batch = self.whole("batch", BATCH)
        self.learning_rate = self.number("learning_rate", LEARNING_RATE)
        self.topology: Topology = Topology.parse("-".join(["1"] * (self.agents + 1)) + "/all")

    def settings(self) -> Mapping[str, Any]:
        return {
            "agents": self.agents,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "questions": self.iterations * self.batch,
        }

    def graphs(self, context: Context, drawn_BK: np.ndarray, speak: Speak) -> System:
        """A system in which episode b hears along the edges drawn in row b; a single row is the graph of all."""
        edges = [{edge for edge, on in zip(self.topology.edges, row, strict=True) if on} for row in drawn_BK]

        def hears(request: NodeRequest) -> Sequence[Incoming]:
            graph = edges[request.episode if len(edges) > 1 else 0]
            return [message for message in request.messages if (message.sender, request.agent) in graph]

        worded = self.worded(context)
        nodes = dict.fromkeys(self.topology.nodes, Node(worded["agent"], TEMPERATURE, hears))
        nodes[self.topology.output] = Node(worded["decision"], TEMPERATURE, hears)
        return workflow(self.topology, nodes, context, speak)

    def search(self, context: Context, questions: list[Question], speak: Speak, meter: Meter) -> Any:
        from algorithms.seeds import derive

        from .architecture.reinforce import ReinforcePolicy

        policy = ReinforcePolicy(Coding(np.full(len(self.topology.edges), 2)), self.learning_rate)
        for iteration in range(self.iterations):
            rng = np.random.default_rng(derive(context.seed, "edges", iteration))
            drawn_BK = policy.draw(rng, self.batch)
            asked = questions[iteration * self.batch : (iteration + 1) * self.batch]
            batch = self.ask(context, self.graphs(context, drawn_BK, speak), asked, meter)
            policy.learn(drawn_BK, batch.rewards_E)
        return [round(float(p), 6) for p in policy.probabilities_K]

    def build(self, context: Context, found: Any, speak: Speak) -> System:
        kept_K = np.array(found) > THRESHOLD
        system = self.graphs(context, kept_K[None], speak)
        return System(system.topology, system.policy, system.instructions, notes={"edges": int(kept_K.sum())})
