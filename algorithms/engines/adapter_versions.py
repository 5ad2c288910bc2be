"""Adapters as folders for an engine that loads them by name: every content has a name and a path of its own.

An engine may keep what it computed for an adapter (the keys and values of a prompt, say) under the adapter's name or
path. So neither is ever used for two contents: both hold a hash of the content, in a folder that is this engine's own.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..adapters import StackedAdapters
    from ..network import Network

NUMBERS = count(1)
"""Never given twice in a process: its engines share one vLLM."""


@dataclass(frozen=True)
class Version:
    """One content of an adapter: a PEFT folder, and by what name and number (from 1) it is known."""

    name: str
    number: int
    path: Path


class AdapterVersions:
    """The versions that the nodes of a network speak by at present, and no others.

    `load` makes a version known to the engine once its folder is written; `unload` has it forgotten before that is
    deleted. The folders lie where temporary files do (TMPDIR) and go with this object.
    """

    def __init__(self, load: Callable[[Version], None], unload: Callable[[Version], None]) -> None:
        self._load, self._unload = load, unload
        self._folder = Path(mkdtemp(prefix="neuromas-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._contents: dict[int, str] = {}  # by node
        self._versions: dict[str, Version] = {}  # by content, which several nodes may have

    def of(self, network: Network, nodes: Sequence[int]) -> dict[int, Version]:
        """The version of each of `nodes` as it is now; none without adapters. What was replaced is forgotten."""
        adapters = network.adapters
        if adapters is None:
            return {}
        asked = sorted(set(nodes))
        self._contents = {node: content for node, content in self._contents.items() if node < adapters.num_nodes}
        self._contents |= {node: adapters.node_hash(node) for node in asked}
        for content in set(self._versions) - set(self._contents.values()):
            self._forget(content)
        for node in asked:
            if self._contents[node] not in self._versions:
                self._make(adapters, node)
        return {node: self._versions[self._contents[node]] for node in asked}

    def clear(self) -> None:
        """Forget all versions."""
        for content in list(self._versions):
            self._forget(content)

    def _make(self, adapters: StackedAdapters, node: int) -> None:
        content = self._contents[node]
        name = f"{self._folder.name}-{content}"
        version = Version(name, next(NUMBERS), self._folder / name)
        adapters.save_node(node, version.path)
        self._load(version)
        self._versions[content] = version

    def _forget(self, content: str) -> None:
        version = self._versions.pop(content)
        self._unload(version)
        shutil.rmtree(version.path, ignore_errors=True)
