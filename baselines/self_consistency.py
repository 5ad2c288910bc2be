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
from neuromas_env.node import NodeRequest, Policy, Position
from neuromas_env.topology import Topology

from .base import Context, Method, MethodName, System, Wording
from .cot import THINK
from .direct import DIRECT
from .workflow import Node, Reader, frozen, workflow

TEMPERATURE = 0.7
DEFAULT_SAMPLES = 8
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


def vote(read: Reader) -> Callable[[NodeRequest], str]:
    """What a free node says that passes on the first message with the answer that most of its messages give."""

    def decide(request: NodeRequest) -> str:
        return majority([message.text for message in request.messages], lambda text: read(request, text))

    return decide


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
    wordings = {  # noqa: RUF012 - never written to
        "direct": Wording(DIRECT, DIRECT),
        "cot": Wording(THINK, THINK),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.temperature = self.number("temperature", TEMPERATURE)
        self.instruction = spec.options.get("instruction", "direct")
        if self.instruction not in self.wordings:
            accepted = ", ".join(self.wordings)
            raise UsageError(f"method {str(spec)!r}: instruction is one of {accepted}, not {self.instruction!r}")

    @classmethod
    def example(cls) -> str:
        return "self-consistency@8"

    @property
    def matched(self) -> bool:
        """Whether the number of samples is to follow a token budget."""
        return self.spec.count is None

    def identity(self, context: Context) -> Mapping[str, Any]:
        budget = context.token_budget if self.matched else None
        worded = self.worded(context)[self.instruction]
        return {"instruction": worded, "token_budget": budget and round(budget, 6)}

    def prepare(self, context: Context) -> System:
        return self.system(context, self.spec.count or self.fitting_samples(context))

    def system(self, context: Context, samples: int, speak: Callable[[float], Policy] | None = None) -> System:
        topology = vote_topology(samples)
        nodes = dict.fromkeys(topology.nodes, Node(self.worded(context)[self.instruction], self.temperature))
        nodes[topology.output] = Node(computed=vote(Reader(context.task, context.questions)))
        return dataclasses.replace(workflow(topology, nodes, context, speak), notes={"samples": samples})

    def fitting_samples(self, context: Context) -> int:
        """The most samples whose sampled tokens fit `context.token_budget`, at least 1; without a budget, 8."""
        if context.token_budget is None:
            return DEFAULT_SAMPLES
        topology = Topology.parse("1")
        probe = list(context.questions[:PROBE_QUESTIONS])
        meter = Meter()
        policy = frozen(context.backbone, context.seed)(self.temperature)
        instructions = {topology.output: self.worded(context)[self.instruction]}
        run_episodes(context.task, topology, policy, probe, instructions=instructions, meter=meter)
        return samples_within(context.token_budget, meter.sampled_tokens / len(probe))


def samples_within(budget: float, tokens_per_sample: float) -> int:
    """How many samples of `tokens_per_sample` tokens fit `budget` tokens; one is always taken.

    A budget and a length are both means over questions, so a hundredth of a sample is forgiven.
    """
    return max(1, math.floor(budget / max(tokens_per_sample, 1.0) + 0.01))
