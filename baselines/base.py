"""What every compared system has in common: a name that can be typed, and a network it puts on the environment.

A method is named `NAME[@COUNT][:ARGUMENT][:OPTION=VALUE]...`, the same in Python, on the command line and in results:

    direct      self-consistency@8      neuromas:2-2-1      single-rl:learning_rate=1e-3      neuromas:1-1-1:updates=40

`prepare` turns it into a `System` (training it first if it trains): a topology, an instruction for some nodes, and a
policy. `run_episodes` runs any system, so trained and frozen methods share one environment and one meter. Methods are
found by exact name: registered in the process with `register_method`, or offered by an installed package under the
entry point group `neuromas.baselines`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.names import Names, imported
from neuromas_env.node import Message, NodeRequest, Policy
from neuromas_env.task import Question, Task
from neuromas_env.topology import Topology

if TYPE_CHECKING:
    from algorithms import TrainConfig
    from algorithms.backbone import Backbone

BUILTIN = {
    "direct": "direct:Direct",
    "cot": "cot:ZeroShotCoT",
    "self-consistency": "self_consistency:SelfConsistency",
    "self-refine": "self_refine:SelfRefine",
    "debate": "debate:Debate",
    "moa": "moa:MixtureOfAgents",
    "self-moa": "moa:SelfMoA",
    "goa": "goa:GraphOfAgents",
    "majority-of-networks": "majority_of_networks:MajorityOfNetworks",
    "self-check": "self_check:SelfCheck",
    "planner-solver-critic": "planner_solver_critic:PlannerSolverCritic",
    "supervisor": "supervisor:Supervisor",
    "gptswarm": "gptswarm:GPTSwarm",
    "agentnet": "agentnet:AgentNet",
    "single-rl": "single_rl:SingleRL",
    "sft": "sft:SFT",
    "malt": "malt:MALT",
    "magrpo": "magrpo:MAGRPO",
    "collm-cc": "collm_cc:CoLLMCC",
    "maporl": "maporl:MAPoRL",
    "neuromas": "neuromas:TrainedNetwork",
    "untrained": "neuromas:UntrainedNetwork",
    "grown": "grown:GrownNetwork",
}


@dataclass(frozen=True)
class MethodName:
    """A method's name taken apart. `str()` puts it together again."""

    name: str
    argument: str | None = None
    count: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> MethodName:
        """Raises UsageError where `text` does not follow the grammar above."""
        head, *parts = text.strip().split(":")
        name, at, number = head.partition("@")
        argument, count, options = None, None, {}
        if at:
            if not number.isdecimal() or int(number) < 1:
                raise UsageError(f"method {text!r}: what follows '@' is a number of samples from 1, not {number!r}")
            count = int(number)
        for place, part in enumerate(parts):
            key, equals, value = part.partition("=")
            if equals and key and value:
                options[key.replace("-", "_")] = value
            elif place == 0 and part and not equals:
                argument = part
            else:
                raise UsageError(f"method {text!r}: {part!r} is not an option of the form NAME=VALUE")
        if not name:
            raise UsageError(f"method {text!r} has no name (available: {', '.join(method_names())})")
        return cls(name, argument, count, options)

    def __str__(self) -> str:
        text = self.name + (f"@{self.count}" if self.count else "") + (f":{self.argument}" if self.argument else "")
        return text + "".join(f":{key}={value}" for key, value in self.options.items())


@dataclass(frozen=True)
class Wording:
    """An instruction in the words of a chat model, and in those of a model that only knows plain prompts (nano)."""

    chat: str
    plain: str = ""


@dataclass(frozen=True)
class Context:
    """What a method may use while it prepares one system.

    `questions` are those that will be asked. `weights` is the hash of the backbone's. `training` holds the training
    options of the comparison, with the seed and never the evaluation data; `compared` is how the network trains that
    the method is measured against: its topology, rank and updates are the budget of other trained methods.
    `token_budget` is the sampled tokens per question of the system compared with, where there is one. `wordings` are
    the user's own instructions, by the name of a method and the name of an instruction.
    """

    task: Task
    questions: Sequence[Question]
    seed: int
    backbone: Backbone
    weights: str
    training: TrainConfig
    compared: TrainConfig
    out: Path
    token_budget: float | None = None
    wordings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """A method ready to answer: run it with `run_episodes(task, topology, policy, ..., instructions=instructions)`."""

    topology: Topology
    policy: Policy
    instructions: Mapping[str, str] = field(default_factory=dict)
    trainable_parameters: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of its results row, such as the tokens sampled in training."""


def fitting(wording: Wording, backbone: Backbone) -> str:
    """The words that `backbone` knows. The embedded one has a chat template, but a vocabulary of its own."""
    tokenizer = backbone.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        return wording.plain
    unknown = getattr(tokenizer, "unk_token_id", None)
    known = unknown is None or unknown not in tokenizer(wording.chat)["input_ids"]
    return wording.chat if known else wording.plain


class Method(ABC):
    """One compared system. Subclasses say what their name takes; everything else is refused when it is typed."""

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    trained: ClassVar[bool] = False
    """Whether its answers come from trained parameters."""
    argument: ClassVar[str | None] = None
    """What stands after ':' (None: nothing may)."""
    counts: ClassVar[bool] = False
    """Whether '@COUNT' is understood."""
    options: ClassVar[Sequence[str]] = ()
    wordings: ClassVar[Mapping[str, Wording]] = {}
    """Its instructions by name; a user may give others (`Context.wordings`)."""
    topology: Topology | None = None
    """Its network, where that is known from its name."""

    def __init__(self, spec: MethodName) -> None:
        self.spec = spec
        if spec.argument is not None and self.argument is None:
            raise UsageError(f"method {str(spec)!r}: {self.name!r} takes nothing after ':', so not {spec.argument!r}")
        if spec.argument is None and self.argument is not None:
            raise UsageError(f"method {str(spec)!r} lacks its {self.argument}, as in {self.example()!r}")
        if spec.count is not None and not self.counts:
            raise UsageError(f"method {str(spec)!r}: {self.name!r} takes no '@{spec.count}'")
        self.check_options()

    def check_options(self) -> None:
        """Raise UnknownNameError for an option that this method does not take."""
        for option in self.spec.options:
            if option not in self.options:
                raise UnknownNameError(f"option of method {self.name!r}", option, self.options)

    @classmethod
    def example(cls) -> str:
        """A name as it may be typed."""
        return cls.name

    @property
    def deterministic(self) -> bool:
        """Whether all seeds give the same answers, so that one evaluation serves them all."""
        return False

    def run_configs(self, context: Context) -> Sequence[TrainConfig]:
        """The training runs that `prepare` needs, folders included, each after those that it goes on from."""
        return []

    def identity(self, context: Context) -> Mapping[str, Any]:
        """What its answers depend on besides its name, the seed, the questions and the backbone, as JSON values."""
        return {"wordings": self.worded(context)} if self.wordings else {}

    def worded(self, context: Context) -> dict[str, str]:
        """Its instructions by name: the user's own, else the words of a chat model, else, where the backbone has no
        chat template or does not know those words, the plain ones.

        Raises UnknownNameError for a user's instruction that it does not have.
        """
        own = context.wordings.get(self.name, {})
        for name in own:
            if name not in self.wordings:
                raise UnknownNameError(f"instruction of method {self.name!r}", name, self.wordings)
        return {name: own.get(name, fitting(wording, context.backbone)) for name, wording in self.wordings.items()}

    @abstractmethod
    def prepare(self, context: Context) -> System:
        """The system for `context`; trained methods train first, or go on, or take the finished run from its folder."""

    def number(self, option: str, default: float) -> float:
        """The value of a numeric option. Raises UsageError where it is not a positive number."""
        text = self.spec.options.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value < float("inf"):
            raise UsageError(f"method {str(self.spec)!r}: {option} is a number above 0, not {text!r}")
        return value

    def whole(self, option: str, default: int, least: int = 1, most: int = 1000) -> int:
        """The value of an option that counts something. Raises UsageError where it is no number from least to most."""
        text = self.spec.options.get(option)
        if text is None:
            return default
        if not text.isdecimal() or not least <= int(text) <= most:
            told = f"{option} is a whole number from {least} to {most}, not {text!r}"
            raise UsageError(f"method {str(self.spec)!r}: {told}")
        return int(text)

    def __str__(self) -> str:
        return str(self.spec)


MethodFactory = Callable[[MethodName], Method]
METHODS: Names[MethodFactory] = Names(
    "method", "neuromas.baselines", BUILTIN, lambda name: imported(BUILTIN[name], str(__package__))
)


def register_method(name: str, factory: MethodFactory) -> None:
    """Make a method known by exactly `name` in this process. A name is given once."""
    METHODS.register(name, factory)


def method_names() -> list[str]:
    return METHODS.all()


def method_factory(name: str) -> MethodFactory:
    """What makes methods of exactly this name. Raises UnknownNameError listing what exists."""
    return METHODS.find(name)


def make_method(text: str | MethodName) -> Method:
    """The method typed as `text`. Raises UnknownNameError listing what exists, UsageError for bad arguments."""
    spec = MethodName.parse(text) if isinstance(text, str) else text
    return method_factory(spec.name)(spec)


@dataclass(frozen=True)
class Sampled:
    """A network speaking at a temperature; its draws depend only on `seed`, the step and the first question asked."""

    network: Any
    temperature: float
    seed: int

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        if not requests:
            return []
        from algorithms.seeds import derive

        first = requests[0]
        seed = derive(self.seed, "evaluation", first.question_id, first.step)
        messages: list[Message] = self.network.sample(requests, temperature=self.temperature, seed=seed)
        return messages
