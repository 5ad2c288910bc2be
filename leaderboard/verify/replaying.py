"""Tier 2: the recorded messages stepped through the real environment, every prompt and every token counted again.

The environment is run with the system rebuilt from the card (`rebuilding.py`), which says what it was told in the
record. So a call that the schedule has not, a message that nobody sent, a prompt with something in it that the
environment would not have shown, and a free message that no rule computes come to light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from neuromas_env.node import Message, NodeRequest, Policy
from neuromas_env.task import Question, Task
from neuromas_env.text import sanitise
from neuromas_env.topology import Topology
from neuromas_env.transcripts import prompt_hash
from neuromas_env.vector import VectorTextNetworkEnv

from .. import findings as codes
from ..reading import shown
from ..submission import CARD, CallRow, EpisodeRow, Submission
from .rebuilding import REBUILDING_ERRORS, Tokens, rebuild
from .report import Report

SHORTEST_QUOTE = 12
"""Characters from which on a question in an instruction is no accident."""

Place = tuple[int, int, str]
"""An episode of a chunk, a step, and a node."""


@dataclass
class Record:
    """What was said in a chunk of episodes, as a policy; it tells what does not fit where it is asked."""

    tokens: Tokens
    report: Report
    rows: Sequence[tuple[int, EpisodeRow]] = ()
    calls: dict[Place, CallRow] = field(default_factory=dict)
    asked: set[Place] = field(default_factory=set)

    def begin(self, rows: Sequence[tuple[int, EpisodeRow]]) -> None:
        self.rows, self.calls, self.asked = rows, {}, set()
        for episode, (number, row) in enumerate(rows):
            for call in row.calls:
                place = episode, call.step, call.node
                if place in self.calls:
                    self.report.fault(codes.HIDDEN_CALL, f"{call.node} speaks twice at step {call.step}", number)
                self.calls[place] = call

    def at(self, temperature: float) -> Policy:
        """Who speaks for nodes that sample at a temperature."""
        return self

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        prompts = self.tokens.encode_requests(requests)
        return [self._said(request, prompt) for request, prompt in zip(requests, prompts, strict=True)]

    def _said(self, request: NodeRequest, prompt: list[int]) -> Message:
        place = request.episode, request.step, request.agent
        call, number = self.calls.get(place), self.rows[request.episode][0]
        self.asked.add(place)
        if call is None:
            return Message("")
        where = f"{request.agent}, step {request.step}"
        ids = tuple(call.token_ids or ())
        if call.calls < 1:
            self.report.fault(codes.COMPUTED, f"{where}: told as computed, and the system makes a call there", number)
        elif call.prompt_tokens != len(prompt):
            self.report.fault(
                codes.PROMPT_TOKENS, f"{where}: the prompt has {len(prompt)} tokens, not {call.prompt_tokens}", number
            )
        if call.calls >= 1:
            self._count(call, ids, request, number, where)
        return Message(call.text, ids, (), tuple(prompt), call.finish_reason, call.calls)

    def _count(self, call: CallRow, ids: tuple[int, ...], request: NodeRequest, number: int, where: str) -> None:
        if call.sampled_tokens != len(ids):
            told = f"{where}: {len(ids)} token ids, and {call.sampled_tokens} sampled tokens told"
            self.report.fault(codes.SAMPLED_TOKENS, told, number)
        if len(ids) > request.max_tokens * call.calls:
            self.report.fault(
                codes.SAMPLED_TOKENS,
                f"{where}: {len(ids)} tokens, and at most {request.max_tokens} may be said",
                number,
            )
        try:
            text = self.tokens.decode(ids[:-1] if call.finish_reason == "stop" else ids)
        except (OverflowError, IndexError, TypeError, ValueError):
            text = None
        if (
            text is None
            or sanitise(text, 10**9)[0][: len(call.text)] != call.text
            or (len(text) > len(call.text) and "cut" not in call.flags)
        ):
            self.report.fault(
                codes.TOKEN_IDS, f"{where}: the ids say {shown(str(text))}, and the text {shown(call.text)}", number
            )


class Replaying:
    """The checks of one submission, chunk by chunk."""

    def __init__(
        self,
        card: Submission,
        topology: Topology,
        task: Task,
        questions: Sequence[Question],
        policy: Policy,
        record: Record,
    ) -> None:
        self.card, self.topology, self.task, self.questions = card, topology, task, questions
        self.policy, self.record = policy, record
        self.free: set[Place] = set()
        """What the rebuilt system said without asking the record."""

    @classmethod
    def of(
        cls,
        card: Submission,
        topology: Topology,
        task: Task,
        questions: Sequence[Question],
        report: Report,
        tokenizer: Any = None,
        record: type[Record] = Record,
    ) -> Replaying | None:
        """The checks, or None, having said why, where the tokenizer or the system cannot be had here."""
        from ..pack import tokenizer_hash

        if tokenizer is None:
            try:
                tokenizer = load_tokenizer(card)
            except (OSError, ValueError) as error:
                report.notes["T2"] = f"the tokenizer of {card.backbone.name} cannot be had: {str(error)[:200]}"
                return None
        if tokenizer_hash(tokenizer) != card.backbone.tokenizer_sha256:
            report.fault(codes.TOKENIZER, f"the tokenizer of {card.backbone.name} has another hash than {CARD} says")
            return None
        leaks(card, questions, report)
        recorded = record(Tokens(tokenizer), report)
        try:
            rebuilt = rebuild(card, topology, task, questions, recorded.tokens, recorded.at)
        except REBUILDING_ERRORS as error:
            report.fault(codes.METHOD, f"{CARD}: system.method {shown(card.system.method)}: {error}")
            return None
        if rebuilt.topology is not None and rebuilt.topology.to_json() != topology.to_json():
            report.fault(codes.METHOD, f"{shown(card.system.method)} has another topology than {CARD} says")
            return None
        if not rebuilt.whole:
            report.notes["T2"] = f"what {card.system.method} computes depends on what it learnt, which is in no card"
            return None
        return cls(card, topology, task, questions, rebuilt.policy, recorded)

    def check(self, rows: Sequence[tuple[int, EpisodeRow]], report: Report) -> None:
        """Step through the episodes of `rows` that are of known questions and did not raise."""
        known = [(number, row) for number, row in rows if row.error is None and row.index < len(self.questions)]
        if not known:
            return
        card, record = self.card, self.record
        record.begin(known)
        env = VectorTextNetworkEnv(
            self.task, self.topology, len(known), card.task.split, instructions=card.system.instructions
        )
        env.reset(questions=[self.questions[row.index] for _, row in known])
        while not env.done:
            requests = env.requests()
            for request in requests:
                self._heard(request, report)
            messages = self.policy.act(requests)
            pairs = list(zip(requests, messages, strict=True))
            said = [self._computed(request, message, report) for request, message in pairs]
            silent = card.system.silence
            env.step(["" if request.agent in silent else text for request, text in zip(requests, said, strict=True)])
        for place in sorted(set(record.calls) - record.asked - self.free):
            number = known[place[0]][0]
            report.fault(codes.HIDDEN_CALL, f"{shown(place[2])} does not speak at step {place[1]}", number)
        for (number, row), answer in zip(known, env.answers, strict=True):
            if answer != row.answer:
                report.fault(
                    codes.ANSWER, f"{row.question_id}: the output node said {shown(answer)}, not {shown(row.answer)}",
                    number,
                )  # fmt: skip
        self.free.clear()

    def _heard(self, request: NodeRequest, report: Report) -> None:
        """Hold the prompt and the parents to the record."""
        place = request.episode, request.step, request.agent
        number, row = self.record.rows[request.episode]
        call = self.record.calls.get(place)
        where = f"{row.question_id}, {request.agent}, step {request.step}"
        if call is None:
            report.fault(codes.LOST_CALL, f"{where}: nothing is recorded", number)
            return
        if call.prompt_sha256 != prompt_hash(request):
            report.fault(codes.PROMPT, f"{where}: another prompt was shown than the environment shows", number)
        parents = [message.sender for message in request.messages]
        if call.parents != parents:
            report.fault(codes.PARENTS, f"{where}: heard {shown(str(call.parents))}, not {parents}", number)
        text, flags = sanitise(call.text, self.task.max_message_chars)
        if text != call.text or (flags and not set(flags) <= set(call.flags)):
            report.fault(codes.DELIVERED, f"{where}: a message of {len(call.text):,} characters", number)

    def _computed(self, request: NodeRequest, message: Message, report: Report) -> str:
        """What the node says: the record's text, which must be the rule's where it is free."""
        place = request.episode, request.step, request.agent
        call = self.record.calls.get(place)
        if place in self.record.asked or call is None:
            return message.text
        self.free.add(place)
        number = self.record.rows[request.episode][0]
        text, _ = sanitise(message.text, self.task.max_message_chars)
        if (call.text, call.calls, call.sampled_tokens, call.prompt_tokens) != (text, 0, 0, 0):
            report.fault(
                codes.COMPUTED,
                f"{request.agent}, step {request.step}: computed {shown(text)} for free, and {shown(call.text)} with "
                f"{call.calls} calls and {call.sampled_tokens} tokens is recorded",
                number,
            )
        return call.text


def leaks(card: Submission, questions: Sequence[Question], report: Report) -> None:
    """Questions that stand in an instruction: their answers may stand there too."""
    for node, text in card.system.instructions.items():
        quoted = [q.id for q in questions if len(q.prompt) >= SHORTEST_QUOTE and q.prompt in text]
        if quoted:
            report.fault(codes.LEAK, f"the instruction of {node} holds {len(quoted)} of the questions: {quoted[0]} …")


def load_tokenizer(card: Submission) -> Any:
    """The tokenizer of the claimed backbone. Raises OSError or ValueError."""
    from transformers import AutoTokenizer

    from algorithms.backbone import EMBEDDED

    name = str(EMBEDDED.get(card.backbone.name, card.backbone.name))
    return AutoTokenizer.from_pretrained(name, revision=card.backbone.revision)
