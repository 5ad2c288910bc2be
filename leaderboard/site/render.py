"""Pages from views. Every text that comes from a submission is escaped, and characters that would move other text
around are written by their code point, wherever a template shows one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from neuromas_env.show import draw_network
from neuromas_env.text import visible
from neuromas_env.topology import Topology

from ..findings import TIERS
from ..store import board_label
from ..views import RANKED, SORTS, TRACKS, Board, Entry, Query, Views
from . import figures
from .links import EPISODES_A_PAGE, Links

HERE = Path(__file__).parent
ASSETS = {"style.css": "text/css", "icon.svg": "image/svg+xml"}
MOST_OTHERS = 12
"""Systems that a submission's page offers to compare with."""


class Pages:
    """The pages of one store, as HTML texts."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters["with"] = lambda query, **changes: replace(query, **changes)
        self.environment.globals |= {
            "tiers": TIERS, "tracks": TRACKS, "ranked": RANKED, "sorts": SORTS, "plain": Query(),
            "percent": percent, "points": points, "signed": signed, "count": count, "p": p_value,
        }  # fmt: skip

    def _page(self, template: str, link: Links, title: str, **values: Any) -> str:
        return self.environment.get_template(template).render(link=link, title=title, **values)

    @staticmethod
    def asset(name: str) -> str:
        """A file that pages refer to: one of `ASSETS`."""
        return (HERE / name).read_text(encoding="utf-8")

    def index(self, link: Links) -> str:
        values = {"boards": self.views.boards(), "methods": self.views.methods(), "query": Query()}
        return self._page("index.html", link, "Boards", **values)

    def board(self, key: str, query: Query, link: Links) -> str:
        board = self.views.board(key, query)
        return self._page("board.html", link, board.label, board=board, plots=self._board_plots(board, link))

    def _board_plots(self, board: Board, link: Links) -> list[Markup]:
        query = board.query
        name = f"{query.track} {query.tier} {type(link).__name__}"

        def draw() -> list[Markup]:
            return [Markup(svg) for svg in figures.of_board(board, self.views, link)]

        plots: list[Markup] = self.views.plotted(name, board.key, draw)
        return plots

    def submission(self, identity: str, link: Links) -> str:
        record = self.views.store.record(identity)
        card = record.card
        if record.withdrawn:
            attempts = self.views.store.attempts(record)
            return self._page("submission.html", link, card["name"], record=record, label=board_label(card["task"]),
                              attempts=attempts)  # fmt: skip
        topology = Topology.from_json(dict(card["system"]["topology"]))
        board = self.views.board(record.board, Query(tier="T1"))
        entry = next((each for each in board.all if each.id == identity), None)
        others = [] if entry is None else others_of(entry, board.all)
        linked = [(each, to) for each in others if (to := link.compare(identity, each.id))]
        sizes = set(card["parameters"]["per_node"].values())
        return self._page(
            "submission.html",
            link,
            card["name"],
            record=record,
            label=board.label,
            entry=entry,
            ranked_total=len(board.all),
            history=len(self.views.store.verifications(identity)),
            by_seed=self.views.by_seed(record),
            drawing=Markup(draw_network(topology, card["system"]["silence"])),
            per_node=count(sizes.pop()) if len(sizes) == 1 else f"{len(sizes)} sizes" if sizes else "–",
            attempts=self.views.store.attempts(record),
            others=linked,
        )

    def episodes(self, identity: str, start: int, link: Links) -> str:
        record = self.views.store.record(identity)
        rows = [] if record.withdrawn else self.views.episodes(record, start, EPISODES_A_PAGE)
        total = len(record.card["seeds"]) * record.card["task"]["questions"]
        further = start + EPISODES_A_PAGE
        return self._page(
            "episodes.html",
            link,
            f"{record.card['name']}: messages",
            record=record,
            rows=rows,
            start=start,
            before=link.episodes(identity, max(0, start - EPISODES_A_PAGE)) if start else None,
            after=link.episodes(identity, further) if rows and further < total else None,
        )

    def comparison(self, first: str, second: str, link: Links) -> str:
        made = self.views.compare(first, second)
        plots = [Markup(svg) for svg in figures.of_comparison(made, self.views)]
        title = f"{made.first.name} less {made.second.name}"
        return self._page("comparison.html", link, title, made=made, plots=plots)

    def method(self, base: str, link: Links) -> str:
        tasks = self.views.store.boards()
        boards = [
            {
                "key": key,
                "label": board_label(tasks[key]),
                "entries": entries,
                "plot": Markup(figures.over_time(entries, board_label(tasks[key]), link)),
            }
            for key, entries in self.views.method(base).items()
        ]
        return self._page("method.html", link, base, base=base, boards=boards)

    def error(self, title: str, message: str, link: Links) -> str:
        return self._page("error.html", link, title, message=message)


def others_of(entry: Entry, ranked: Any) -> list[Entry]:
    """The best others, and the neighbours: what a reader will want to compare with."""
    place = next(n for n, each in enumerate(ranked) if each.id == entry.id)
    wanted = dict.fromkeys([*range(MOST_OTHERS // 2), *range(place - 3, place + 4)])
    return [ranked[n] for n in sorted(wanted) if 0 <= n < len(ranked) and n != place][:MOST_OTHERS]


# ---------------------------------------------------------------------- how values are written


def _shown(value: Any) -> Any:
    return visible(value, keep_newlines=True) if type(value) is str else value


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    return f"{100 * share:.1f}"


def signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def count(number: float) -> str:
    """A number of things, short: 0.25, 3, 17.5, 1,204, 25.3k, 1.20M."""
    if not math.isfinite(number):
        return "–"
    if abs(number) >= 1e12:
        return f"{number:.2e}"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= 1000 else f"{number:.3g}"


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
