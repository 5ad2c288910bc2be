"""SelfCheck (Miao et al., arXiv 2308.00436): the steps of solutions are derived again, and what held decides the vote.

`self-check@3` samples 3 solutions. Each is cut into steps, and each step is checked in stages:

    aim       says what the step sets out to find, and from what;
    derive    hears the steps before and the aim, never the step itself, and does the step anew;
    compare   says whether the new step supports the old one, contradicts it, or is not related.

A solution's confidence is 2 sigmoid(-λ₋₁ · contradicted steps - λ₀ · unrelated steps), and the answer with the greatest
sum of confidence wins. A question costs, for each solution, 1 call and a call for each stage of each step.

On the environment the cutting and the vote are free nodes, and the nodes of steps that a solution does not have make no
call. `steps` bounds the steps (4); what a solution says beyond them belongs to its last step, so that all is checked.

Against the original: its target extraction and information collection are one stage, the aim. Its comparison is put
into one word by a further call; here the instruction asks for the word. It takes 10 solutions; the bare name takes 3,
which cost at most 39 calls. All stages are sampled at temperature 1, as in its code. λ₋₁ = 1 and λ₀ = 0.3 are fixed;
its code tries values from 0 to 2. A stage whose instruction is empty is not asked: without it there is no aim, and
steps are compared word for word. That is how the embedded backbone plays it, which reads no such instructions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from neuromas_env.errors import UsageError
from neuromas_env.node import Incoming, NodeRequest, Policy
from neuromas_env.topology import Edge, Topology

from .base import Context, MethodName, System, Wording
from .direct import DIRECT
from .workflow import Computed, Node, Reader, WorkflowMethod, workflow

SOLUTIONS = 3
STEPS = 4
TEMPERATURE = 1.0
CONTRADICTED, UNRELATED = 1.0, 0.3  # λ₋₁ and λ₀


def steps_of(solution: str, most: int) -> list[str]:
    """The steps of a solution: its lines, or the sentences of a single line; all beyond `most` belong to the last."""
    lines = [line.strip() for line in solution.splitlines() if line.strip()]
    if len(lines) == 1:  # a sentence ends after a letter: "1. Add" is one step, and a row of dots none
        lines = re.split(r"(?<=[^\W\d_][.!?])\s+", lines[0])
    return [*lines[: most - 1], *([" ".join(lines[most - 1 :])] if len(lines) >= most else [])]


def verdict(comparison: str) -> int:
    """1 where a comparison says that the step is supported, -1 where contradicted; 0 where neither is plain."""
    words = comparison.lower()
    supports, contradicts = "support" in words, "contradict" in words
    if supports == contradicts or re.search(r"\bnot\b|n['’]t\b", words):
        return 0
    return 1 if supports else -1


def confidence(comparisons: Sequence[str]) -> float:
    """What a solution's vote weighs, between 0 and 1; 1 where no step is in doubt."""
    verdicts = [verdict(text) for text in comparisons]
    doubt = CONTRADICTED * verdicts.count(-1) + UNRELATED * verdicts.count(0)
    return 2 / (1 + math.exp(doubt))


def weighted_vote(texts: Sequence[str], weights: Sequence[float], parse: Callable[[str], str | None]) -> str:
    """The first of `texts` that gives the answer of the greatest weight; on a tie, the answer that was given first.

    Texts in which `parse` finds no answer abstain. Where nobody answers, the first text stands.
    """
    answers = [parse(text) for text in texts]
    votes: dict[str, list[float]] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            votes.setdefault(answer, []).append(weight)
    if not votes:
        return texts[0]
    return texts[answers.index(max(votes, key=lambda answer: math.fsum(votes[answer])))]


def checking_topology(solutions: int, steps: int) -> Topology:
    """Each solution with its steps, and for each step an aim, a derivation and a comparison; then the vote.

    A node of a stage hears the step it is about last.
    """
    nodes = [f"solution_{k}" for k in range(1, solutions + 1)]
    edges: list[Edge] = [(node, "vote") for node in nodes]
    for k, solution in enumerate(list(nodes), start=1):
        step = [f"step_{k}_{j}" for j in range(1, steps + 1)]
        nodes += step
        edges += [(solution, node) for node in step]
        for j in range(steps):
            aim, derived, compared = (f"{stage}_{k}_{j + 1}" for stage in ("aim", "derived", "compared"))
            nodes += [aim, derived, compared]
            edges += [(before, aim) for before in step[: j + 1]]
            edges += [(before, derived) for before in (*step[:j], aim, step[j])]
            edges += [(derived, compared), (step[j], compared), (compared, "vote")]
    return Topology.from_edges([*nodes, "vote"], edges, "vote")


class SelfCheck(WorkflowMethod):
    name = "self-check"
    summary = "each step of n solutions is derived again and compared; the solutions vote by what held"
    counts = True
    options = ("steps", "temperature")
    wordings = {  # noqa: RUF012 - never written to
        "solve": Wording("Solve the task in steps, each on a line of its own. End with the answer.", DIRECT),
        "aim": Wording("Say in one short sentence what the last step above is to find, and from what. Do not do it."),
        "derive": Wording("The last message above says what to find next. Find it from the task and the rest.", DIRECT),
        "compare": Wording(
            "Two derivations of one step stand above. Does the first support the second, contradict it, or is it "
            "unrelated? Say one word: supports, contradicts or unrelated."
        ),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.temperature = self.number("temperature", TEMPERATURE)
        steps = self.number("steps", STEPS)
        if steps != int(steps):
            raise UsageError(f"method {str(spec)!r}: steps is a whole number from 1, not {spec.options['steps']!r}")
        self.solutions, self.steps = spec.count or SOLUTIONS, int(steps)
        self.topology: Topology = checking_topology(self.solutions, self.steps)

    @classmethod
    def example(cls) -> str:
        return "self-check@3"

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        worded, heat, nodes = self.worded(context), self.temperature, {}
        aim = _where_checked(None if worded["aim"] else lambda request: "")
        compare = _where_checked(None if worded["compare"] else _same_words)
        for node in self.topology.nodes:
            stage, _, place = node.partition("_")
            if stage == "solution":
                nodes[node] = Node(worded["solve"], heat)
            elif stage == "step":
                nodes[node] = Node(computed=self._cut(int(place.rpartition("_")[2])))
            elif stage == "aim":
                nodes[node] = Node(worded["aim"], heat, computed=aim)
            elif stage == "derived":
                nodes[node] = Node(worded["derive"], heat, _without_the_step, _where_checked())
            elif stage == "compared":
                nodes[node] = Node(worded["compare"], heat, computed=compare)
        read = Reader(context.task, context.questions)
        nodes["vote"] = Node(computed=lambda request: self._vote(request, read))
        return workflow(self.topology, nodes, context, speak)

    def _cut(self, j: int) -> Callable[[NodeRequest], str]:
        return lambda request: "".join(steps_of(request.messages[0].text, self.steps)[j - 1 : j])

    def _vote(self, request: NodeRequest, read: Reader) -> str:
        said = {message.sender: message.text for message in request.messages}
        solutions = [said[f"solution_{k}"] for k in range(1, self.solutions + 1)]
        weights = [
            confidence([said[f"compared_{k}_{j}"] for j in range(1, len(steps_of(solution, self.steps)) + 1)])
            for k, solution in enumerate(solutions, start=1)
        ]
        return weighted_vote(solutions, weights, lambda text: read(request, text))


def _where_checked(rule: Computed | None = None) -> Computed:
    """Silence where there is no step to check; else what the rule says, or a call."""
    return lambda request: (rule(request) if rule else None) if request.messages[-1].text else ""


def _same_words(request: NodeRequest) -> str:
    derived, step = (message.text.split() for message in request.messages)
    return "supports" if derived == step else "contradicts"


def _without_the_step(request: NodeRequest) -> Sequence[Incoming]:
    return request.messages[:-1]
