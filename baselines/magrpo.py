"""MAGRPO (Liu et al., arXiv 2508.04652): two cooperating agents, trained by the group mean of their joint return.

A helper speaks first, and the main agent hears it and answers. The original has its two agents answer side by side on
parts of one output (a summary's two halves, a helper function and the main one); a question with a single answer has no
such parts, so the helper's part is what helps the main agent. One turn, as in the original's main experiments; the
algorithm is `algorithms/magrpo.py`.
"""

from __future__ import annotations

from .base import Wording
from .peers import TrainedPeer


class MAGRPO(TrainedPeer):
    name = "magrpo"
    summary = "a helper and a main agent, trained by the group mean of the joint return"
    shape = "1-1"
    algorithm = "magrpo"
    told = {"node_0": "helper", "node_1": "main"}  # noqa: RUF012 - never written to
    wordings = {  # noqa: RUF012 - never written to
        "helper": Wording(
            "You are the helper. Say what helps the main agent, who answers after you, to solve the task."
        ),
        "main": Wording("You are the main agent. Use what the helper said if it helps. End with the answer."),
    }
