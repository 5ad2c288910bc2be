"""MALT (Motwani et al., arXiv 2412.01928): a generator, a verifier and a refiner, trained from a search tree.

    generator → verifier → refiner; the verifier reads the answer, the refiner the answer and what was said about it

All three start from one model. Of each question a tree is sampled, each message with several continuations; a message
is worth the share of right answers below it, and each role learns from its own good and bad ones (`algorithms/malt.py`,
which says what differs from the original: one round of data there, a fresh tree in every batch here). The original has
branching 3 and three full adapters of rank 16 and more; here the branching is the most even one of the samples of a
question, and the rank what equal parameters give. A tree samples fewer messages than as many separate episodes, so it
takes more updates. The learning rate is 1e-3: imitation gets stuck at the network's 3e-3 (72 against 98 % on validation
questions of `chain` 2-3).
"""

from __future__ import annotations

from .base import Wording
from .peers import TrainedPeer


class MALT(TrainedPeer):
    name = "malt"
    summary = "generator, verifier and refiner, trained from a search tree by imitation and preference"
    shape = "1-1-1/all"
    algorithm = "malt"
    learning_rate = 1e-3
    told = {"node_0": "generator", "node_1": "verifier", "node_2": "refiner"}  # noqa: RUF012 - never written to
    wordings = {  # noqa: RUF012 - never written to
        "generator": Wording("You are the generator. Solve the task step by step. End with the answer."),
        "verifier": Wording(
            "You are the verifier. Check the solution above, and say what is wrong with it, if anything."
        ),
        "refiner": Wording("You are the refiner. Use the solution and the check above, and end with the right answer."),
    }
