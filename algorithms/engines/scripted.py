"""The engine `scripted`: texts that were written beforehand, by node. It needs no model and costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import UsageError
from neuromas_env.node import Message, NodeRequest

from .base import Capabilities, Engine
from .choose import check_options

if TYPE_CHECKING:
    from ..network import Network

ANY = "*"


class ScriptedEngine(Engine):
    """Says what `script` says to a request: a call that samples no token."""

    name = "scripted"
    capabilities = Capabilities()

    def __init__(self, script: Callable[[NodeRequest], str]) -> None:
        self.script = script

    def speak(self, network: Network, requests: Sequence[NodeRequest], temperature: float, seed: int) -> list[Message]:
        return [Message(self.script(request), finish_reason="scripted") for request in requests]


def make(path: str, model: str, options: dict[str, Any]) -> ScriptedEngine:
    """Of a JSON file with a text for each node, by its id, or by "*" for all others. Raises UsageError."""
    check_options(ScriptedEngine.name, options)
    try:
        texts = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"engine 'scripted:FILE': {path or 'no file'} cannot be read: {error}") from None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise UsageError(f'engine \'scripted:FILE\': {path} must hold texts by node, such as {{"{ANY}": "4"}}')

    def said(request: NodeRequest) -> str:
        text = texts.get(request.agent, texts.get(ANY))
        if text is None:
            raise UsageError(f"engine 'scripted:FILE': {path} has no text for {request.agent}, and none for {ANY!r}")
        return str(text)

    return ScriptedEngine(said)
