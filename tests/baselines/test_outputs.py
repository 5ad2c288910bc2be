"""What a comparison hands out: p-values that can be trusted, tables in four formats, plots that can be read."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from baselines.forest import draw_forest
from baselines.pareto import draw_pareto, frontier
from baselines.report import against_votes, raised
from baselines.results import Outcomes, Row, aggregate, read_results, wilson_interval
from baselines.statistics import holm, paired_p, sign_test, with_differences
from baselines.tables import COLUMNS, csv_text, escape, latex, markdown, write_tables

# ---------------------------------------------------------------------- p-values


def test_the_sign_test_is_the_binomial_one() -> None:
    assert sign_test(1, 9) == sign_test(9, 1) == pytest.approx(2 * (1 + 10) / 1024)
    assert sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(0, 0) == sign_test(3, 3) == 1.0


def test_one_seed_or_seeds_alike_are_tested_exactly() -> None:
    first_Q, second_Q = np.zeros(100, bool), np.zeros(100, bool)
    first_Q[:9], second_Q[8:10], first_Q[50:], second_Q[50:] = True, True, True, True  # 8 wins, 1 loss, 51 alike
    assert paired_p(first_Q[None], second_Q[None]) == sign_test(8, 1)
    assert paired_p(np.stack([first_Q] * 3), np.stack([second_Q] * 3)) == sign_test(8, 1)


def test_holm_agrees_with_a_computation_by_hand() -> None:
    # 0.01 × 4, 0.02 × 3, 0.03 × 2 = 0.06 (as the one before), 0.04 × 1 = 0.04, raised to the one before
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.001, 0.5]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_p_values_keep_their_level_where_seeds_differ() -> None:
    """Two methods equally good on average, one of which is trained with luck that changes by 10 points a seed."""
    rng = np.random.default_rng(1)
    below = flipped = 0
    for _ in range(40):
        difficulty_Q = rng.normal(0.5, 0.2, 150)
        luck_S = rng.normal(0, 0.1, 5)
        first_SQ = rng.random((5, 150)) < difficulty_Q + luck_S[:, None]
        second_SQ = rng.random((5, 150)) < difficulty_Q
        below += paired_p(first_SQ, second_SQ) < 0.05
        mean_Q = (first_SQ.astype(float) - second_SQ).mean(axis=0)
        signs_BQ = rng.choice([-1.0, 1.0], size=(400, 150))
        flipped += (np.abs(signs_BQ @ mean_Q) >= abs(mean_Q.sum())).mean() < 0.05
    assert below <= 6  # 2 are expected at the level of 5 %
    assert flipped >= 8  # flipping the signs of questions alone takes the luck of a seed for skill


def test_a_clear_difference_over_seeds_is_found() -> None:
    rng = np.random.default_rng(0)
    difficulty_Q = rng.normal(0.5, 0.1, 200)
    first_SQ, second_SQ = rng.random((5, 200)) < difficulty_Q + 0.15, rng.random((5, 200)) < difficulty_Q
    assert paired_p(first_SQ, second_SQ) == paired_p(second_SQ, first_SQ) < 0.01
    assert paired_p(second_SQ, rng.random((5, 200)) < difficulty_Q) > 0.05


# ---------------------------------------------------------------------- rows of a made-up comparison

NAMES = (
    "self-consistency", "direct", "cot", "neuromas:1-1-1", "single-rl", "my_own:a=1", "debate", "moa", "goa",
    "gptswarm", "agentnet", "self-check", "self-refine", "supervisor", "untrained:1-1-1",
)  # fmt: skip


@pytest.fixture
def compared() -> tuple[list[Row], dict[str, list[Outcomes]]]:
    """Fifteen methods, two seeds, fifty questions; the votes know the first 25, each method some 20 to 40."""
    rows: list[Row] = []
    outcomes: dict[str, list[Outcomes]] = {}
    for place, name in enumerate((*NAMES, "neuromas:1-1-1 (layer 1 silenced)")):
        made, seeds = [], []
        for seed in (0, 1):
            right = 25 if place == 0 else 20 + (7 * place) % 21
            correct_Q = np.arange(50) < right
            errors = {3: "ValueError: a_b | c"} if name == "debate" else {}
            seeds.append(Outcomes(correct_Q, correct_Q, ~correct_Q, ~correct_Q, ~correct_Q, errors))
            extra: dict[str, object] = {"errors": len(errors), "difficulty": "2-3", "topology": "1-1-1"}
            extra |= {"samples": 7} if place == 0 else {}
            if "silenced" in name:
                extra |= {"silenced": ["node_0"], "silenced_of": "neuromas:1-1-1", "silenced_name": "layer 1 silenced"}
            low, high = wilson_interval(right, 50)
            trained = 1000 * (name in ("neuromas:1-1-1", "single-rl"))
            cost = 1.0 + place % 4, 40.5, 3.0 * 1.3**place
            made.append(Row(name, "chain", "test", seed, 50, right / 50, low, high, 0.5, *cost, trained, 1.25, extra))
        rows += [*made, aggregate(made, seeds)]
        outcomes[name] = seeds
    return with_differences(rows, outcomes), outcomes


def test_rows_say_how_they_differ_from_the_votes(compared: tuple[list[Row], dict[str, list[Outcomes]]]) -> None:
    rows, outcomes = compared
    total = {row.method: row for row in rows if row.seed is None}
    assert total["direct"].extra["difference"] == pytest.approx(2 / 50)  # 27 right against 25
    assert total["direct"].extra["against"] == "self-consistency"
    tested = [name for name in NAMES if name != "self-consistency"]
    raw = [total[name].extra["p"] for name in tested]
    assert raw[0] == sign_test(2, 0)
    assert [total[name].extra["p_holm"] for name in tested] == holm(raw)
    untested = {row.method for row in rows if row.seed is None and "p" not in row.extra}
    assert untested == {"self-consistency", "neuromas:1-1-1 (layer 1 silenced)"}
    assert [line.split(": ")[0] for line in against_votes(rows)] == ["neuromas:1-1-1", "single-rl"]
    assert raised(rows, outcomes) == ["debate raised on 2 questions, counted wrong; the first: ValueError: a_b | c"]
    assert total["debate"].extra["errors"] == 2


def test_tables_are_sorted_by_accuracy_and_agree(
    compared: tuple[list[Row], dict[str, list[Outcomes]]], tmp_path: Path
) -> None:
    rows, _ = compared
    write_tables(tmp_path, [rows], "small, version 1")
    assert read_results(tmp_path / "results.json") == rows
    lines = [line for line in (tmp_path / "results.md").read_text().splitlines() if line.startswith("| ")]
    body = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[1:]]
    assert {len(line) for line in body} == {len(COLUMNS)}
    accuracy = [float(line[1].split()[0]) for line in body if "└" not in line[0]]
    assert accuracy == sorted(accuracy, reverse=True)
    assert "└" in body[[line[0].strip() for line in body].index("`neuromas:1-1-1`") + 1][0]
    direct = next(line for line in body if "`direct`" in line[0])
    assert [cell.strip() for cell in direct] == [
        "`direct`", "54.0 (40.4–67.0)", "+4.0 (+0.0 to +10.0)", "1.000", "50.0", "2", "40.5", "3.9", "–", "1.2",
        "–", "0",
    ]  # fmt: skip
    records = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert len(records) == len(rows)
    assert [float(record["accuracy"]) for record in records] == [row.accuracy for row in rows]
    assert json.loads(records[-1]["silenced"]) == ["node_0"]


def test_latex_escapes_what_users_name(compared: tuple[list[Row], dict[str, list[Outcomes]]]) -> None:
    assert escape(r"a_b & 5 % {x} \y~^$#") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{}y\textasciitilde{}\textasciicircum{}\$\#"
    )
    text = latex([compared[0]])
    assert r"my\_own:a=1 & " in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(COLUMNS) - 1}
    assert all(line.endswith(r" \\") for line in body)
    assert text.isascii()
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1


def test_without_votes_there_is_nothing_to_differ_from(
    compared: tuple[list[Row], dict[str, list[Outcomes]]], tmp_path: Path
) -> None:
    rows, outcomes = compared
    plain = [row for row in rows if row.method == "direct" and row.seed is not None]
    alone = with_differences([*plain, aggregate(plain, outcomes["direct"])], {"direct": outcomes["direct"]})
    assert not any("p" in row.extra for row in alone)
    assert "Difference:" not in markdown([alone], "x")
    assert not draw_forest(alone, tmp_path / "none.png", "x")
    assert not list(tmp_path.iterdir())
    assert csv_text(alone).count("\n") == 4


# ---------------------------------------------------------------------- plots


def test_the_frontier_holds_what_nothing_beats(compared: tuple[list[Row], dict[str, list[Outcomes]]]) -> None:
    totals = [row for row in compared[0] if row.seed is None]
    best = frontier(totals)
    for row in totals:
        beaten = any(
            other.sampled_tokens <= row.sampled_tokens and other.accuracy >= row.accuracy and other is not row
            for other in totals
        )
        assert (row in best) != beaten


def test_names_in_the_plot_of_cost_hide_neither_each_other_nor_a_point(
    compared: tuple[list[Row], dict[str, list[Outcomes]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

    import baselines.pareto

    drawn: list[Figure] = []
    monkeypatch.setattr(baselines.pareto, "save", lambda figure, path: drawn.append(figure))
    draw_pareto(compared[0], tmp_path / "pareto.png", "chain", "small")
    (axes,) = drawn[0].axes
    canvas = FigureCanvasAgg(drawn[0])
    canvas.draw()
    names = [child for child in axes.get_children() if isinstance(child, Annotation)]
    assert sorted(name.get_text() for name in names) == sorted(["self-consistency (7)", *NAMES[1:]])
    boxes = [name.get_window_extent(canvas.get_renderer()) for name in names]
    assert not [(i, j) for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])]
    shown = [row for row in compared[0] if row.seed is None and "silenced" not in row.extra]
    points = [axes.transData.transform((row.sampled_tokens, 100 * row.accuracy)) for row in shown]
    assert not any(box.contains(*point) for box in boxes for point in points)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_both_plots_are_written(compared: tuple[list[Row], dict[str, list[Outcomes]]], tmp_path: Path) -> None:
    draw_pareto(compared[0], tmp_path / "made" / "pareto.svg", "chain", "small")
    assert draw_forest(compared[0], tmp_path / "differences.svg", "chain", "small")
    for path in (tmp_path / "made" / "pareto.svg", tmp_path / "differences.svg"):
        assert "<svg" in path.read_text()
