"""Making a submission: one method of a comparison, or a trained run, asked once more with everything written down.

A comparison keeps outcomes and a few transcripts; a submission needs every message with its token ids. So the questions
are asked again, in the batches in which the comparison asks them: the same seeds give the same answers. What the code
cannot know (who, under which licence, after how many attempts, …) comes from a YAML or JSON file, the statement.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import UsageError
from neuromas_env.task import questions_hash
from neuromas_env.transcripts import TranscriptWriter, episode_records

from .reading import file_hash, schema_faults, submission_id
from .submission import ARTIFACTS, CARD, EPISODES, FILES, Artifacts, EpisodeRow, Submission

if TYPE_CHECKING:
    from algorithms.run import Run
    from baselines.base import Method, System
    from baselines.compare import Comparison
    from neuromas_env.episodes import EpisodeBatch
    from neuromas_env.task import Question
    from neuromas_env.vector import VectorTextNetworkEnv

PACKAGES = ("neuromas", "torch", "transformers", "tokenizers", "peft", "safetensors", "numpy", "math-verify")
SELECTED = "of each seed the checkpoint that was best on validation questions; every seed is reported"
NOTHING_CHOSEN = "nothing was chosen: every seed is reported"


@dataclass(frozen=True)
class Statement:
    """What the people who submit say. `attempts`: systems asked these questions before this one, itself included."""

    authors: Sequence[Mapping[str, Any]]
    licence: str
    attempts: int
    contamination: str
    name: str = ""
    description: str = ""
    training_data: str = ""
    """Needed where anything was trained."""
    selection: str = ""
    track: str = ""
    extensions: Sequence[str] = ()
    backbone_licence: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    """Where artifacts can be had, by name."""

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], where: str, trained: bool) -> Statement:
        """Raises UsageError that names everything that is missing, or not known."""
        if unknown := sorted(set(data) - set(cls.__dataclass_fields__)):
            raise UsageError(f"{where}: {unknown[0]!r} is none of {', '.join(cls.__dataclass_fields__)}")
        needed = ["authors", "licence", "attempts", "contamination", *(["training_data"] if trained else [])]
        if missing := [name for name in needed if name not in data]:
            raise UsageError(f"{where} lacks {', '.join(missing)}: these are yours to say")
        return cls(**data)


@dataclass(frozen=True)
class Asked:
    """One seed of a method: its system, its runs (each grown from the one before), and a row for every question."""

    seed: int
    system: System
    runs: Sequence[Run]
    rows: Sequence[EpisodeRow]


def pack(comparison: Comparison, method: Method, statement: Mapping[str, Any], out: Path, where: str = "") -> str:
    """Write the submission of `method` into the folder `out`; its id.

    `statement` holds the fields of `Statement`, read from the file `where`. Raises UsageError where they are no
    statement, or the seeds are not of one system.
    """
    said = Statement.from_mapping(statement, where or "the statement", method.trained)
    budget = _token_budget(comparison, method)
    asked = [ask_all(comparison, method, seed, budget) for seed in comparison.seeds]
    card = make_card(comparison, method, said, asked)
    artifacts = make_artifacts(asked, said.places)
    return write_submission(out, card, (row for each in asked for row in each.rows), artifacts)


def write_submission(out: Path, card: Mapping[str, Any], rows: Any, artifacts: Mapping[str, Any]) -> str:
    """Check and write the three files; the id. Raises UsageError for values that the schema refuses."""
    from pydantic import ValidationError

    try:
        submission = Submission.model_validate(dict(card))
        files = Artifacts.model_validate(dict(artifacts))
    except ValidationError as error:
        raise UsageError("the submission cannot be written: " + "; ".join(schema_faults(error)[:5])) from None
    out.mkdir(parents=True, exist_ok=True)
    (out / CARD).write_text(_json(submission.model_dump(mode="json")) + "\n", encoding="utf-8")
    with (out / EPISODES).open("wb") as file, _gzip(file) as packed:
        for row in rows:
            packed.write(json.dumps(row.model_dump(mode="json"), separators=(",", ":")).encode() + b"\n")
    (out / ARTIFACTS).write_text(_json(files.model_dump(mode="json")) + "\n", encoding="utf-8")
    return submission_id(file_hash(out / name) for name in FILES)


def _gzip(file: Any) -> gzip.GzipFile:
    """Without a time or a name in it, so that the same rows give the same bytes."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


# ---------------------------------------------------------------------- asking


class Rows(TranscriptWriter):
    """Collects episodes as rows, in the place of a transcript on disk."""

    def __init__(self, seed: int) -> None:
        super().__init__("rows")
        self.of_seed = seed
        self.rows: list[EpisodeRow] = []

    def write(self, batch: EpisodeBatch, env: VectorTextNetworkEnv, silence: Collection[str] = ()) -> None:
        heard = {(turn.request.episode, turn.request.step, turn.request.agent): turn for turn in batch.turns}
        records = episode_records(batch, env.task.max_message_chars, token_ids=True)
        for number, episode in enumerate(records):
            calls = []
            for call in episode.calls:
                turn = heard[number, call.step, call.node]
                calls.append(
                    {
                        "step": call.step,
                        "node": call.node,
                        "parents": [message.sender for message in turn.request.messages],
                        "prompt_sha256": call.prompt_sha256,
                        "text": call.text,
                        "token_ids": list(call.token_ids) if call.token_ids else None,
                        "prompt_tokens": call.prompt_tokens,
                        "sampled_tokens": call.sampled_tokens,
                        "finish_reason": call.finish_reason,
                        "calls": turn.message.calls,
                        "flags": list(call.flags),
                    }
                )
            assert episode.index is not None, "questions of a split have a place in it"
            score = asdict(episode.score)
            self.rows.append(_row(self.of_seed, episode.index, episode.question, calls, episode.answer, score))


def _row(
    seed: int, index: int, question: Question, calls: list[Any], answer: str, score: Any, error: str | None = None
) -> EpisodeRow:
    return EpisodeRow.model_validate(
        {
            "seed": seed,
            "index": index,
            "question_id": question.id,
            "question_sha256": questions_hash([question]),
            "calls": calls,
            "answer": answer,
            "score": score,
            "error": error,
        }
    )


FAILED = {"value": 0.0, "parsed": None, "status": "failed", "flexible": 0.0}


def ask_all(comparison: Comparison, method: Method, seed: int, token_budget: float | None) -> Asked:
    """All questions of the comparison, asked of `method` with one seed."""
    from algorithms.run import Run
    from baselines.evaluate import ask

    context = comparison.context(seed, token_budget)
    system = method.prepare(context)
    rows = Rows(seed)
    outcomes, _ = ask(system, comparison.task, comparison.split, len(comparison.questions), transcript=rows)
    made: dict[int, EpisodeRow] = {row.index: row for row in rows.rows}
    for place, error in outcomes.errors.items():
        question = comparison.questions[place]
        made[place] = _row(seed, place, question, [], "", FAILED, error)
    given = getattr(method, "run", None)
    runs = [given] if given is not None else [Run(config.folder) for config in method.run_configs(context)]
    return Asked(seed, system, runs, [made[place] for place in sorted(made)])


def _token_budget(comparison: Comparison, method: Method) -> float | None:
    """The sampled tokens a question of the network compared with, where `method` follows them."""
    compared = comparison.compared
    if not getattr(method, "matched", False) or compared is None:
        return None
    rows = [row for seed in comparison.seeds for row in ask_all(comparison, compared, seed, None).rows]
    return sum(call.sampled_tokens for row in rows for call in row.calls) / len(rows)


# ---------------------------------------------------------------------- the card


def make_card(comparison: Comparison, method: Method, said: Statement, asked: Sequence[Asked]) -> dict[str, Any]:
    """The card, from what the comparison, the systems and the rows are, and what was said."""
    system = _one_system(method, asked)
    rows = [row for each in asked for row in each.rows]
    calls = [call for row in rows for call in row.calls]
    by_seed = {str(each.seed): _accuracy(each.rows) for each in asked}
    training = _training(said, asked) if method.trained else None
    task, backbone = comparison.task, comparison.backbone
    parameters = system.trainable_parameters
    return {
        "name": said.name or str(method),
        "description": said.description,
        "authors": list(said.authors),
        "licence": said.licence,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "environment": {"python": platform.python_version(), "packages": _versions(), "commit": _commit()},
        "task": {
            "name": task.name,
            "version": task.version,
            "difficulty": comparison.details.get("difficulty"),
            "options": {name: str(value) for name, value in comparison.training.task_options.items()},
            "split": comparison.split,
            "questions": len(comparison.questions),
            "sha256": questions_hash(comparison.questions),
            "data": _data(comparison),
        },
        "track": said.track or ("closed-trained" if parameters or training else "closed-frozen"),
        "backbone": {
            "name": backbone.name,
            "revision": backbone.revision or None,
            "weights_sha256": backbone.weight_hash(),
            "tokenizer_sha256": tokenizer_hash(backbone.tokenizer),
            "licence": said.backbone_licence,
        },
        "system": {
            "method": str(method),
            "topology": system.topology.to_json(),
            "instructions": {node: text for node, text in system.instructions.items() if text},
            "gates": _gates(system),
            "aggregator": dict.fromkeys(sorted({c.node for c in calls if c.calls == 0}), method.spec.name),
            "max_message_tokens": task.max_message_tokens,
            "extensions": list(said.extensions),
        },
        "parameters": {"total": parameters, "per_node": _per_node(system), "critic": 0},
        "training": training,
        "inference": {
            "calls": sum(call.calls for call in calls),
            "prompt_tokens": sum(call.prompt_tokens for call in calls),
            "sampled_tokens": sum(call.sampled_tokens for call in calls),
        },
        "seeds": [each.seed for each in asked],
        "attempts": said.attempts,
        "selection": said.selection or (SELECTED if method.trained else NOTHING_CHOSEN),
        "contamination": said.contamination,
        "claimed": {"accuracy": _accuracy(rows), "by_seed": by_seed},
    }


def _accuracy(rows: Sequence[EpisodeRow]) -> float:
    return sum(row.score.value for row in rows) / len(rows)


def _one_system(method: Method, asked: Sequence[Asked]) -> System:
    first = asked[0].system
    for each in asked[1:]:
        if (each.system.topology, each.system.instructions) != (first.topology, first.instructions):
            raise UsageError(
                f"{method} is another network for seed {each.seed} than for seed {asked[0].seed}: a submission is of "
                "one system; pack each seed by itself with --seed"
            )
        if _gates(each.system) != _gates(first):
            raise UsageError(
                f"{method} has other gates open for seed {each.seed} than for seed {asked[0].seed}: pack each seed by "
                "itself with --seed"
            )
    return first


def _gates(system: System) -> dict[str, Any]:
    network = getattr(system.policy, "network", None)
    gates = getattr(network, "gates", None)
    return gates.to_json() if gates else {}


def _per_node(system: System) -> dict[str, int]:
    """Trainable parameters by node, where every node owns as many."""
    network = getattr(system.policy, "network", None)
    nodes = system.topology.nodes
    if not system.trainable_parameters or network is None or network.topology.nodes != nodes:
        return {}
    each, rest = divmod(system.trainable_parameters, len(nodes))
    return {} if rest else dict.fromkeys(nodes, each)


def _training(said: Statement, asked: Sequence[Asked]) -> dict[str, Any]:
    """The sum over seeds; tokens and seconds are those of ancestors too."""
    notes = [each.system.notes for each in asked]
    return {
        "sampled_tokens": sum(int(note.get("training_sampled_tokens", 0)) for note in notes),
        "updates": sum(int(note.get("training_updates", 0)) for note in notes),
        "seconds": float(sum(note.get("training_seconds", 0.0) for note in notes)),
        "data": said.training_data,
    }


def _data(comparison: Comparison) -> dict[str, str] | None:
    path = getattr(comparison.task, "path", None)
    if path is None or not Path(path).is_file():
        return None
    return {"name": Path(path).name, "sha256": file_hash(Path(path))}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of this package's own checkout, where it is one."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 over all that decides what a tokenizer makes of a prompt: its model and its chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.dumps(sorted(tokenizer.get_vocab().items())) if backend is None else backend.to_str()
    return hashlib.sha256(f"{model}\0{getattr(tokenizer, 'chat_template', None) or ''}".encode()).hexdigest()


# ---------------------------------------------------------------------- artifacts

ROLES = {"config.json": "config", "metrics.jsonl": "metrics", "network.json": "network"}


def make_artifacts(asked: Sequence[Asked], places: Mapping[str, str]) -> dict[str, Any]:
    """Hashes of the configuration, the metrics and the best checkpoint of every run, ancestors included."""
    files = []
    for each in asked:
        for run in each.runs:
            best = [path for path in run.checkpoint("best").path.rglob("*") if path.is_file()]
            paths = [run.folder / "config.json", run.folder / "metrics.jsonl", *sorted(best)]
            for path in paths:
                role = ROLES.get(path.name, "adapter" if path.suffix == ".safetensors" else "record")
                name = f"{run.folder.name}/{path.relative_to(run.folder).as_posix()}"
                files.append(
                    {
                        "name": name,
                        "role": role,
                        "sha256": file_hash(path),
                        "size": path.stat().st_size,
                        "place": places.get(name),
                    }
                )
    return {"files": files}
