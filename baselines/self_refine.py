"""Self-Refine (Madaan et al., arXiv 2303.17651): a draft, then rounds of feedback and a better draft.

On the environment it is a chain draft → feedback → refined → feedback → refined …, in which every node hears all that
was said before it. The stop rule is a pure function of the feedback: once it says that the answer is right, the nodes
after it make no call and pass the last draft on. `self-refine@4` plays at most 4 rounds, the original's limit; a
question costs 2 calls where the first feedback is content (draft, feedback), and 1 + 2 n where none of n rounds is.

The original shows each step worked examples of the task, written by hand; here instructions have to do. The original's
stop is an indicator in the feedback; ours is the word that the instruction asks for.
"""

from __future__ import annotations

from neuromas_env.node import NodeRequest
from neuromas_env.topology import Topology

from .base import Context, Method, MethodName, System, Wording
from .workflow import Node, workflow

ROUNDS = 4
CONTENT = "correct"
"""Feedback with this word ends the refinement."""


def is_content(feedback: str) -> bool:
    """Whether feedback says that the draft is right: it holds the word, and does not deny it."""
    words = feedback.lower().replace(",", " ").replace(".", " ").split()
    return CONTENT in words and "not" not in words


def last_draft(request: NodeRequest) -> str:
    """The latest of the drafts heard: drafts stand at odd places of the chain, feedback at even ones."""
    return request.messages[(len(request.messages) - 1) // 2 * 2].text


def settled(request: NodeRequest) -> bool:
    """Whether some feedback heard was content."""
    return any(is_content(message.text) for message in request.messages[1::2])


class SelfRefine(Method):
    name = "self-refine"
    summary = "a draft, then feedback and refinement until the feedback is content"
    counts = True
    wordings = {  # noqa: RUF012 - never written to
        "draft": Wording("Solve the task. End with the answer."),
        "feedback": Wording(
            "Check the last answer above. If it is right, say only: correct. Otherwise say what is wrong with it."
        ),
        "refine": Wording("Improve the last answer above by the feedback on it. End with the answer."),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.topology: Topology = Topology.parse("-".join(["1"] * (1 + 2 * (spec.count or ROUNDS))) + "/all")

    @classmethod
    def example(cls) -> str:
        return "self-refine@4"

    @property
    def deterministic(self) -> bool:
        return True

    def prepare(self, context: Context) -> System:
        worded = self.worded(context)
        draft, *rest = self.topology.nodes
        nodes = {draft: Node(worded["draft"])}
        for place, node in enumerate(rest):
            if place % 2 == 0:  # feedback that is not needed says nothing
                nodes[node] = Node(worded["feedback"], computed=lambda request: "" if settled(request) else None)
            else:
                nodes[node] = Node(
                    worded["refine"], computed=lambda request: last_draft(request) if settled(request) else None
                )
        return workflow(self.topology, nodes, context)
