"""Protocols: a whole comparison in one frozen YAML file, so that two people who name it mean the same thing.

    name: mine
    version: 1
    backbone: {name: nano, weights: 5f0c…}
    tasks:
      - {id: chain, version: 1, split: test, questions: 200, message_tokens: 8, questions_sha256: 91ab…}
    methods: [direct, self-consistency, single-rl, "neuromas:1-1-1"]
    seeds: [0, 1, 2]
    train: {updates: 80}
    wordings: {self-refine: {feedback: "Say what is wrong with the answer above."}}

`neuromas compare --protocol FILE` runs it; `--protocol quick` is one that this package ships, in `baselines/protocols`.
What is not in the file has the default of the command line. Hashes and versions state what must be found when it is
run, and may be left out; `--freeze FILE` writes the same protocol with all of them filled in. They are `revision` and
`weights` of the backbone, and of each task `version` (that of its questions, splits and scorer), `questions_sha256`
(the questions asked) and `split_sha256` (the whole split). `message_tokens` is the longest message of every method, at
most the task's own limit. A relative `data` path starts at `--data FOLDER`, or else at the folder of the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.task import Question, Task, questions_hash

if TYPE_CHECKING:
    from algorithms.backbone import Backbone

SHIPPED = Path(__file__).parent / "protocols"


@dataclass(frozen=True)
class FrozenTask:
    """One task of a protocol, and what must be found when it is made. `train` goes before the protocol's own."""

    id: str
    split: str = "test"
    questions: int | None = None
    difficulty: str | None = None
    data: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    version: int | None = None
    message_tokens: int | None = None
    questions_sha256: str | None = None
    split_sha256: str | None = None

    @property
    def label(self) -> str:
        """What its folder is called."""
        return "-".join(filter(None, [self.id, self.difficulty, self.data and Path(self.data).stem]))


@dataclass(frozen=True)
class FrozenBackbone:
    name: str = "nano"
    dtype: str = "float32"
    revision: str | None = None
    weights: str | None = None

    @property
    def pinned(self) -> str:
        """What is loaded: the name, at the revision where one is stated."""
        from algorithms.backbone import pinned

        return pinned(self.name, self.revision)


@dataclass(frozen=True)
class Protocol:
    """A comparison of the same methods on one or more tasks."""

    name: str
    tasks: Sequence[FrozenTask]
    methods: Sequence[str]
    version: int = 1
    backbone: FrozenBackbone = field(default_factory=FrozenBackbone)
    seeds: Sequence[int] = (0,)
    train: Mapping[str, Any] = field(default_factory=dict)
    wordings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    silence_layers: bool = False

    @property
    def title(self) -> str:
        return f"{self.name}, version {self.version}"

    def to_yaml(self) -> str:
        import yaml

        return yaml.safe_dump(_plain(self), sort_keys=False, allow_unicode=True, width=120)


def shipped_protocols() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def find_protocol(text: str) -> Path:
    """The file `text`, or the shipped protocol of that name (`quick`, `protocols/quick.yaml`). Raises UsageError."""
    path = Path(text)
    if path.is_file():
        return path
    name = text.removeprefix("protocols/").removesuffix(".yaml")
    if name in shipped_protocols():
        return SHIPPED / f"{name}.yaml"
    raise UsageError(f"there is no protocol file {text} (shipped: {', '.join(shipped_protocols())})")


def read_protocol(path: Path) -> Protocol:
    """The protocol in a YAML or JSON file. Raises UsageError that names the file and the key at fault."""
    data = read_mapping(path)
    where = f"protocol {path}"
    fields = _fields(Protocol, data, where)
    tasks = fields["tasks"]
    if not isinstance(tasks, list) or not tasks:
        raise UsageError(f"{where}: tasks is a list of at least one task, such as [{{id: chain}}]")
    fields["tasks"] = [FrozenTask(**_fields(FrozenTask, task, f"{where}, task {i}")) for i, task in enumerate(tasks, 1)]
    fields["backbone"] = FrozenBackbone(**_fields(FrozenBackbone, fields.get("backbone", {}), f"{where}, backbone"))
    fields["wordings"] = check_texts(fields.get("wordings", {}), f"{where}, wordings")
    seeds, methods = fields.get("seeds", [0]), fields["methods"]
    if not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
        raise UsageError(f"{where}: seeds is a list of whole numbers from 0, such as [0, 1, 2], not {seeds!r}")
    if not (isinstance(methods, list) and methods and all(isinstance(method, str) for method in methods)):
        raise UsageError(f"{where}: methods is a list of names, such as [direct, 'neuromas:1-1-1'], not {methods!r}")
    protocol = Protocol(**fields)
    for name, values in (("seeds", seeds), ("tasks", [task.label for task in protocol.tasks])):
        for value in values:
            if values.count(value) > 1:
                raise UsageError(f"{where}: {value!r} stands twice in {name}")
    return protocol


def read_mapping(path: Path) -> dict[str, Any]:
    """The names and values in a YAML or JSON file. Raises UsageError where it holds none."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds no names with values")
    return data


def check_texts(data: Any, where: str) -> dict[str, dict[str, str]]:
    """Wordings as read from a file: the name of a method, then that of an instruction, then its text."""
    if not isinstance(data, dict) or not all(isinstance(own, dict) for own in data.values()):
        raise UsageError(f"{where}: METHOD: {{INSTRUCTION: TEXT}} is needed")
    for method, own in data.items():
        for name, text in own.items():
            if not isinstance(text, str):
                raise UsageError(f"{where}: {name} of {method} is a text, not {text!r}")
    return data


_KINDS: dict[str, tuple[type, str]] = {
    "name": (str, "a text"),
    "id": (str, "a text"),
    "split": (str, "a text"),
    "difficulty": (str, "a text"),
    "data": (str, "a path"),
    "dtype": (str, "a text"),
    "revision": (str, "a text"),
    "weights": (str, "a text"),
    "questions_sha256": (str, "a text"),
    "split_sha256": (str, "a text"),
    "version": (int, "a whole number"),
    "questions": (int, "a whole number"),
    "message_tokens": (int, "a whole number"),
    "options": (dict, "names with values"),
    "train": (dict, "names with values"),
    "silence_layers": (bool, "true or false"),
}


def _fields(kind: type, data: Any, where: str) -> dict[str, Any]:
    """`data` as the fields of a dataclass. Raises UsageError for a key that it has not, lacks, or that is no such."""
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    if not isinstance(data, dict):
        raise UsageError(f"{where}: names with values are needed ({', '.join(known)})")
    for name in data:
        if name not in known:
            raise UnknownNameError(f"key of {where}:", name, known)
    for name, entry in known.items():
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if required and data.get(name) is None:
            raise UsageError(f"{where} lacks {name!r}")
    given = {name: value for name, value in data.items() if value is not None}
    if isinstance(given.get("difficulty"), int):
        given["difficulty"] = str(given["difficulty"])
    for name, value in given.items():
        if name in _KINDS and type(value) is not _KINDS[name][0]:
            raise UsageError(f"{where}: {name} is {_KINDS[name][1]}, not {value!r}")
        if name in ("questions", "message_tokens") and value < 1:
            raise UsageError(f"{where}: {name} is a whole number from 1, not {value}")
    if "options" in given:
        given["options"] = {str(name): str(value) for name, value in given["options"].items()}
    return given


def _plain(value: Any) -> Any:
    """A protocol as YAML holds it, without what is left at its default."""
    if dataclasses.is_dataclass(value):
        found = {}
        for entry in dataclasses.fields(value):
            held = _plain(getattr(value, entry.name))
            if held is not None and held != {} and held is not False:
                found[entry.name] = held
        return found
    if isinstance(value, Mapping):
        return {str(name): _plain(held) for name, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list | tuple | range) else value


# ---------------------------------------------------------------------- what must be found when it is run


def frozen_task(given: FrozenTask, task: Task, questions: Sequence[Question]) -> FrozenTask:
    """`given` with everything that can be known of it now."""
    finite = task.size(given.split) is not None
    return dataclasses.replace(
        given,
        questions=len(questions),
        version=task.version,
        message_tokens=task.max_message_tokens,
        questions_sha256=questions_hash(questions),
        split_sha256=task.split_hash(given.split) if finite else None,
    )


def frozen_backbone(given: FrozenBackbone, backbone: Backbone) -> FrozenBackbone:
    """`given` with the revision (where the backbone knows its own) and the hash of the weights."""
    return dataclasses.replace(given, revision=backbone.revision or given.revision, weights=backbone.weight_hash())


def check_frozen(given: FrozenTask | FrozenBackbone, found: FrozenTask | FrozenBackbone, name: str) -> None:
    """Raise UsageError for the first thing that `given` states and that is another in `found`."""
    for entry in dataclasses.fields(given):
        stated, is_now = getattr(given, entry.name), getattr(found, entry.name)
        if stated is not None and stated != is_now:
            raise UsageError(f"{name}: {entry.name} is {is_now} here, and {stated} in the protocol")
