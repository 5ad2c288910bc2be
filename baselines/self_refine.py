"""Self-Refine (Madaan et al., arXiv 2303.17651): a draft, then rounds of feedback and a better draft.

On the environment it is a chain draft → feedback → refined → feedback → refined …, in which every node hears all that
was said before it. The stop rule is a pure function of the feedback: once it says that the answer is right, the nodes
after it make no call and pass the last draft on. `self-refine@4` plays at most 4 rounds, the original's limit; a
question costs 2 calls where the first feedback is content (draft, feedback), and 1 + 2 n where none of n rounds is.

The original shows each step worked examples of the task, written by hand; here instructions have to do. The original's
stop is an indicator in the feedback; ours is the one word that the instruction asks for. The original samples at
temperature 0.7; ours decodes greedily, so that refinement alone makes the difference to `direct`. The embedded backbone
reads no such instructions: its nodes just work on, and none of them says that it is content.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from neuromas_env.node import NodeRequest, Policy
from neuromas_env.topology import Topology

from .base import Context, MethodName, System, Wording
from .direct import DIRECT
from .workflow import Node, WorkflowMethod, workflow

ROUNDS = 4
CONTENT = "correct"
"""Feedback that comes down to this word ends the refinement."""
AGREEING = frozenset(
    ["yes", "the", "this", "that", "it", "s", "is", "my", "your", "last", "draft", "answer", "solution", "above"]
)


def is_content(feedback: str) -> bool:
    """Whether feedback says that the draft is right, and nothing else: "Correct.", "Yes, the answer is correct."

    Whatever says more may say "almost correct", "correct if", "the correct answer is 5": that is not content.
    """
    words = re.findall(r"\w+", feedback.lower())
    return "?" not in feedback and words[-1:] == [CONTENT] and AGREEING.issuperset(words[:-1])


def last_draft(request: NodeRequest) -> str:
    """The latest of the drafts heard by a node that refines: the message before the last feedback."""
    return request.messages[-2].text


def settled(request: NodeRequest) -> bool:
    """Whether some feedback heard was content: drafts stand at odd places of the chain, feedback at even ones."""
    return any(is_content(message.text) for message in request.messages[1::2])


class SelfRefine(WorkflowMethod):
    name = "self-refine"
    greedy = True
    summary = "a draft, then feedback and refinement until the feedback is content"
    counts = True
    wordings = {  # noqa: RUF012 - never written to
        "draft": Wording("Solve the task. End with the answer."),
        "feedback": Wording(
            "Check the last answer above. If it is right, say only: correct. Otherwise say what is wrong with it."
        ),
        "refine": Wording("Improve the last answer above by the feedback on it. End with the answer.", DIRECT),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.topology: Topology = Topology.parse("-".join(["1"] * (1 + 2 * (spec.count or ROUNDS))) + "/all")

    @classmethod
    def example(cls) -> str:
        return "self-refine@4"

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
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
        return workflow(self.topology, nodes, context, speak)
