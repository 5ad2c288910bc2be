"""Which node does what in a trained network: what it says, and what of it matters to the answer.

    learnt = specialisation(Run(Path("runs/first")))
    learnt.now.nodes, learnt.now.edges           # of the best network
    learnt.history                               # of every checkpoint that the run keeps, on fewer questions

Everything is read off greedy play on validation questions. What a node says is told by the shapes of its messages
(`shape`), what an edge carries by counterfactual: the same questions are played again while that one edge carries
nothing, or what its sender said to another question, and the answers are compared. A node that hears what it heard
says what it said, so only nodes downstream of the change speak again, and only where they notice it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neuromas_env.episodes import EpisodeBatch, run_episodes
from neuromas_env.errors import CheckpointError, UsageError
from neuromas_env.node import Message, NodeRequest, Policy
from neuromas_env.show_nodes import FORMAT, VERSION
from neuromas_env.task import Question, Task
from neuromas_env.topology import Edge, Topology

from .ablations import others
from .seeds import derive
from .validation import GreedyPolicy, validation_size

if TYPE_CHECKING:
    from .backbone import Backbone
    from .network import Network
    from .run import Run

HISTORY_QUESTIONS = 50
MOST_TYPES, MOST_WORDS = 5, 12
EPISODES_AT_ONCE = 4096


@dataclass(frozen=True)
class NodeRole:
    """How a node speaks: the most frequent `types` of its messages with their shares, the share that is `empty`, mean
    sampled `tokens` (a closed node samples none), and the share that, taken as the answer, would be `right`."""

    node: str
    types: tuple[tuple[str, float], ...]
    empty: float
    tokens: float
    right: float


@dataclass(frozen=True)
class EdgeInfluence:
    """What one edge does: the share of questions whose answer, as the task reads it, is another where the edge is
    `silenced` or `swapped` (carries the message of another question), and what that adds to the accuracy."""

    sender: str
    receiver: str
    silenced_changes: float
    silenced_accuracy: float
    swapped_changes: float
    swapped_accuracy: float


@dataclass(frozen=True)
class Snapshot:
    """The nodes and edges of one network on so many `questions`. `update` is None for the bare backbone at each node,
    as which a network without a parent begins."""

    update: int | None
    questions: int
    accuracy: float
    nodes: tuple[NodeRole, ...]
    edges: tuple[EdgeInfluence, ...]

    @property
    def strongest_edges(self) -> list[EdgeInfluence]:
        """The edges by how many answers depend on them: where swapped, then where silenced."""
        return sorted(self.edges, key=lambda edge: (-edge.swapped_changes, -edge.silenced_changes))


@dataclass(frozen=True)
class Specialisation:
    """What the nodes of a run learnt: of one network in full (`now`), and of others in the order of training."""

    task: str
    topology: str
    now: Snapshot
    history: tuple[Snapshot, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Specialisation:
        """Undo `to_json`, also after JSON made lists of tuples. Raises CheckpointError for anything else."""
        try:
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise CheckpointError(f"not what the nodes learnt, as version {VERSION} of neuromas inspect writes it")
            history = tuple(map(_snapshot_from_json, data["history"]))
            return cls(data["task"], data["topology"], _snapshot_from_json(data["now"]), history)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"what the nodes learnt cannot be read: {error!r}") from None


def _snapshot_from_json(data: Mapping[str, Any]) -> Snapshot:
    nodes = (
        NodeRole(**{**node, "types": tuple((text, share) for text, share in node["types"])}) for node in data["nodes"]
    )
    return Snapshot(**{**data, "nodes": tuple(nodes), "edges": tuple(EdgeInfluence(**edge) for edge in data["edges"])})


def specialisation(
    run: Run,
    questions: int = 200,
    *,
    which: str | int = "best",
    history: int = HISTORY_QUESTIONS,
    seed: int = 0,
    task: Task | None = None,
    backbone: Backbone | None = None,
) -> Specialisation:
    """What the nodes of `run` learnt, on its first `questions` of validation; all checkpoints that it keeps on the
    first `history` of them (0: none), the bare backbone before them where the run has no parent.

    `which` is the network that is looked at in full. `task` and `backbone` replace what the run would load. Raises
    UsageError where there are fewer than two validation questions or the backbone has other weights than the run's,
    CheckpointError for a run or update without a checkpoint.
    """
    from .checkpoint import checkpoints
    from .network import Network
    from .resolve import make_backbone

    config = run.config
    chosen = run.checkpoint(which)
    task = config.make_task() if task is None else task
    count = validation_size(task, questions)
    if count < 2:
        raise UsageError(f"messages are compared over at least 2 validation questions of {task.name}, and not {count}")
    backbone = make_backbone(config) if backbone is None else backbone
    if run.record["resolved"]["backbone"] != backbone.weight_hash():
        raise UsageError(f"{run.folder} was trained on other weights than {backbone.name}")
    network = chosen.network(backbone)

    def seen(network: Network, update: int | None, count: int) -> Snapshot:
        policy = GreedyPolicy(network, config.max_tokens)
        asked = [task.question("validation", index) for index in range(count)]
        return observe(
            policy, network.topology, task, asked, update=update, seed=seed, instructions=config.instructions
        )  # fmt: skip

    past: list[Snapshot] = []
    if history:
        fewer = max(2, min(history, count))
        if config.parent is None:
            past.append(seen(Network(network.topology, backbone, None), None, fewer))
        past += [seen(each.network(backbone), each.update, fewer) for each in checkpoints(run.folder)]
    return Specialisation(task.name, str(network.topology), seen(network, chosen.update, count), tuple(past))


def observe(
    policy: Policy,
    topology: Topology,
    task: Task,
    questions: Sequence[Question],
    *,
    update: int | None = None,
    seed: int = 0,
    instructions: Mapping[str, str] | None = None,
) -> Snapshot:
    """What the nodes and edges of `topology` do where `policy`, which must be deterministic, speaks on `questions`."""
    play = Play(Remembering(policy), topology, task, instructions)
    played = play(questions)
    heard = {edge: _heard(played, edge) for edge in topology.edges}
    silenced = play.effects(played, {edge: dict.fromkeys(texts, "") for edge, texts in heard.items()})
    swapped = play.effects(played, {edge: _swapped(played, edge, texts, seed) for edge, texts in heard.items()})
    return Snapshot(
        update,
        len(questions),
        played.accuracy,
        nodes=tuple(_role(task, played, node) for layer in topology.layers for node in layer),
        edges=tuple(EdgeInfluence(*edge, *silenced[edge], *swapped[edge]) for edge in topology.edges),
    )


# ---------------------------------------------------------------------- what a node says


def shape(text: str) -> str:
    """The form of a message: numbers become `#` (±# with a sign or × before), a word that stands three times or more
    in a row is followed by `…` instead, and only the first words are kept. `. . . 5 +8 -6` is `. … # ±# ±#`."""
    words: list[str] = []
    for word in text.split():
        words.append(re.sub(r"(?:\d+[.,])*\d+", "#", re.sub(r"^[-+*/×](?=\d)", "±", word)))
    runs: list[list[str]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1].append(word)
        else:
            runs.append([word])
    short = [word for run in runs for word in (run if len(run) < 3 else [run[0], "…"])]
    return " ".join(short if len(short) <= MOST_WORDS else [*short[:MOST_WORDS], "…"])


def _role(task: Task, played: EpisodeBatch, node: str) -> NodeRole:
    turns = [turn for turn in played.turns if turn.request.agent == node]
    spoken = [turn for turn in turns if turn.message.text.strip()]
    scores = task.score_all(
        [played.questions[turn.request.episode] for turn in spoken], [turn.message.text for turn in spoken]
    )
    types = Counter(shape(turn.message.text) for turn in spoken).most_common(MOST_TYPES)
    return NodeRole(
        node,
        tuple((text, count / len(turns)) for text, count in types),
        empty=1 - len(spoken) / len(turns),
        tokens=float(np.mean([turn.message.sampled_tokens for turn in turns])),
        right=sum(score.value for score in scores) / len(turns),
    )


# ---------------------------------------------------------------------- what an edge carries


@dataclass(frozen=True)
class Remembering:
    """A deterministic policy that is asked once for what it is asked again: whoever hears what was heard says what
    was said."""

    policy: Policy
    said: dict[NodeRequest, Message] = field(default_factory=dict, repr=False)

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        keys = [replace(request, episode=0) for request in requests]
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.said}
        if new:
            self.said.update(zip(new, self.policy.act(list(new.values())), strict=True))
        return [self.said[key] for key in keys]


Texts = Mapping[tuple[int, int], str]
"""What an edge carries, by question (its place in the batch) and step."""


@dataclass(frozen=True)
class Rewired:
    """Plays the same Q questions once for each of `edges`, which then carries other texts than were said."""

    policy: Policy
    edges: Sequence[Edge]
    questions: int
    texts: Mapping[Edge, Texts]

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.policy.act([self._heard(request) for request in requests])

    def _heard(self, request: NodeRequest) -> NodeRequest:
        copy, question = divmod(request.episode, self.questions)
        sender, receiver = edge = self.edges[copy]
        if request.agent != receiver:
            return request
        text = self.texts[edge][question, request.step]
        messages = (replace(each, text=text) if each.sender == sender else each for each in request.messages)
        return replace(request, messages=tuple(messages))


@dataclass(frozen=True)
class Play:
    """Episodes of one network on one task, as said and with edges changed."""

    policy: Policy
    topology: Topology
    task: Task
    instructions: Mapping[str, str] | None = None

    def __call__(self, questions: Sequence[Question], policy: Policy | None = None) -> EpisodeBatch:
        return run_episodes(
            self.task,
            self.topology,
            self.policy if policy is None else policy,
            questions,
            split="validation",
            instructions=self.instructions,
        )

    def effects(self, played: EpisodeBatch, texts: Mapping[Edge, Texts]) -> dict[Edge, tuple[float, float]]:
        """For each edge that carries `texts`: the share of answers that change, and the change in accuracy."""
        Q, edges = len(played.questions), list(texts)
        effects: dict[Edge, tuple[float, float]] = {}
        at_once = max(1, EPISODES_AT_ONCE // Q)
        for start in range(0, len(edges), at_once):
            part = edges[start : start + at_once]
            changed = self(played.questions * len(part), Rewired(self.policy, part, Q, texts))
            for copy, edge in enumerate(part):
                scores = changed.scores[copy * Q : (copy + 1) * Q]
                moved = sum(a.parsed != b.parsed for a, b in zip(scores, played.scores, strict=True)) / Q
                effects[edge] = moved, float(np.mean([score.value for score in scores])) - played.accuracy
        return effects


def _heard(played: EpisodeBatch, edge: Edge) -> dict[tuple[int, int], str]:
    sender, receiver = edge
    return {
        (turn.request.episode, turn.request.step): message.text
        for turn in played.turns
        if turn.request.agent == receiver
        for message in turn.request.messages
        if message.sender == sender
    }


def _swapped(played: EpisodeBatch, edge: Edge, texts: Texts, seed: int) -> Texts:
    question_of = {episode: question.id for episode, question in enumerate(played.questions)}
    other = others(question_of, derive(seed, "edge", *edge))
    return {(episode, step): texts[other[episode], step] for episode, step in texts}
