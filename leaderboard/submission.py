"""What a submission is: three plain files in a folder, described by the models here.

    submission.json       the card: what was asked, by what system, at which cost, and who says so (`Submission`)
    episodes.jsonl.gz     a line a question and seed, with every call (`EpisodeRow`)
    artifacts.json        hashes of the configuration and the adapters, and where they can be had (`Artifacts`)

Questions and their answers are not in the files: they are the task's, and are made or read again where a submission is
verified. A submission's id is the hash of its three files. The JSON Schemas under `leaderboard/schema/` are made of
these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

FORMAT, VERSION = "neuromas-submission", 1
CARD, EPISODES, ARTIFACTS = "submission.json", "episodes.jsonl.gz", "artifacts.json"
FILES = (CARD, EPISODES, ARTIFACTS)

Track = Literal["closed-frozen", "closed-trained", "open"]
Status = Literal["correct", "wrong", "unparsed", "missing", "failed"]

Line = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\r\n]*$")]
"""A text of one line."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\r\n]*$")]
Prose = Annotated[str, StringConstraints(max_length=4000)]
Statement = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Message = Annotated[str, StringConstraints(max_length=100_000)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Node = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
SeedText = Annotated[str, StringConstraints(pattern=r"^\d{1,19}$")]
"""A seed as the key of a JSON object."""


class Model(BaseModel):
    """Nothing beyond the fields, no value of another type, no number that is not finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Author(Model):
    name: Name
    affiliation: Name | None = None
    url: Line | None = None
    """Shown as text; never fetched."""


class Environment(Model):
    """What the system ran in."""

    python: Name
    packages: dict[Name, Name] = Field(max_length=100)
    """Package versions; `neuromas` is among them."""
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] | None = None

    @model_validator(mode="after")
    def names_this_package(self) -> Environment:
        if "neuromas" not in self.packages:
            raise ValueError("packages lacks the version of neuromas")
        return self


class DataFile(Model):
    """The published file that the questions were read from."""

    name: Name
    sha256: Hash


class TaskCard(Model):
    name: Name
    version: Count
    difficulty: Name | None = None
    options: dict[Name, Line] = Field(default={}, max_length=30)
    split: Name
    questions: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many: the first ones of the split."""
    sha256: Hash
    """Over their ids, prompts and answers (`neuromas_env.task.questions_hash`)."""
    data: DataFile | None = None


class BackboneCard(Model):
    name: Name
    revision: Name | None = None
    weights_sha256: Hash
    tokenizer_sha256: Hash
    licence: Name | None = None


class SystemCard(Model):
    """What answered: a network of one topology, its instructions, and what is no model call."""

    method: Line
    topology: dict[str, Any]
    """As `Topology.to_json` writes it."""
    instructions: dict[Node, Message] = Field(default={}, max_length=1000)
    silence: list[Node] = Field(default=[], max_length=1000)
    gates: dict[str, Any] = Field(default={}, max_length=10)
    """What of a grown network is closed, as `Gates.to_json` writes it: a closed node makes no call."""
    aggregator: dict[Node, Line] = Field(default={}, max_length=1000)
    """Nodes that may compute what they say (votes, choices, stop rules), with who computes it: the method's name."""
    max_message_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    extensions: list[Line] = Field(default=[], max_length=50)
    """What goes beyond the closed tracks: tools, retrieval, another environment."""


class ParameterCard(Model):
    """Trainable parameters; those of a critic are needed in training only."""

    total: Count
    per_node: dict[Node, Count] = Field(default={}, max_length=1000)
    critic: Count = 0

    @model_validator(mode="after")
    def add_up(self) -> ParameterCard:
        if self.per_node and sum(self.per_node.values()) != self.total:
            raise ValueError(f"per_node adds up to {sum(self.per_node.values())}, and total is {self.total}")
        return self


class TrainingCard(Model):
    """What training took, over all seeds and their ancestors, and what it read."""

    sampled_tokens: Count
    updates: Count
    seconds: Seconds
    data: Statement


class InferenceCard(Model):
    """Totals over all episodes."""

    calls: Count
    prompt_tokens: Count
    sampled_tokens: Count


class Claim(Model):
    """What the submission says of itself; it is worked out again."""

    accuracy: Share
    by_seed: dict[SeedText, Share] = Field(min_length=1, max_length=1000)


class Submission(Model):
    """The card, `submission.json`."""

    format: Literal["neuromas-submission"] = "neuromas-submission"
    version: Literal[1] = 1
    name: Name
    description: Prose = ""
    authors: list[Author] = Field(min_length=1, max_length=100)
    licence: Name
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    environment: Environment
    task: TaskCard
    track: Track
    backbone: BackboneCard
    system: SystemCard
    parameters: ParameterCard
    training: TrainingCard | None = None
    inference: InferenceCard
    seeds: list[Seed] = Field(min_length=1, max_length=1000)
    attempts: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many systems were asked these questions before this one was chosen, itself included."""
    selection: Statement
    """By which rule the system and its checkpoint were chosen."""
    contamination: Statement
    """What is known of the questions having been in the training text."""
    claimed: Claim

    @model_validator(mode="after")
    def agrees_with_itself(self) -> Submission:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds holds a seed twice")
        if {int(seed) for seed in self.claimed.by_seed} != set(self.seeds):
            raise ValueError("claimed.by_seed is not of the seeds in seeds")
        if self.track == "closed-frozen" and (self.parameters.total or self.training):
            raise ValueError("the track closed-frozen has no trainable parameters and no training")
        if self.track != "open" and self.system.extensions:
            raise ValueError("extensions belong to the track open")
        return self


class CallRow(Model):
    """One message, in the order in which they were made."""

    step: Annotated[int, Field(ge=0, le=100_000)]
    node: Node
    parents: list[Node] = Field(max_length=1000)
    """Whose messages it heard, in the order of the slots."""
    prompt_sha256: Hash
    text: Message
    token_ids: list[Annotated[int, Field(ge=0, lt=2**31)]] | None = Field(default=None, max_length=100_000)
    prompt_tokens: Count
    sampled_tokens: Count
    finish_reason: Name
    calls: Annotated[int, Field(ge=0, le=1000)] = 1
    """How many model calls it took; 0 for a message that was computed."""
    flags: list[Name] = Field(default=[], max_length=20)


class ScoreRow(Model):
    value: Share
    parsed: Annotated[str, StringConstraints(max_length=100_000)] | None
    status: Status
    flexible: Share


class EpisodeRow(Model):
    """One question and one seed, a line of `episodes.jsonl.gz`."""

    seed: Seed
    index: Annotated[int, Field(ge=0, le=1_000_000)]
    """The question's place in its split."""
    question_id: Name
    question_sha256: Hash
    calls: list[CallRow] = Field(max_length=100_000)
    answer: Message
    score: ScoreRow
    error: Prose | None = None
    """What the method raised; the question is wrong then, and its calls may be missing."""


class Artifact(Model):
    """A file of the system. `place` says where it can be had; it is shown, never fetched."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[\w.@+-]+(/[\w.@+-]+)*$")]
    role: Literal["config", "adapter", "network", "metrics", "record", "other"]
    sha256: Hash
    size: Count
    place: Line | None = None

    @model_validator(mode="after")
    def stays_below(self) -> Artifact:
        if any(part in (".", "..") for part in self.name.split("/")):
            raise ValueError("name leads out of the folder")
        return self


class Artifacts(Model):
    """`artifacts.json`."""

    format: Literal["neuromas-artifacts"] = "neuromas-artifacts"
    version: Literal[1] = 1
    files: list[Artifact] = Field(default=[], max_length=10_000)


MODELS: dict[str, type[Model]] = {"submission": Submission, "episode": EpisodeRow, "artifacts": Artifacts}
"""The models whose JSON Schemas are published, by the name of the schema."""
