"""How a node's request becomes a prompt: role-free, but aware of the structure around it.

The order is fixed so that samples of one question share the longest possible prefix: first what is constant for the
task, then the task text, then the messages by slot, then the node's own instruction and position. A silent (empty)
message is left out entirely: a new node that says nothing leaves its receivers' prompts unchanged. Positions name a
layer and an index but no totals, so that a network can grow without rewriting the prompts of its old nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .node import NodeRequest, Position

PROTOCOL = (
    "You are one node of a network of language models that solves a task together. Lines that begin with [1], [2], … "
    "are messages from other nodes. The last line is your position. Write one short message for the nodes that hear "
    "you; the message of the output layer is the network's answer."
)


def position_line(position: Position) -> str:
    if position.is_output:
        return f"output {position.kind} node {position.index}:"
    return f"{position.kind} {position.layer} node {position.index}:"


def _system(request: NodeRequest) -> str:
    return f"{PROTOCOL}\n{request.task_instruction}" if request.task_instruction else PROTOCOL


def _user(request: NodeRequest) -> str:
    lines = [request.task]
    lines += [f"[{message.slot}] {message.text}" for message in request.messages if message.text]
    if request.node_instruction:
        lines.append(request.node_instruction)
    lines.append(position_line(request.position))
    return "\n".join(lines)


def chat_prompt(request: NodeRequest) -> list[dict[str, str]]:
    return [{"role": "system", "content": _system(request)}, {"role": "user", "content": _user(request)}]


def plain_prompt(request: NodeRequest) -> str:
    return f"{_system(request)}\n\n{_user(request)}"
