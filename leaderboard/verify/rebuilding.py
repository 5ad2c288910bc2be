"""The system of a submission, rebuilt from its card with recorded messages in the place of a model.

What a hand-designed system computes (votes, choices, stop rules, who is heard) is worked out by its own code, what a
grown network's closed nodes pass on by its gates. So a recorded message counts as free only where the method's code
says so, and then it must be the one that the code computes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import NeuromasError, UsageError
from neuromas_env.node import Message, NodeRequest, Policy
from neuromas_env.task import Question, Task
from neuromas_env.topology import Topology

from ..submission import Submission

if TYPE_CHECKING:
    from baselines.base import Context, Method


class Tokens:
    """What is needed of a backbone to count its tokens: the tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode_requests(self, requests: Sequence[NodeRequest]) -> list[list[int]]:
        from algorithms.backbone import Backbone

        return Backbone.encode_requests(self, requests)  # type: ignore[arg-type]

    def decode(self, ids: Sequence[int]) -> str:
        from algorithms.backbone import Backbone

        return Backbone.decode(self, ids)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Rebuilt:
    """A policy and its instructions. `whole` is False where the method's rules depend on what no card holds."""

    policy: Policy
    topology: Topology | None
    instructions: dict[str, str] | None
    whole: bool = True


def method_of(card: Submission) -> Method:
    """The method that the card names, without the folder of its run, which is on another machine. Raises
    NeuromasError."""
    from baselines.base import MethodName, make_method

    name = MethodName.parse(card.system.method)
    own = {option: value for option, value in name.options.items() if option != "run"}
    return make_method(str(dataclasses.replace(name, options=own)))


def has_own_graph(card: Submission) -> bool:
    """Whether the method is a network whose graph no name spells: that of a run, or of a file that is elsewhere. The
    card has it."""
    from baselines.base import MethodName
    from baselines.training import GRAPH

    argument = MethodName.parse(card.system.method).argument or ""
    return argument == GRAPH or argument.endswith(".json")


def rebuild(
    card: Submission,
    topology: Topology,
    task: Task,
    questions: Sequence[Question],
    tokens: Tokens,
    speak: Callable[[float], Policy],
) -> Rebuilt:
    """The system, with `speak(temperature)` for every call. Raises NeuromasError where the method's name is none."""
    from algorithms.gates import Gates
    from baselines.majority_of_networks import VOTE, MajorityOfNetworks
    from baselines.search import SearchedMethod
    from baselines.self_consistency import Reader, SelfConsistency, vote
    from baselines.workflow import Node, Workflow, WorkflowMethod

    if has_own_graph(card):
        gates = Gates.from_json(card.system.gates, topology.nodes) if card.system.gates else Gates()
        return Rebuilt(Gated(gates, speak(0.0)), None, None)
    method = method_of(card)
    context = make_context(card, task, questions, 0, tokens)
    if isinstance(method, SelfConsistency):
        if topology.num_nodes < 2:
            raise UsageError("a vote needs a sample and a node that votes")
        system = method.system(context, topology.num_nodes - 1, speak)
    elif isinstance(method, WorkflowMethod):
        system = method.system(context, speak)
    elif isinstance(method, MajorityOfNetworks):
        nodes = {node: Node() for node in topology.nodes}
        nodes[VOTE] = Node(computed=vote(Reader(task, questions)))
        return Rebuilt(Workflow(nodes, speak), method.topology, None)
    elif isinstance(method, SearchedMethod):
        return Rebuilt(speak(0.0), None, None, whole=False)
    else:
        gates = Gates.from_json(card.system.gates, topology.nodes) if card.system.gates else Gates()
        return Rebuilt(Gated(gates, speak(0.0)), method.topology, None)
    return Rebuilt(system.policy, system.topology, {n: text for n, text in system.instructions.items() if text})


@dataclass(frozen=True)
class Gated:
    """Nodes with gates before them."""

    gates: Any
    policy: Policy

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        messages: list[Message] = self.gates.through(requests, self.policy.act)
        return messages


def make_context(card: Submission, task: Task, questions: Sequence[Question], seed: int, backbone: Any) -> Context:
    """What a method is prepared with; `backbone` may be its tokenizer alone where nothing is asked of it."""
    from algorithms import TrainConfig
    from baselines.base import Context

    training = TrainConfig(card.task.name)
    return Context(task, questions, seed, backbone, card.backbone.weights_sha256, training, training, Path())


REBUILDING_ERRORS = (NeuromasError, KeyError, TypeError, ValueError, AttributeError)
