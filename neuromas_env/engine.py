"""Message passing: who hears what, for a batch of episodes on one topology.

One rule holds for every graph: a message spoken at step t can be heard from step t + 1 on, and an edge keeps the
latest message that its sender spoke. A node that has said nothing is silent, which is the empty message. The single
environment is a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .node import Incoming
from .topology import Topology


class Engine:
    """The state of `num_episodes` episodes in lock-step: the step, and the latest text of every node.

    Texts are lists with one entry an episode. Nodes with the same senders share their inboxes, and inboxes are built
    when they are first asked for, so that a layer costs one tuple an episode and not one a node.
    """

    def __init__(self, topology: Topology, num_episodes: int) -> None:
        self.topology = topology
        self.num_episodes = num_episodes
        self.reset()

    def reset(self) -> None:
        self.step = 0
        silence = [""] * self.num_episodes
        self.said: dict[str, list[str]] = dict.fromkeys(self.topology.nodes, silence)
        self._inboxes: dict[tuple[str, ...], list[tuple[Incoming, ...]]] = {}

    @property
    def done(self) -> bool:
        return self.step >= self.topology.horizon

    @property
    def speakers(self) -> tuple[str, ...]:
        """The nodes whose messages count at this step."""
        return () if self.done else self.topology.schedule[self.step]

    @property
    def answers(self) -> list[str]:
        """The latest message of the output node, for each episode."""
        return self.said[self.topology.output]

    def inboxes(self, node: str) -> list[tuple[Incoming, ...]]:
        """What `node` hears at this step, for each episode: one Incoming for each incoming edge, by slot."""
        senders = self.topology.incoming(node)
        inboxes = self._inboxes.get(senders)
        if inboxes is None:
            columns = [
                [Incoming(slot, sender, text) for text in self.said[sender]]
                for slot, sender in enumerate(senders, start=1)
            ]
            inboxes = list(zip(*columns, strict=True)) if columns else [()] * self.num_episodes
            self._inboxes[senders] = inboxes
        return inboxes

    def deliver(self, texts: Mapping[str, Sequence[str]]) -> None:
        """Take the texts of this step's speakers (sanitised, one an episode) and go on to the next step."""
        self.said.update({node: list(texts[node]) for node in self.speakers})
        self._inboxes = {
            senders: inboxes for senders, inboxes in self._inboxes.items() if not any(s in texts for s in senders)
        }
        self.step += 1
