"""Multi-agent debate (Du et al., arXiv 2305.14325): agents answer, hear one another and answer again, then vote.

On the environment it is a network with one layer a round and a free output node that counts the votes of the last
round. From the second round on an agent hears what all agents said in the round before: the others first, and last
itself, because in the original an agent's own answer stays in its conversation. `Topology.rounds` would not do: there
nobody hears itself. The original keeps all earlier rounds in view; here an agent hears the last one, which is the same
for the original's 2 rounds. `debate` is 3 agents and 2 rounds, 6 calls; `debate:agents=4:rounds=3` is 12.

The original samples at the default of the interface that it calls (temperature 1). Here it is 0.7 as in
self-consistency, so that a debate differs from a vote by what is heard alone; `temperature=1` is the original's. On a
tie the answer that was given first wins, as in the original. The embedded backbone is told to answer in the last
round only, and works on in those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from neuromas_env.node import Incoming, NodeRequest, Policy
from neuromas_env.topology import Topology

from .base import Context, MethodName, System, Wording
from .direct import DIRECT
from .self_consistency import TEMPERATURE, vote
from .workflow import Hears, Node, Reader, WorkflowMethod, workflow

AGENTS, ROUNDS = 3, 2
RECONSIDER = (
    "Above are answers of other agents, and last your own. Take the others as advice, with care, and give your answer "
    "again. End with it."
)


def own_answer_last(own: str) -> Hears:
    """All messages, the one of `own` at the end."""

    def heard(request: NodeRequest) -> Sequence[Incoming]:
        return sorted(request.messages, key=lambda message: message.sender == own)

    return heard


class Debate(WorkflowMethod):
    name = "debate"
    summary = "agents answer, hear one another and answer again; the majority decides"
    options = ("agents", "rounds", "temperature")
    wordings = {  # noqa: RUF012 - never written to
        "answer": Wording("Solve the task. End with the answer."),
        "debate": Wording(RECONSIDER),
        "conclude": Wording(RECONSIDER, DIRECT),  # the last round, whose answers are counted
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.temperature = self.number("temperature", TEMPERATURE)
        agents = self.whole("agents", AGENTS, least=2, most=100)
        rounds = self.whole("rounds", ROUNDS, least=2, most=100)
        self.topology: Topology = Topology.layered([agents] * rounds + [1])

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        worded = self.worded(context)
        *rounds, _ = self.topology.layers
        nodes = dict.fromkeys(rounds[0], Node(worded["answer"], self.temperature))
        for before, speakers in pairwise(rounds):
            instruction = worded["conclude" if speakers is rounds[-1] else "debate"]
            for own, node in zip(before, speakers, strict=True):
                nodes[node] = Node(instruction, self.temperature, hears=own_answer_last(own))
        nodes[self.topology.output] = Node(computed=vote(Reader(context.task, context.questions)))
        return workflow(self.topology, nodes, context, speak)
