"""Transcripts: every message of every episode, in a file that can be read, shown and replayed.

A transcript is JSON Lines. The first line is the header: format, version, task, split, topology, instructions, limits,
method, seed, silenced nodes. Every other line is one episode: the question with its reference answer, the calls in the
order in which they were made (step, node, SHA-256 of the prompt, text, token counts), the answer and its score.
Lines are ASCII (other characters are JSON escapes), so that no message can break the file.

`replay` sends the recorded messages through the real environment again and holds prompts, answer and score to the
record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from .errors import TopologyError, TranscriptError, UsageError
from .node import NodeRequest
from .registry import make_task
from .task import Question, Score, Task
from .text import sanitise
from .topology import Topology
from .vector import VectorTextNetworkEnv

if TYPE_CHECKING:
    from .episodes import EpisodeBatch

FORMAT, VERSION = "neuromas-transcript", 1


@dataclass(frozen=True)
class Header:
    """What all episodes of a transcript share. `task` is the task's name, `task_version` its version."""

    task: str
    task_version: int
    split: str
    topology: Topology
    instructions: dict[str, str]
    task_instruction: str
    max_tokens: int
    max_chars: int
    method: str | None = None
    seed: int | None = None
    silence: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"format": FORMAT, "version": VERSION, **fields, "topology": self.topology.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Header:
        fields = {name: data[name] for name in cls.__dataclass_fields__}
        fields["topology"] = Topology.from_json(fields["topology"])
        fields["silence"] = tuple(fields["silence"])
        return cls(**fields)


@dataclass(frozen=True)
class Call:
    """One message of an episode. `text` is what the node said, sanitised; a silenced node's receivers heard nothing."""

    step: int
    node: str
    prompt_sha256: str
    text: str
    prompt_tokens: int
    sampled_tokens: int
    finish_reason: str
    flags: tuple[str, ...] = ()
    token_ids: tuple[int, ...] | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Call:
        lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        call = cls(**{**data, **lists})
        for name, kind in (
            ("step", int),
            ("node", str),
            ("text", str),
            ("prompt_tokens", int),
            ("sampled_tokens", int),
        ):
            if type(getattr(call, name)) is not kind:
                raise TypeError(f"field {name!r} of a call is {getattr(call, name)!r}")
        return call


@dataclass(frozen=True)
class Episode:
    """One line of a transcript. `index` is the question's place in its split, where that is known."""

    question: Question
    index: int | None
    calls: tuple[Call, ...]
    answer: str
    score: Score

    def to_json(self) -> dict[str, Any]:
        calls = [{name: value for name, value in asdict(c).items() if value not in (None, ())} for c in self.calls]
        question = {name: getattr(self.question, name) for name in Question.__dataclass_fields__}
        question["metadata"] = dict(self.question.metadata)
        return {
            "question": question,
            "index": self.index,
            "calls": calls,
            "answer": self.answer,
            "score": asdict(self.score),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Episode:
        question = Question(**{**data["question"], "choices": tuple(data["question"]["choices"])})
        calls = tuple(Call.from_json(call) for call in data["calls"])
        if not all(isinstance(text, str) for text in (question.id, question.prompt, question.answer, data["answer"])):
            raise TypeError("a text of the question or the answer is no text")
        return cls(question, data["index"], calls, data["answer"], Score(**data["score"]))


@dataclass(frozen=True)
class Transcript:
    """A transcript that was read. `complete` is False where the last line was cut, as by a kill."""

    header: Header
    episodes: list[Episode]
    complete: bool = True


def prompt_hash(request: NodeRequest) -> str:
    return hashlib.sha256(request.prompt.encode("utf-8", "surrogatepass")).hexdigest()


def episode_records(batch: EpisodeBatch, max_chars: int, *, token_ids: bool = False) -> Iterator[Episode]:
    """The episodes of a batch as records, in order."""
    calls: list[list[Call]] = [[] for _ in batch.questions]
    for turn in batch.turns:
        request, message = turn.request, turn.message
        text, flags = sanitise(message, max_chars)
        calls[request.episode].append(
            Call(
                request.step,
                request.agent,
                prompt_hash(request),
                text,
                message.prompt_tokens,
                message.sampled_tokens,
                message.finish_reason,
                flags,
                message.token_ids if token_ids else None,
            )
        )
    for question, index, said, answer, score in zip(
        batch.questions, batch.indices, calls, batch.answers, batch.scores, strict=True
    ):
        yield Episode(question, index, tuple(said), answer, score)


class TranscriptWriter:
    """Writes batches of episodes to one file; give it to `run_episodes`, or call `write`.

    The file is made (and an old one replaced) at the first write. `limit` is the most episodes to record,
    `token_ids` records the sampled ids too, `make_folder` makes the file's folder with it. Raises UsageError where the
    file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        method: str | None = None,
        seed: int | None = None,
        limit: int | None = None,
        token_ids: bool = False,
        make_folder: bool = True,
    ) -> None:
        self.path, self.method, self.seed = Path(path), method, seed
        self.limit, self.token_ids, self.make_folder = limit, token_ids, make_folder
        self.written = 0
        self._header: Header | None = None
        self._file: TextIO | None = None

    def write(self, batch: EpisodeBatch, env: VectorTextNetworkEnv, silence: Collection[str] = ()) -> None:
        """Append the episodes of `batch`, which `env` ran. Raises ValueError where the setting is another."""
        task = env.task
        header = Header(
            task.name,
            task.version,
            env.split,
            env.topology,
            {node: text for node, text in env.instructions.items() if text},
            task.instruction,
            task.max_message_tokens,
            task.max_message_chars,
            self.method,
            self.seed,
            tuple(sorted(silence)),
        )
        if self._header not in (None, header):
            raise ValueError(f"{self.path} records one task, topology and silence; another setting needs its own file")
        lines = [] if self._header else [header.to_json()]
        for episode in episode_records(batch, task.max_message_chars, token_ids=self.token_ids):
            if self.limit is not None and self.written >= self.limit:
                break
            lines.append(episode.to_json())
            self.written += 1
        try:
            text = "".join(json.dumps(line) + "\n" for line in lines)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the metadata of a question of {task.id} is no JSON: {error}") from None
        try:
            if self._file is None:
                if self.make_folder:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "w", encoding="ascii", newline="\n")  # noqa: SIM115 - closed by `close`
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):  # closing writes once more what was not written
                    self._file.close()
                self._file = None
            raise UsageError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._header = header

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> TranscriptWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_transcript(path: str | Path) -> Transcript:
    """Read a transcript. Raises TranscriptError that names the file and the line at fault."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise TranscriptError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise TranscriptError(f"{path}: no transcript, not UTF-8 at byte {error.start}") from None
    *lines, rest = text.split("\n")  # not splitlines: only "\n" ends a line of JSON
    header = None
    episodes = []
    for number, line in enumerate(lines, start=1):
        try:
            data = json.loads(line)
            if header is None:
                if data.get("format") != FORMAT:
                    raise TranscriptError(f"{path}, line 1: no transcript (its first line has format {FORMAT!r})")
                if data.get("version") != VERSION:
                    raise TranscriptError(f"{path}: transcript version {data.get('version')!r}; {VERSION} is read here")
                header = Header.from_json(data)
            else:
                episodes.append(Episode.from_json(data))
                _check_calls(header.topology, episodes[-1].calls)
        except json.JSONDecodeError as error:
            raise TranscriptError(f"{path}, line {number}: not JSON ({error.msg})") from None
        except KeyError as error:
            raise TranscriptError(f"{path}, line {number}: the field {error} is missing") from None
        except TopologyError as error:
            raise TranscriptError(f"{path}, line {number}: {error}") from None
        except (TypeError, AttributeError, RecursionError) as error:
            raise TranscriptError(f"{path}, line {number}: not a transcript's line ({error})") from None
    if header is None:
        raise TranscriptError(f"{path}: no transcript, it has no whole line")
    return Transcript(header, episodes, complete=not rest)


def _check_calls(topology: Topology, calls: Sequence[Call]) -> None:
    for call in calls:
        if not 0 <= call.step < topology.horizon or call.node not in topology.schedule[call.step]:
            raise TypeError(f"{call.node!r} does not speak at step {call.step} of {topology}")


def replay(transcript: str | Path | Transcript, *, task: Task | None = None) -> list[Score]:
    """Send the recorded messages through the real environment and return the scores, one an episode.

    `task` is needed where the task's options change its scoring or its instruction. Raises TranscriptError at the
    first prompt, answer, score or question that differs from the record.
    """
    name = "the transcript" if isinstance(transcript, Transcript) else str(transcript)
    if not isinstance(transcript, Transcript):
        transcript = read_transcript(transcript)
    header, episodes = transcript.header, transcript.episodes
    task = make_task(header.task) if task is None else task
    if (task.name, task.version) != (header.task, header.task_version):
        raise TranscriptError(f"{name} records {header.task} version {header.task_version}; this task is {task.id}")
    if not episodes:
        return []
    env = VectorTextNetworkEnv(task, header.topology, len(episodes), header.split, instructions=header.instructions)
    env.reset(questions=[episode.question for episode in episodes])
    pending = [list(reversed(episode.calls)) for episode in episodes]
    while not env.done:
        env.step([_recorded(name, request, pending[request.episode], header.silence) for request in env.requests()])
    for number, (episode, calls) in enumerate(zip(episodes, pending, strict=True)):
        where = f"{name}, episode {number}"
        if calls:
            raise TranscriptError(f"{where}: {len(calls)} recorded calls are beyond the schedule of {header.topology}")
        if env.answers[number] != episode.answer or env.scores[number] != episode.score:
            raise TranscriptError(f"{where}: the replay gives {env.scores[number]}, the record says {episode.score}")
        _check_question(where, task, header.split, episode)
    return env.scores


def _recorded(name: str, request: NodeRequest, calls: list[Call], silence: Sequence[str]) -> str:
    """The recorded answer to `request`: the next of the episode's remaining calls, which are held in reverse."""
    where = f"{name}, episode {request.episode}, step {request.step}, {request.agent}"
    if not calls or (calls[-1].step, calls[-1].node) != (request.step, request.agent):
        raise TranscriptError(f"{where}: this call is not in the record")
    call = calls.pop()
    if call.prompt_sha256 != prompt_hash(request):
        raise TranscriptError(f"{where}: the prompt differs from the recorded one")
    return "" if call.node in silence else call.text


def _check_question(where: str, task: Task, split: str, episode: Episode) -> None:
    """Where the task knows the question by its index and id, its text and answer must be the recorded ones."""
    if episode.index is None:
        return
    try:
        known = task.question(split, episode.index)
    except (ValueError, IndexError):
        return
    recorded = episode.question
    if known.id == recorded.id and (known.prompt, known.answer) != (recorded.prompt, recorded.answer):
        raise TranscriptError(f"{where}: the question {known.id} differs from the task's")
