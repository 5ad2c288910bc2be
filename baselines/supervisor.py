"""A supervisor and its workers: the hand-designed workflow in the style that people build with LangGraph or AutoGen.

In each turn the supervisor, who hears all that was said, either names the worker who goes on or says that it is
finished. The worker named hears all that was said too. `supervisor@3` bounds the turns at 3. A question costs 2 calls
for each turn that is played, and 1 where the supervisor finishes: from 3 to 2 T (2 where T is 1). The answer is what
the last worker said.

On the environment every turn is a supervisor's node and one node for each worker; those not named make no call. Who
goes on is a pure rule on the supervisor's message, as in AutoGen's group chats: exactly one name counts. Where it names
none or several, the workers take turns, so that the workflow also runs on a model that does not read its instruction.
The first turn always asks a worker, since there is nothing yet to finish with.

There is no paper to follow: frameworks leave workers and words to their user. Chosen here: a solver, a reasoner and a
checker, who are what a question of this library's tasks can use; 3 turns, enough to hear each of them once; greedy
decoding. LangGraph's examples have the supervisor choose by a structured output; a name in its message is ours.
The embedded backbone reads no roles and names nobody: its workers take turns, and the checker answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from neuromas_env.node import NodeRequest, Policy
from neuromas_env.topology import Edge, Topology

from .base import Context, MethodName, System, Wording
from .direct import DIRECT
from .workflow import Node, WorkflowMethod, workflow

TURNS = 3
WORKERS = ("solver", "reasoner", "checker")
FINISH = "finish"


def route(message: str, turn: int) -> str:
    """Who goes on after what the supervisor said in `turn` (from 1): a worker, or FINISH.

    Exactly one worker named is chosen, whatever else is said. Without one, "finish" ends it from the second turn on,
    and otherwise the workers take turns.
    """
    words = set(re.findall(r"[a-z]+", message.lower()))
    named = [worker for worker in WORKERS if worker in words]
    if len(named) == 1:
        return named[0]
    if not named and turn > 1 and words & {FINISH, "finished"}:
        return FINISH
    return WORKERS[(turn - 1) % len(WORKERS)]


def turn_of(node: str) -> int:
    return int(node.rpartition("_")[2])


def chosen(request: NodeRequest) -> list[str]:
    """The nodes of the workers chosen in the turns heard of, in order, and FINISH last where it was said."""
    choices: list[str] = []
    for message in request.messages:
        if message.sender.startswith("supervisor"):
            turn = turn_of(message.sender)
            choice = route(message.text, turn)
            if choice == FINISH:
                return [*choices, FINISH]
            choices.append(f"{choice}_{turn}")
    return choices


def supervise(request: NodeRequest) -> str | None:
    """A supervisor's call, unless an earlier one finished."""
    return "" if FINISH in chosen(request) else None


def work(request: NodeRequest) -> str | None:
    """A worker's call where it was chosen; else silence."""
    return None if chosen(request)[-1] == request.agent else ""


def last_work(request: NodeRequest) -> str:
    """What the last worker chosen said."""
    said = {message.sender: message.text for message in request.messages}
    return said[[node for node in chosen(request) if node != FINISH][-1]]


class Supervisor(WorkflowMethod):
    name = "supervisor"
    greedy = True
    summary = "a supervisor sends the question to one worker after the other, until it is finished"
    counts = True
    wordings = {  # noqa: RUF012 - never written to
        "supervisor": Wording(
            "You supervise three workers: the solver answers at once, the reasoner works in steps, the checker checks "
            "the last answer above. Say only who goes on: solver, reasoner or checker. "
            "If the last answer above is right, say only: finish."
        ),
        "solver": Wording("You are the solver. Say the answer to the task."),
        "reasoner": Wording("You are the reasoner. Work on the task step by step. End with the answer."),
        "checker": Wording("You are the checker. Check the last answer above, and end with the right one.", DIRECT),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        layers = []
        for turn in range(1, (spec.count or TURNS) + 1):
            layers += [[f"supervisor_{turn}"], [f"{worker}_{turn}" for worker in WORKERS]]
        layers.append(["answer"])
        edges: list[Edge] = [
            (sender, node)
            for depth, layer in enumerate(layers)
            for node in layer
            for before in layers[:depth]
            for sender in before
        ]
        self.topology: Topology = Topology.from_edges([node for layer in layers for node in layer], edges, "answer")

    @classmethod
    def example(cls) -> str:
        return "supervisor@3"

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        worded = self.worded(context)
        *speakers, answer = self.topology.nodes
        nodes = {}
        for node in speakers:
            role = node.rpartition("_")[0]
            nodes[node] = Node(worded[role], computed=supervise if role == "supervisor" else work)
        return workflow(self.topology, {**nodes, answer: Node(computed=last_work)}, context, speak)
