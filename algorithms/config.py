"""Everything that decides a training run, as one serialisable dataclass; each field is also a command-line option."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from neuromas_env.curriculum import THRESHOLD, WINDOW, Curriculum
from neuromas_env.errors import UsageError
from neuromas_env.registry import make_task, typed_options
from neuromas_env.task import Task

from .engines.choose import TRANSFORMERS
from .gates import Init, Opening
from .lora import Variant
from .schedule import Schedule

# What may differ between the parts of one run: none of it changes a metric (options, credit and device are compared
# resolved).
FREE_TO_CHANGE = frozenset(
    {
        "out",
        "parent",  # its network is part of what the run resolved to
        "options",
        "credit",
        "credit_options",
        "device",
        "checkpoint_every",
        "keep_checkpoints",
        "transcript_episodes",
        "tensorboard",
        "wandb",
        "shard_backbone",
        "workers",  # they sample what this process would
    }
)

OF_GROWTH = frozenset({"init", "opening", "opening_updates"})
"""What means nothing without a parent."""


def topology_name(topology: str) -> str:
    """What stands for a topology in the name of a folder: its file's name, or how it is spelt."""
    return Path(topology).stem if topology.endswith(".json") else topology.replace("/", "-")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained. Besides the task, the defaults train three nodes on the embedded backbone."""

    task: Positional[Annotated[str, arg(metavar="TASK")]]
    """What to learn: a name listed by `neuromas tasks`."""
    topology: str = "1-1-1"
    """Who hears whom: layer widths such as 1-1-1 or 2-2-1, or a .json file that holds a topology."""
    algorithm: str = "reinforce"
    """How the nodes learn together."""
    options: Annotated[dict[str, str], arg(metavar="NAME VALUE ...")] = field(default_factory=dict)
    """Options of the algorithm, as names and values: `--options baseline group normalize false`."""
    credit: Annotated[str | None, arg(metavar="NAME")] = None
    """How each node's reward comes of the answer's: shared, counterfactual, leave-one-out, shapley, tree, verifier."""
    credit_options: Annotated[dict[str, str], arg(metavar="NAME VALUE ...")] = field(default_factory=dict)
    """Options of the credit assignment: normalize_by, replacement, orders, branching, discount."""
    backbone: str = "nano"
    """The frozen model that all nodes share: `nano` (embedded), a Hugging Face id (or ID@REVISION), or a folder."""
    engine: Annotated[str, arg(metavar="NAME")] = TRANSFORMERS
    """What samples messages: `transformers` (the loaded backbone), `vllm`, or `vllm:URL` (a server)."""
    seed: int = 0
    """Decides the questions, the initial adapters and every sampled token."""
    out: Annotated[str | None, arg(metavar="FOLDER")] = None
    """The run's folder; without it, runs/ and a name made of task, topology, algorithm and seed."""

    parent: Annotated[str | None, arg(metavar="RUN")] = None
    """A run whose best network is grown to the topology, and trained on."""
    init: Init = "fresh"
    """Adapters of grown nodes: fresh, or clones of the nodes beside (in a new layer, before) them."""
    opening: Opening = "gradual"
    """When grown nodes begin to speak: never (silent), at once, or at more and more questions. Until then they are
    silent, and those of a new layer relay the layer before."""
    opening_updates: int = 20
    """The updates over which a gradual opening goes."""

    data: Annotated[str | None, arg(metavar="PATH")] = None
    """A data file of the task, or a folder of them, for tasks that read one."""
    difficulty: Annotated[str | None, arg(metavar="LOW-HIGH")] = None
    """How hard the questions are, for tasks that grade them."""
    task_options: Annotated[dict[str, str], arg(metavar="NAME VALUE ...")] = field(default_factory=dict)
    """Further options of the task, as names and values: `--task-options shots 5 partition 60-20-20`."""
    allow_code_execution: bool = False
    """Run programs that models write, for tasks that are judged so; each runs locked in."""
    curriculum: Annotated[str | None, arg(metavar="LEVEL,LEVEL,...")] = None
    """Difficulties to train on one after the other, such as 1,2,2-3; validation stays at --difficulty."""
    curriculum_threshold: float = THRESHOLD
    """The mean training reward at which training goes on to the next level."""
    curriculum_window: int = WINDOW
    """The updates over which that mean is taken."""

    updates: int = 80
    """How many batches to learn from."""
    token_budget: Annotated[int | None, arg(metavar="TOKENS")] = None
    """Train until so many tokens were sampled, those of credit assignment included, however many updates that takes;
    the learning rate then follows the tokens. Validation is not counted."""
    patience: int = 0
    """Stop after so many validations in a row without a new best one; 0 never does."""
    questions: int = 16
    """Questions in a batch."""
    samples: int = 8
    """Episodes of each question in a batch."""
    epochs: int = 1
    """Gradient steps on each batch, for algorithms that weigh how far the policy has moved from it."""
    learning_rate: float = 3e-3
    """The highest learning rate of Adam."""
    schedule: Schedule = "linear"
    """How the learning rate falls after its warm-up."""
    warmup: int = 0
    """Updates over which the learning rate rises."""
    final_learning_rate: float = 0.0
    """The share of the highest learning rate that is left at the end of the schedule."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Adam's decay of the first and second moment."""
    clip: float = 1.0
    """The longest gradient of one node; 0 does not clip."""
    entropy_bonus: float = 0.0
    """Weight of the entropy of what each node samples, added to its objective."""
    kl: float = 0.0
    """Weight of the distance (k3) of each node from the frozen backbone, taken from its objective."""
    truncate: float = 0.0
    """The largest weight of a token where sampler and trainer compute different probabilities; 0 weighs nothing."""
    format_reward: float = 0.0
    """Added to the reward where the answer can be read, right or wrong."""
    length_cost: float = 0.0
    """Taken from a node's reward for a message of the longest length, and in proportion for shorter ones."""
    silence_cost: float = 0.0
    """Taken from a hidden node's reward for a message without text."""
    message_dropout: float = 0.0
    """The share of messages between nodes that nobody hears in training."""
    rank: int = 8
    """The rank of each node's adapter."""
    alpha: float = 16.0
    """The adapter's output is scaled by alpha / rank."""
    targets: Annotated[tuple[str, ...], arg(metavar="LAYER ...")] = ()
    """The linear layers that carry adapters, such as q_proj v_proj; without it, all of them."""
    lora: Variant = "lora"
    """The kind of adapter; rslora scales by alpha / √rank."""
    temperature: float = 1.0
    """The sampling temperature of training episodes."""
    max_tokens: Annotated[int | None, arg(metavar="TOKENS")] = None
    """The longest message in tokens; without it, the task's own limit."""
    mask_truncated: bool = False
    """Leave messages that were cut at the limit out of the loss and of its denominator."""
    instructions: Annotated[dict[str, str], arg(metavar="NODE TEXT ...")] = field(default_factory=dict)
    """An instruction for single nodes, as node ids and texts; nodes have none by default."""

    validation_questions: int = 200
    """Questions answered greedily at each validation; 0 never validates."""
    validation_every: int = 10
    """Updates between validations; the first one comes before training."""
    checkpoint_every: int = 10
    """Updates between checkpoints; a best validation and the end make one too."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints to keep beside the best one."""
    transcript_episodes: int = 8
    """Episodes of each validation written down with every message."""
    tensorboard: bool = True
    """Write TensorBoard events beside metrics.jsonl."""
    wandb: Annotated[str | None, arg(metavar="PROJECT")] = None
    """Send metrics to this project of Weights & Biases too; needs the package wandb."""

    micro_batch_tokens: int = 16384
    """Tokens that go through the backbone at once in training: it bounds memory, and moves results by rounding only.
    0 finds as many as fit into half of the free memory."""
    checkpoint_activations: bool = False
    """Compute each layer twice in training instead of keeping its activations: less memory, about a third more time."""
    device: str = "auto"
    """Where the backbone runs: cpu, cuda, or auto."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """The number format of the frozen backbone."""
    threads: int = 1
    """CPU threads of torch."""
    shard_backbone: bool = False
    """Divide the backbone's weights over the processes of torchrun, for one that no single GPU holds: all of them then
    do the same work."""
    workers: Annotated[str | None, arg(metavar="ray:N")] = None
    """Sample with N workers of a Ray cluster, that of RAY_ADDRESS or one started on this machine."""
    staleness: int = 0
    """Sample batches ahead, by adapters that are up to so many updates old, while workers would wait for learning."""

    def __post_init__(self) -> None:
        self._check("updates", self.updates >= (self.parent is None), "a whole number from 1, or 0 with a parent")
        for name in ("questions", "samples", "epochs", "rank", "validation_every", "checkpoint_every",
                     "keep_checkpoints", "threads", "curriculum_window", "opening_updates"):  # fmt: skip
            self._check(name, getattr(self, name) >= 1, "a whole number from 1")
        for name in ("warmup", "validation_questions", "transcript_episodes", "clip", "patience", "micro_batch_tokens",
                     "entropy_bonus", "kl", "truncate", "format_reward", "length_cost", "silence_cost",
                     "staleness"):  # fmt: skip
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("learning_rate", "temperature", "alpha"):
            self._check(name, 0 < getattr(self, name) <= 1e30, "more than 0, at most 1e30")
        self._check("final_learning_rate", 0 <= self.final_learning_rate <= 1, "0 to 1")
        self._check("curriculum_threshold", 0 < self.curriculum_threshold <= 1, "more than 0, at most 1")
        self._check("message_dropout", 0 <= self.message_dropout < 1, "0 to 1, 1 excluded")
        self._check("token_budget", self.token_budget is None or self.token_budget >= 1, "a whole number from 1")
        self._check("patience", not self.patience or self.validation_questions > 0, "0 where nothing is validated")
        self._check("max_tokens", self.max_tokens is None or self.max_tokens >= 1, "a whole number from 1")
        self._check("betas", len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two of [0, 1)")
        self.make_curriculum()
        typed_options(self.task_options)

    def _check(self, name: str, good: bool, accepted: str) -> None:
        if not good:
            raise UsageError(f"{name.replace('_', '-')} cannot be {getattr(self, name)} (accepted: {accepted})")

    @property
    def folder(self) -> Path:
        """The run folder, given or made of the run's name."""
        name = f"{self.task}-{topology_name(self.topology)}-{self.algorithm}-seed{self.seed}"
        return Path(self.out) if self.out else Path("runs") / name.replace("/", "-")

    def make_task(self) -> Task:
        """The task to learn. Raises what `neuromas_env.make_task` raises."""
        return make_task(self.task, difficulty=self.difficulty, **self._options_of_task)

    def make_curriculum(self) -> Curriculum | None:
        """The curriculum, if there is one. Raises UsageError for levels that make none."""
        if self.curriculum is None:
            return None
        return Curriculum.parse(self.curriculum, self.curriculum_threshold, self.curriculum_window)

    def make_levels(self) -> dict[str, Task]:
        """The task at each level of the curriculum; none without one. Raises what `Curriculum.make_tasks` raises."""
        curriculum = self.make_curriculum()
        return {} if curriculum is None else curriculum.make_tasks(self.task, **self._options_of_task)

    @property
    def _options_of_task(self) -> dict[str, Any]:
        """All but the difficulty."""
        return {"data": self.data, "allow_code_execution": self.allow_code_execution, **self.task_options}

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "betas": list(self.betas), "targets": list(self.targets)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Undo `to_json`. Raises UsageError for a field that does not exist."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"a training run has no setting {unknown[0]!r} (known: {', '.join(sorted(known))})")
        lists = {name: tuple(values.get(name, getattr(cls, name))) for name in ("betas", "targets")}
        return cls(**{**values, **lists})


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What keeps two runs' records from being the same run, one line a field: `name: old there, new here`."""
    names = [name for name in {**old, **new} if name not in FREE_TO_CHANGE]
    return [
        f"{name.replace('_', '-')} is {old.get(name)!r} there and {new.get(name)!r} here"
        for name in names
        if old.get(name) != new.get(name)
    ]
