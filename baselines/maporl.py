"""MAPoRL (Park et al., arXiv 2502.18439): a debate whose agents are trained, each turn rewarded by a verifier, by PPO.

Three agents answer, hear the others' answers and answer again; in both rounds an agent is the same adapter. What an
agent says in a round earns what the verifier gives it, together with what is said after it (`credit verifier`), and
MAPPO gives the agents one critic. In the original the verifier is a learnt model that scores reasoning; here it is the
task's own scorer, which asks less of the learner. The original ends by a majority vote; here a fourth node hears
the agents and answers, because every network here ends with a node that answers, and it is trained with them. The
original has 2 to 3 agents and 2 to 3 turns. The learning rate is 1e-3 (76 %, and 72 at the network's 3e-3, on
validation questions of `chain` 2-3).
"""

from __future__ import annotations

from .base import Wording
from .debate import AGENTS, ROUNDS
from .peers import TrainedPeer

AGENT = (
    "You are one of several agents who work on the task. Take the answers of the others, if there are any above, as "
    "advice, with care. End with your answer."
)


class MAPoRL(TrainedPeer):
    name = "maporl"
    summary = "a debate whose agents are trained by PPO, each turn rewarded by the task's scorer"
    shape = f"{AGENTS}x{ROUNDS}"
    algorithm = "mappo"
    credit = "verifier"
    learning_rate = 1e-3
    told = {**{f"node_{agent}": "agent" for agent in range(AGENTS)}, f"node_{AGENTS}": "conclude"}  # noqa: RUF012
    wordings = {  # noqa: RUF012 - never written to
        "agent": Wording(AGENT),
        "conclude": Wording("Above are the last answers of several agents. Weigh them, and end with the answer."),
    }
