"""From what was typed at `neuromas search` to a problem that can be searched, and back to what was found: topologies
for questions. Growth has a setting of its own (growth_setting.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algorithms.files import write_json
from neuromas_env.errors import UsageError
from neuromas_env.search import EdgeSpace, Played, Recorded, SearchSpace, ShapeSpace, TemplateSpace
from neuromas_env.search.embedding import Embedding, hashed_words
from neuromas_env.search.evaluation import Evaluator
from neuromas_env.search.making import longest_answers, question_pool
from neuromas_env.task import Question, Task, questions_hash
from neuromas_env.topology import Topology

from .drawing import Drawn, draw_topologies
from .ledger import Ledger
from .optimisers import check_search, search
from .outcome import Found, Worth, found_by, topology_file, worth
from .plot import Curve, draw_search
from .problem import TopologyProblem

if TYPE_CHECKING:
    from algorithms.backbone import Backbone

DEFAULT_BASE = "1-1-1-1-1/all"
DEFAULT_TEMPLATES = "1,1-1,1-1-1,2-2-1,1-1-1-1"
PACKAGES = ("neuromas", "gymnasium", "stable-baselines3", "torch", "numpy")


class Setting(ABC):
    """What is searched. `identity` holds all that decides it, as JSON values."""

    identity: dict[str, Any]

    @abstractmethod
    def check(self, algorithm: str, budget: int, *, floor: bool) -> None:
        """Raise UsageError where the algorithm (or random search as its floor) cannot search here, or not within the
        budget."""

    @abstractmethod
    def run(self, algorithm: str, budget: int, folder: Path, *, floor: bool) -> list[str]:
        """Search, write what was found into `folder`, and say it in a few lines."""


@dataclass
class TopologySetting(Setting):
    space: SearchSpace
    evaluator: Evaluator
    questions: Sequence[Question]
    judge: Evaluator
    judged: Sequence[Question]
    """Held-out questions, and what evaluates topologies on them."""
    token_budget: int
    price: float
    seed: int
    layerwise: bool
    embedding: Embedding
    identity: dict[str, Any] = field(default_factory=dict)

    def problem(self, budget: int, path: Path | None = None, *, whole: bool = False) -> TopologyProblem:
        """What is searched; `whole` never builds layer by layer, for the floor."""
        return TopologyProblem(
            self.space,
            self.evaluator,
            self.questions,
            self.token_budget,
            Ledger(budget, path),
            price=self.price,
            seed=self.seed,
            layerwise=self.layerwise and not whole,
            embedding=self.embedding,
        )

    def check(self, algorithm: str, budget: int, *, floor: bool) -> None:
        check_search(algorithm, self.problem(budget))
        if floor:
            check_search("random", self.problem(budget, whole=True))

    def run(self, algorithm: str, budget: int, folder: Path, *, floor: bool) -> list[str]:
        problems = {algorithm: self.problem(budget, folder / "evaluations.jsonl")}
        if floor:
            problems["random"] = self.problem(budget, folder / "random.jsonl", whole=True)
        curves, found, worths = dict[str, Curve](), dict[str, Found](), dict[str, Worth]()
        for name, problem in problems.items():
            with closing(problem.ledger):
                controller = search(name, problem, self.seed)
            found[name] = found_by(controller, problem, self.seed)
            worths[name] = worth(problem, self.judge, self.judged, found[name].topology)
            curves[name] = Curve(problem.rewards(), problem.tokens(), worths[name].reward, worths[name].tokens)
            if name == algorithm:
                controller.save(folder)
        worths["largest"] = worth(self.problem(budget), self.judge, self.judged, self.space.largest)
        best = found[algorithm]
        write_json(folder / "topology.json", topology_file(best.topology))
        write_json(folder / "results.json", self._results(found, worths, curves))
        title = f"{self.identity['task']}: {self.space.name} searched by {algorithm}"
        draw_search(curves, folder / "search.png", title)
        draw_topologies(self._drawn(best, worths[algorithm]), folder / "topologies.png", title)
        return self._lines(algorithm, found, worths, curves)

    def _results(
        self, found: Mapping[str, Found], worths: Mapping[str, Worth], curves: Mapping[str, Curve]
    ) -> dict[str, Any]:
        searches = {
            name: {
                "topology": each.topology.to_json(),
                "spelled": str(each.topology),
                "probabilities": [[*edge, share] for edge, share in sorted(each.probabilities.items())],
                "evaluations": len(curves[name].rewards_B),
                "tokens": int(curves[name].tokens_B.sum()),
            }
            for name, each in found.items()
        }
        judged = {name: asdict(each) for name, each in worths.items()}
        return {**made_with(self.identity), "searches": searches, "held_out": judged}

    def _drawn(self, best: Found, own: Worth) -> list[Drawn]:
        caption = f"found: {100 * own.accuracy:.1f} %, {own.tokens:.1f} tokens"
        drawn = [Drawn(best.topology, caption, best.probabilities)]
        others = best.others if isinstance(self.space, EdgeSpace) else []
        drawn += [Drawn(topology, f"{100 * share:.0f} % of draws", best.probabilities) for topology, share in others]
        return drawn

    def _lines(
        self, algorithm: str, found: Mapping[str, Found], worths: Mapping[str, Worth], curves: Mapping[str, Curve]
    ) -> list[str]:
        spent = {name: f"{len(c.rewards_B)} evaluations, {c.tokens_B.sum():,.0f} tokens" for name, c in curves.items()}
        lines = [f"{len(self.judged)} held-out questions:"]
        for name, each in worths.items():
            topology = found[name].topology if name in found else self.space.largest
            told = f"found by {name} ({spent[name]})" if name in spent else "the largest network"
            lines.append(
                f"  {told}: {topology}, accuracy {each.accuracy:.3f} ({each.low:.3f}–{each.high:.3f}), "
                f"{each.calls:.2f} calls, {each.tokens:.1f} tokens, reward {each.reward:.3f}"
            )
        return lines


def topology_setting(
    task: Task,
    space: str,
    network: Path | None,
    base: str | None,
    width: int,
    rounds: int,
    templates: str | None,
    transcripts: Sequence[Path],
    layerwise: bool,
    embedding: str,
    held_out: int,
    *,
    price: float,
    seed: int,
    backbone: str | None,
) -> TopologySetting:
    """The setting of a search for topologies. Raises UsageError for what does not go together."""
    if held_out < 1:
        raise UsageError(f"--held-out {held_out}: at least 1 question is needed")
    if network is not None and (space != "edges" or base or transcripts):
        raise UsageError("--network searches the edges of its own topology: give --space edges and no --base with it")
    if transcripts and (space != "templates" or templates):
        raise UsageError("--transcripts are templates themselves: give --space templates and no --templates with them")
    loaded: Backbone | None = None
    judge: Evaluator
    if transcripts:
        evaluator: Evaluator
        evaluator = judge = record = Recorded.from_transcripts(transcripts)
        chosen: SearchSpace = TemplateSpace(record.topologies)
        if len(record.questions) < 2:
            raise UsageError("the transcripts share one question; one to search on and one to judge by are needed")
        questions, judged = record.questions[::2], record.questions[1::2][:held_out]
    else:
        policy, own, loaded = _speaker(network, backbone)
        chosen = _space(space, own or base or DEFAULT_BASE, width, rounds, templates)
        evaluator = Played(task, policy, base=own)
        judge = Played(task, policy, "validation", base=own)
        questions, judged = question_pool(task), question_pool(task, "validation", held_out)
    if embedding == "backbone":
        if loaded is None:
            raise UsageError("--embedding backbone: with --transcripts no backbone is loaded (accepted: words)")
        from .sentences import SentenceEmbedding

        embed: Embedding = SentenceEmbedding(loaded)
    else:
        embed = hashed_words
    identity = {
        "task": task.id,
        "questions": questions_hash([*questions, *judged]),
        "space": chosen.to_json(),
        "layerwise": layerwise,
        "embedding": embedding,
        "network": None if network is None else str(network),
        "backbone": None if loaded is None else loaded.weight_hash(),
    }
    return TopologySetting(
        chosen, evaluator, questions, judge, judged, longest_answers(task, chosen), price, seed, layerwise, embed,
        identity,
    )  # fmt: skip


def _space(name: str, base: str | Topology, width: int, rounds: int, templates: str | None) -> SearchSpace:
    from algorithms.resolve import resolve_topology

    if name == "edges":
        return EdgeSpace(resolve_topology(base) if isinstance(base, str) else base)
    if name == "shape":
        return ShapeSpace(width, rounds)
    names = DEFAULT_TEMPLATES if templates is None else templates
    return TemplateSpace([resolve_topology(each.strip()) for each in names.split(",") if each.strip()])


def _speaker(network: Path | None, backbone: str | None) -> tuple[Any, Topology | None, Backbone]:
    """Who speaks at the nodes: the best network of a run, with its topology, or the frozen backbone; and the model."""
    from algorithms import Network
    from algorithms.validation import GreedyPolicy

    from ..commands import load
    from ..training import open_run

    if network is None:
        loaded = load(backbone or "nano")
        return Network.create("1", loaded, rank=0), None, loaded
    run = open_run(network)
    loaded = load(backbone or run.config.backbone)
    trained = run.network("best", loaded)
    return GreedyPolicy(trained, run.config.max_tokens), trained.topology, loaded


def made_with(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What was searched, and the versions of what searched it."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"search": dict(identity), "versions": versions}
