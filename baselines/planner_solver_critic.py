"""Planner, solver, critic: the hand-designed workflow that most people build first.

On the environment it is a chain planner → solver → critic, up to R times (`planner-solver-critic@2` for R = 2), in
which every node hears all that was said before it. Once a critic says that the solution is right, the nodes after it
make no call: a question costs 3 calls for each round that is played, from 3 to 3 R. A free node gives the solver's last
words as the answer.

There is no one paper behind it; roles of this kind are in CAMEL (arXiv 2303.17760), MetaGPT (arXiv 2308.00352) and
AutoGen (arXiv 2308.08155). Chosen here: 2 rounds, so that the critic is heard once; greedy decoding, so that nothing
but the roles differs from `direct`; a planner who plans anew in each round, since the plan may be what is wrong; and
the stop rule of `self-refine`. The last critic's word changes nothing, but it is part of the workflow, and is paid for.
The embedded backbone reads no roles: as planner and solver it just works on, as critic it says what it takes the answer
to be.
"""

from __future__ import annotations

from collections.abc import Callable

from neuromas_env.node import NodeRequest, Policy
from neuromas_env.topology import Edge, Topology

from .base import Context, MethodName, System, Wording
from .direct import DIRECT
from .self_refine import is_content
from .workflow import Node, WorkflowMethod, workflow

ROUNDS = 2
ROLES = ("planner", "solver", "critic")


def heard_from(role: str, request: NodeRequest) -> list[str]:
    """What the nodes of a role said, round by round."""
    return [message.text for message in request.messages if message.sender.startswith(role)]


def settled(request: NodeRequest) -> bool:
    """Whether a critic heard was content."""
    return any(is_content(text) for text in heard_from("critic", request))


def skipped(request: NodeRequest) -> str | None:
    """Silence once a critic was content; else a call."""
    return "" if settled(request) else None


def last_solution(request: NodeRequest) -> str:
    """The solver's last words: those of the last round that was played."""
    solutions = heard_from("solver", request)
    contents = [is_content(text) for text in heard_from("critic", request)]
    return solutions[contents.index(True) if True in contents else -1]


class PlannerSolverCritic(WorkflowMethod):
    name = "planner-solver-critic"
    greedy = True
    summary = "a plan, a solution and a critique, again until the critic is content"
    counts = True
    wordings = {  # noqa: RUF012 - never written to
        "planner": Wording("You are the planner. Write a short plan for solving the task; do not solve it."),
        "solver": Wording("You are the solver. Follow the last plan above. End with the answer."),
        "critic": Wording(
            "You are the critic. Check the last solution above. If it is right, say only: correct. "
            "Otherwise say what is wrong with it.",
            DIRECT,
        ),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        speakers = [f"{role}_{turn}" for turn in range(1, (spec.count or ROUNDS) + 1) for role in ROLES]
        nodes = [*speakers, "answer"]
        edges: list[Edge] = [(before, node) for place, node in enumerate(nodes) for before in nodes[:place]]
        self.topology: Topology = Topology.from_edges(nodes, edges, "answer")

    @classmethod
    def example(cls) -> str:
        return "planner-solver-critic@2"

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        worded = self.worded(context)
        *speakers, answer = self.topology.nodes
        nodes = {node: Node(worded[node.partition("_")[0]], computed=skipped) for node in speakers}
        return workflow(self.topology, {**nodes, answer: Node(computed=last_solution)}, context, speak)
