"""Self-consistency (Wang et al., arXiv 2203.11171): n sampled answers, and the majority decides.

On the environment it is a network of n nodes that all stand where a single model stands, hear nobody, and differ by
their random draws, and one free output node that counts votes. `self-consistency@8` takes 8 samples. The bare name
takes as many as fit the sampled tokens that the network compared with spends on a question; without such a network it
takes 8. Settings: temperature 0.7 (the original's for most models), the direct instruction (`instruction=cot` votes
over chains of thought, as the original does where the message limit leaves room for them).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from neuromas_env.budget import Meter
from neuromas_env.episodes import run_episodes
from neuromas_env.errors import UsageError
from neuromas_env.node import Message, NodeRequest, Policy, Position
from neuromas_env.task import Question, Task
from neuromas_env.topology import Topology

from .base import Context, Method, MethodName, Sampled, System, WithFreeNodes
from .cot import THINK
from .direct import DIRECT

TEMPERATURE = 0.7
DEFAULT_SAMPLES = 8
INSTRUCTIONS = {"direct": DIRECT, "cot": THINK}
PROBE_QUESTIONS = 128
"""Questions, of those asked, on which the length of one sample is measured before the number of samples is fixed."""


def majority(texts: Sequence[str], parse: Callable[[str], str | None]) -> str:
    """The first of `texts` that gives the answer most of them give.

    Texts in which `parse` finds no answer abstain. On a tie the answer that was given first wins. Where nobody
    answers, the first text stands, and is scored as what it is: unparsed.
    """
    answers = [parse(text) for text in texts]
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return texts[0] if texts else ""
    winner = max(votes, key=votes.__getitem__)  # of equal counts the one counted first, and so given first
    return texts[answers.index(winner)]


class Vote:
    """The free output node: it reads its messages as the task does, without ever holding a reference answer."""

    def __init__(self, task: Task, questions: Sequence[Question]) -> None:
        self._task = task
        self._questions = {question.id: dataclasses.replace(question, answer="") for question in questions}

    def __call__(self, request: NodeRequest) -> str:
        question = self._questions[request.question_id]
        return majority([message.text for message in request.messages], lambda text: self._task.parse(question, text))


@dataclasses.dataclass(frozen=True)
class OneNode:
    """All nodes speak as the one node of a network, so that the samples of a question share its prompt's cache."""

    policy: Policy
    node: str

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.policy.act([dataclasses.replace(request, agent=self.node) for request in requests])


def vote_topology(samples: int) -> Topology:
    """`samples` nodes and a node that hears them all; each stands where the node of a one-node network stands.

    Equal positions make equal prompts: the samples are draws from one distribution, that of a single call.
    """
    topology = Topology.parse(f"{samples}-1")
    alone = Topology.parse("1").positions[0]
    return dataclasses.replace(topology, positions=(alone,) * samples + (Position(2, 1, is_output=True),))


class SelfConsistency(Method):
    name = "self-consistency"
    summary = "the majority of n sampled answers (bare: as many as fit the tokens of the network compared with)"
    counts = True
    options = ("temperature", "instruction")

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.temperature = self.number("temperature", TEMPERATURE)
        chosen = spec.options.get("instruction", "direct")
        if chosen not in INSTRUCTIONS:
            raise UsageError(f"method {str(spec)!r}: instruction is one of {', '.join(INSTRUCTIONS)}, not {chosen!r}")
        self.instruction = INSTRUCTIONS[chosen]

    @classmethod
    def example(cls) -> str:
        return "self-consistency@8"

    @property
    def matched(self) -> bool:
        """Whether the number of samples is to follow a token budget."""
        return self.spec.count is None

    def identity(self, context: Context) -> Mapping[str, Any]:
        budget = context.token_budget if self.matched else None
        return {"instruction": self.instruction, "token_budget": budget and round(budget, 6)}

    def prepare(self, context: Context) -> System:
        samples = self.spec.count or self.fitting_samples(context)
        topology = vote_topology(samples)
        voter = topology.output
        policy = WithFreeNodes(self._policy(context), {voter: Vote(context.task, context.questions)})
        instructions = {node: self.instruction for node in topology.nodes if node != voter}
        return System(topology, policy, instructions, notes={"samples": samples})

    def _policy(self, context: Context) -> Policy:
        from algorithms import Network

        network = Network.create("1", backbone=context.backbone, rank=0)
        return OneNode(Sampled(network, self.temperature, context.seed), network.topology.output)

    def fitting_samples(self, context: Context) -> int:
        """The most samples whose sampled tokens fit `context.token_budget`, at least 1; without a budget, 8."""
        if context.token_budget is None:
            return DEFAULT_SAMPLES
        topology = Topology.parse("1")
        probe = list(context.questions[:PROBE_QUESTIONS])
        meter = Meter()
        instructions = {topology.output: self.instruction}
        run_episodes(context.task, topology, self._policy(context), probe, instructions=instructions, meter=meter)
        return samples_within(context.token_budget, meter.sampled_tokens / len(probe))


def samples_within(budget: float, tokens_per_sample: float) -> int:
    """How many samples of `tokens_per_sample` tokens fit `budget` tokens; one is always taken.

    A budget and a length are both means over questions, so a hundredth of a sample is forgiven.
    """
    return max(1, math.floor(budget / max(tokens_per_sample, 1.0) + 0.01))
