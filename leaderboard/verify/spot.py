"""Tier 3: a sample of messages held against the weights that are said to have made them.

Which messages are looked at is decided by the submission's id and by a secret of the one who checks, so nobody can
prepare for it. Three things are asked of them:

- A greedy message must be the likeliest at every token, within what rounding does.
- Sampled messages must be as surprising as the weights' own: the surprise -log p of a token has the mean and variance
  that the same logits give, so its sum over the sample is a z-score. Texts of another model, or greedy ones told as
  sampled, are far out.
- Asked again with the seed that is told, the system must mostly say the same. Whoever kept the better of two runs for
  every question told messages that are probable, and that no seed gives.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neuromas_env.errors import NeuromasError
from neuromas_env.node import Message, NodeRequest, Policy
from neuromas_env.task import Question, Task

from .. import findings as codes
from ..submission import EpisodeRow
from .rebuilding import has_own_graph, make_context, method_of
from .replaying import Record, Replaying
from .report import Report
from .weights import Weights

if TYPE_CHECKING:
    from baselines.base import System

EPISODES = 64
"""Episodes whose messages are looked at."""
BATCHES = 2
"""Batches that are asked again."""
SLACK = {"float32": 0.05, "float16": 0.5, "bfloat16": 1.0}
"""Nats by which the likeliest token may beat a greedy one, for rounding."""
FAR = 5.0
"""Standard deviations of the summed surprise that are too many."""
HARDLY = math.log(1e-9)
SAME = {"float32": 0.98, "float16": 0.85, "bfloat16": 0.75}
"""The share of messages that must be the same when asked again; machines round differently."""

Rows = Sequence[tuple[int, EpisodeRow]]


@dataclass(frozen=True)
class Said:
    """One message, with what it answered and how it was decoded."""

    line: int
    seed: int
    node: str
    question: str
    prompt: Sequence[int]
    ids: Sequence[int]
    temperature: float


@dataclass
class Listening(Record):
    """A record that writes down who said what, and at which temperature."""

    said: list[Said] = field(default_factory=list)

    def at(self, temperature: float) -> Policy:
        return _At(self, temperature)

    def listen(self, requests: Sequence[NodeRequest], temperature: float) -> list[Message]:
        messages = self.act(requests)
        for request, message in zip(requests, messages, strict=True):
            if message.calls == 1 and message.token_ids:
                line, row = self.rows[request.episode]
                prompt = message.prompt_ids
                self.said.append(
                    Said(line, row.seed, request.agent, row.question_id, prompt, message.token_ids, temperature)
                )
        return messages


@dataclass(frozen=True)
class _At:
    record: Listening
    temperature: float

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.record.listen(requests, self.temperature)


class Spot:
    """The checks of one submission. `wanted` says which lines are to be given to `check`."""

    def __init__(self, replayed: Replaying, weights: Weights, report: Report, secret: str = "") -> None:
        from baselines.evaluate import BATCH

        self.card, self.topology, self.task = replayed.card, replayed.topology, replayed.task
        self.questions, self.weights, self.report = replayed.questions, weights, report
        card, questions = self.card, self.questions
        rng = random.Random(hashlib.sha256(f"{report.submission_id} {secret}".encode()).digest())
        places = [(seed, index) for seed in card.seeds for index in range(len(questions))]
        self.looked_at = set(rng.sample(places, min(EPISODES, len(places))))
        batches = [(seed, start) for seed in card.seeds for start in range(0, len(questions), BATCH)]
        self.batches = {
            (seed, start): range(start, min(start + BATCH, len(questions)))
            for seed, start in rng.sample(batches, min(BATCHES, len(batches)))
        }

    @property
    def precision(self) -> str:
        return str(self.weights.backbone.model.dtype).removeprefix("torch.")

    def wanted(self, row: EpisodeRow) -> bool:
        return (row.seed, row.index) in self.looked_at or any(
            row.seed == seed and row.index in places for (seed, _), places in self.batches.items()
        )

    def check(self, rows: Rows) -> None:
        told = [self._probable([each for each in rows if (each[1].seed, each[1].index) in self.looked_at])]
        told.append(self._again({(row.seed, row.index): (line, row) for line, row in rows}))
        self.report.notes["T3"] = "; ".join(filter(None, told))

    # ------------------------------------------------------------------ log-probabilities

    def _probable(self, rows: Rows) -> str:
        scratch = Report()  # what a replay finds was told at T2
        replay = Replaying.of(
            self.card, self.topology, self.task, self.questions, scratch, self.weights.backbone.tokenizer, Listening
        )
        assert replay is not None, "T2 passed"
        listening = replay.record
        assert isinstance(listening, Listening)
        replay.check(rows, scratch)
        greedy = [said for said in listening.said if said.temperature == 0]
        sampled = [said for said in listening.said if said.temperature > 0]
        told = []
        if greedy:
            off = sum(self._greedy(seed, group) for seed, group in _by_seed(greedy).items())
            told.append(f"{len(greedy)} greedy messages, {off} not the likeliest")
        if sampled:
            z = self._surprise(sampled)
            told.append(f"{len(sampled)} sampled messages, as surprising as z = {z:+.1f}")
        return ", ".join(told)

    def _greedy(self, seed: int, group: Sequence[Said]) -> int:
        slack = SLACK.get(self.precision, max(SLACK.values()))
        off = 0
        for said, tokens in self._tokens(seed, group, 1.0):
            gap = max(best - chosen for chosen, best, _, _ in tokens)
            if gap > slack:
                off += 1
                self.report.fault(
                    codes.IMPROBABLE,
                    f"{said.question}, {said.node}: told as greedy, and another token is likelier by {gap:.2f} nats",
                    said.line,
                )
        return off

    def _surprise(self, sampled: Sequence[Said]) -> float:
        """The z-score of the messages' summed surprise. Improbable ones are told."""
        excess = variance = 0.0
        for (seed, temperature), group in _by_seed_and_temperature(sampled).items():
            for said, tokens in self._tokens(seed, group, temperature):
                excess += sum(-chosen - mean for chosen, _, mean, _ in tokens)
                variance += sum(spread for _, _, _, spread in tokens)
                if min(chosen for chosen, _, _, _ in tokens) < HARDLY:
                    self.report.fault(
                        codes.IMPROBABLE, f"{said.question}, {said.node}: a token that these weights never say",
                        said.line,
                    )  # fmt: skip
        z = excess / math.sqrt(variance) if variance > 1e-12 else 0.0
        if abs(z) > FAR:
            kind = "more surprising" if z > 0 else "more probable"
            self.report.fault(
                codes.IMPROBABLE, f"{len(sampled)} sampled messages are {kind} than the weights' own: z = {z:+.1f}"
            )
        return z

    def _tokens(
        self, seed: int, group: Sequence[Said], temperature: float
    ) -> list[tuple[Said, list[tuple[float, float, float, float]]]]:
        """For each message, of each token: its log-probability, that of the likeliest, the entropy of the distribution
        (nats), and the variance of its surprise."""
        import torch

        from algorithms.packing import TrainSample, pack

        network = self.weights.networks[seed]
        nodes = [0 if self.weights.frozen else network.topology.index(said.node) for said in group]
        samples = [
            TrainSample(node, said.question, said.prompt, said.ids) for node, said in zip(nodes, group, strict=True)
        ]
        found: list[tuple[Said, list[tuple[float, float, float, float]]]] = []
        with torch.no_grad():
            for batch in pack(samples):
                logprobs_KV = network.distributions(batch, temperature)
                p_KV = logprobs_KV.exp()
                chosen_K = logprobs_KV.gather(1, batch.targets_K.to(logprobs_KV.device)[:, None])[:, 0]
                entropy_K = -(p_KV * logprobs_KV).sum(-1)
                spread_K = (p_KV * logprobs_KV.square()).sum(-1) - entropy_K.square()
                values_K = torch.stack([chosen_K, logprobs_KV.max(-1).values, entropy_K, spread_K], 1).tolist()
                rows: dict[int, list[tuple[float, float, float, float]]] = {}
                for row, values in zip(batch.rows_K.tolist(), values_K, strict=True):
                    rows.setdefault(row, []).append(tuple(values))
                found += [(group[member], rows[row]) for row, member in enumerate(batch.samples)]
        return found

    # ------------------------------------------------------------------ asked again

    def _again(self, rows: Mapping[tuple[int, int], tuple[int, EpisodeRow]]) -> str:
        same = total = 0
        for (seed, _), places in self.batches.items():
            recorded = [rows[seed, place] for place in places]
            if any(row.error is not None for _, row in recorded):
                continue  # the batch was halved until the question at fault was alone
            system = self.system(seed)
            if system is None:
                return "not asked again: its nodes share another network's adapters"
            said = self._ask(system, places)
            for number, (_, row) in enumerate(recorded):
                for call in row.calls:
                    if call.calls >= 1:
                        total += 1
                        same += said.get((number, call.step, call.node)) == call.text
        if not total:
            return ""
        if same < SAME.get(self.precision, min(SAME.values())) * total:
            self.report.fault(
                codes.OTHERWISE, f"of {total} messages asked again with the same seed, {same} are the same"
            )
        return f"asked again, {same} of {total} messages are the same"

    def _ask(self, system: System, places: range) -> dict[tuple[int, int, str], str]:
        from neuromas_env.episodes import run_episodes

        batch = run_episodes(
            self.task,
            system.topology,
            system.policy,
            places,
            split=self.card.task.split,
            instructions=system.instructions,
        )
        return {(t.request.episode, t.request.step, t.request.agent): t.message.text for t in batch.turns}

    def ask(self, system: System, task: Task, questions: Sequence[Question]) -> list[float]:
        """The values of a system's answers to questions of another task or split."""
        from baselines.evaluate import BATCH
        from neuromas_env.episodes import run_episodes

        values: list[float] = []
        for start in range(0, len(questions), BATCH):
            some = questions[start : start + BATCH]
            batch = run_episodes(task, system.topology, system.policy, some, instructions=system.instructions)
            values += [score.value for score in batch.scores]
        return values

    def system(self, seed: int, questions: Sequence[Question] = ()) -> System | None:
        """The submission's system with the real weights, or None where the card does not say how it is put together."""
        from algorithms import Network
        from algorithms.validation import GreedyPolicy
        from baselines.base import System
        from baselines.self_consistency import SelfConsistency

        card, weights = self.card, self.weights
        if not weights.frozen:
            network = weights.networks[seed]
            policy = GreedyPolicy(network, card.system.max_message_tokens)
            return System(self.topology, policy, card.system.instructions)
        if has_own_graph(card):
            untrained = Network.create(self.topology, weights.backbone, rank=0)
            return System(self.topology, untrained, card.system.instructions)
        method = method_of(card)
        asked = [*self.questions, *questions]
        context = make_context(card, self.task, asked, seed, weights.backbone)
        if isinstance(method, SelfConsistency):
            return method.system(context, self.topology.num_nodes - 1)
        try:
            return method.prepare(context)
        except NeuromasError:
            return None


def _by_seed(said: Sequence[Said]) -> dict[int, list[Said]]:
    groups: dict[int, list[Said]] = {}
    for each in said:
        groups.setdefault(each.seed, []).append(each)
    return groups


def _by_seed_and_temperature(said: Sequence[Said]) -> dict[tuple[int, float], list[Said]]:
    groups: dict[tuple[int, float], list[Said]] = {}
    for each in said:
        groups.setdefault((each.seed, each.temperature), []).append(each)
    return groups
