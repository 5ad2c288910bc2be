"""Graph of Agents (Yun et al., arXiv 2604.17148): agents score each other, and the scores say who hears whom.

    1. answer   every agent answers                                                             3 calls
    2. score    every agent scores the answers of the others; its scores sum to 1               3
    3. down     from high to low: an agent improves its answer by those that scored higher      2
    4. up       from low to high: an agent improves its answer by what the lower ones made      2
    5. pool     mean: one more call makes one answer of all; max: the best agent's stands       1 or 0

With 3 agents and mean pooling that is 11 calls. The original spends a twelfth on choosing 3 of 6 models by their model
cards; on one backbone there is nothing to choose. `goa:pool=max` is 9 calls: only the best agent has to speak in step
4, as in the original's code. Agents that score below 0.05 (the original's threshold) neither speak nor are heard after
step 2; a single one left has its answer stand.

On the environment each step is a layer, and who is heard is a rule that reads the scores out of the messages. An
agent's score is the mean over its judges, scaled so that all sum to 1; equal ones rank in the order of the agents.
Chosen here:

    - where a judge's scores cannot be read (as many numbers as others, that sum to about 1), it holds all alike; the
      original asks it up to 3 times and then leaves it out;
    - in step 4 the answers improved in step 3 are heard, as the paper says; the original's code shows the first ones;
    - who is heard stands in the order of the scores; the original adds words such as "high relevance";
    - all sample at the original's 0.7 but the pooling call, which takes the likeliest answer.

The embedded backbone gives no scores, so that its agents rank in their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from neuromas_env.errors import UsageError
from neuromas_env.node import Incoming, NodeRequest, Policy
from neuromas_env.topology import Topology

from .base import Context, MethodName, System, Wording
from .direct import DIRECT
from .self_consistency import TEMPERATURE
from .workflow import Node, WorkflowMethod, workflow

AGENTS, THRESHOLD = 3, 0.05
POOLS = ("mean", "max")
LABEL = re.compile(r"\[\d+\]|\d+\s*:")
NUMBER = re.compile(r"(?<![\w.+*-])(?:\d+\.?\d*|\.\d+)(?![\w%])")
UP = (
    "Above are the answers that other agents have improved after hearing yours, and last your own. Take from them what "
    "makes yours better, with care: they may be wrong. End with your answer."
)


def goa_topology(agents: int) -> Topology:
    """The five layers; nodes are named by step and agent, as `score_2`. Steps 3 to 5 hear the scores, too."""
    numbers = range(1, agents + 1)
    edges = [(f"answer_{other}", f"score_{judge}") for judge in numbers for other in numbers if other != judge]
    for before, step in (("answer", "down"), ("down", "up")):
        for agent in numbers:
            edges += [(f"{source}_{other}", f"{step}_{agent}") for source in (before, "score") for other in numbers]
    edges += [(f"{source}_{other}", "pool") for source in ("up", "score") for other in numbers]
    nodes = [f"{step}_{agent}" for step in ("answer", "score", "down", "up") for agent in numbers]
    return Topology.from_edges([*nodes, "pool"], edges, "pool", f"graph of {agents} agents")


def said(request: NodeRequest, step: str) -> dict[int, Incoming]:
    """The messages of one step that a node may hear, by agent."""
    prefix = f"{step}_"
    heard = [message for message in request.messages if message.sender.startswith(prefix)]
    return {int(message.sender.removeprefix(prefix)): message for message in heard}


def read_scores(text: str, others: int) -> list[float]:
    """The scores in a judge's message, scaled to sum to 1; all alike where they cannot be read."""
    scores = [float(number) for number in NUMBER.findall(LABEL.sub(" ", text))]
    if len(scores) != others or not 0.9 < sum(scores) < 1.1:
        return [1 / others] * others
    return [score / sum(scores) for score in scores]


def ranking(request: NodeRequest) -> list[int]:
    """The agents that go on after the scoring, best first."""
    judges = said(request, "score")
    totals = dict.fromkeys(judges, 0.0)
    for judge, message in judges.items():
        others = [agent for agent in judges if agent != judge]
        for agent, score in zip(others, read_scores(message.text, len(others)), strict=True):
            totals[agent] += score / len(judges)
    going_on = [agent for agent in judges if totals[agent] >= THRESHOLD]
    return sorted(going_on, key=lambda agent: -round(totals[agent], 9))  # equal scores are equal sums but for rounding


def down(agent: int, instruction: str, temperature: float) -> Node:
    """Step 3: the best passes its answer on; the others hear those above them, best first, and last themselves."""

    def computed(request: NodeRequest) -> str | None:
        ranks = ranking(request)
        if agent not in ranks:
            return ""
        return said(request, "answer")[agent].text if agent == ranks[0] else None

    def hears(request: NodeRequest) -> Sequence[Incoming]:
        ranks, answers = ranking(request), said(request, "answer")
        return [answers[other] for other in ranks[: ranks.index(agent) + 1]]

    return Node(instruction, temperature, hears, computed)


def up(agent: int, instruction: str, temperature: float, only_best: bool) -> Node:
    """Step 4: the lowest passes its answer on; the others hear those below them, best first, and last themselves."""

    def computed(request: NodeRequest) -> str | None:
        ranks = ranking(request)
        if agent not in ranks:
            return ""
        idle = agent == ranks[-1] or (only_best and agent != ranks[0])
        return said(request, "down")[agent].text if idle else None

    def hears(request: NodeRequest) -> Sequence[Incoming]:
        ranks, answers = ranking(request), said(request, "down")
        return [answers[other] for other in (*ranks[ranks.index(agent) + 1 :], agent)]

    return Node(instruction, temperature, hears, computed)


def pool(instruction: str, only_best: bool) -> Node:
    """Step 5: the best agent's answer, or one answer made of all, which are heard best first."""

    def computed(request: NodeRequest) -> str | None:
        ranks = ranking(request)
        return said(request, "up")[ranks[0]].text if only_best or len(ranks) == 1 else None

    def hears(request: NodeRequest) -> Sequence[Incoming]:
        answers = said(request, "up")
        return [answers[agent] for agent in ranking(request)]

    return Node(instruction, hears=hears, computed=computed)


class GraphOfAgents(WorkflowMethod):
    name = "goa"
    summary = "agents score each other; answers go from high scores to low, back, and are pooled"
    options = ("agents", "pool", "temperature")
    wordings = {  # noqa: RUF012 - never written to
        "answer": Wording("Solve the task. End with the answer."),
        "score": Wording(
            "Score each answer above by how correct, coherent and relevant it is. Say one number from 0 to 1 for each, "
            "in their order, with commas between them; together they are 1. Say nothing else."
        ),
        "down": Wording(
            "Above are answers of other agents, the best one first, and last your own. Take from them what makes yours "
            "better, with care: they may be wrong. End with your answer."
        ),
        "up": Wording(UP),
        "conclude": Wording(UP, DIRECT),  # step 4 where the best agent's answer is the last word
        "pool": Wording(
            "Above are answers of agents, the best one first. Make one answer of them, with care: they may be wrong. "
            "End with it.",
            DIRECT,
        ),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.temperature = self.number("temperature", TEMPERATURE)
        self.agents = self.whole("agents", AGENTS, least=2, most=16)
        self.pool = spec.options.get("pool", "mean")
        if self.pool not in POOLS:
            raise UsageError(f"method {str(spec)!r}: pool is one of {', '.join(POOLS)}, not {self.pool!r}")
        self.topology: Topology = goa_topology(self.agents)

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        worded, only_best = self.worded(context), self.pool == "max"
        nodes = {"pool": pool(worded["pool"], only_best)}
        for agent in range(1, self.agents + 1):
            nodes[f"answer_{agent}"] = Node(worded["answer"], self.temperature)
            nodes[f"score_{agent}"] = Node(worded["score"], self.temperature)
            nodes[f"down_{agent}"] = down(agent, worded["down"], self.temperature)
            nodes[f"up_{agent}"] = up(agent, worded["conclude" if only_best else "up"], self.temperature, only_best)
        return workflow(self.topology, nodes, context, speak)
