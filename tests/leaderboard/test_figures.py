"""Figures: drawings that are whole, hold what they should, and take any text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.site.figures import Gap, Mark, forest, front, pareto, profile
from leaderboard.site.svg import linear_scale, log_scale, log_ticks, n, ticks

HOSTILE = "\u202egro.live<script>alert(1)</script>\"'><b>\x00\x1b[31m" + "x" * 400
SVG = "{http://www.w3.org/2000/svg}"
shares = st.floats(0, 1)
costs = st.one_of(st.just(0.0), st.floats(1e-3, 1e12))
marks = st.lists(st.builds(lambda c, a: Mark("m", c, a, max(0, a - 0.1), min(1, a + 0.1)), costs, shares), max_size=40)


def parse(svg: str) -> ElementTree.Element:
    assert not re.search(r"style=|<style|<script|on\w+=|url\(", svg)
    root = ElementTree.fromstring(svg)
    width, height = map(float, root.get("viewBox", "").split()[2:])
    for each in root.iter("circle"):
        assert 0 <= float(each.get("cx", "")) <= width
        assert 0 <= float(each.get("cy", "")) <= height
    for each in root.iter("line"):
        assert all(-0.01 <= float(each.get(name, "")) <= width + 0.01 for name in ("x1", "x2"))
        assert all(-0.01 <= float(each.get(name, "")) <= height + 0.01 for name in ("y1", "y2"))
    return root


@given(marks)
def test_the_front_is_what_no_other_beats(marks: list[Mark]) -> None:
    def beaten(one: Mark) -> bool:
        return any(
            other.cost <= one.cost
            and other.accuracy >= one.accuracy
            and (other.cost, other.accuracy) != (one.cost, one.accuracy)
            for other in marks
        )

    found = front(marks)
    assert sorted(found) == [place for place, mark in enumerate(marks) if not beaten(mark)]
    assert [marks[place].cost for place in found] == sorted(marks[place].cost for place in found)


@given(marks)
def test_every_system_is_on_the_drawing_whatever_it_costs(marks: list[Mark]) -> None:
    root = parse(pareto(marks, "calls"))
    assert len(list(root.iter("circle"))) == len(marks)


@given(st.lists(st.builds(lambda m, s: Gap("g", m, m - s, m + s), st.floats(-1, 1), st.floats(0, 1)), max_size=20))
def test_differences_that_leave_zero_out_stand_out(gaps: list[Gap]) -> None:
    root = parse(forest(gaps, "differences"))
    told = [each.get("class") for each in root.iter("circle")]
    assert told == ["mark sure" if gap.low > 0 or gap.high < 0 else "mark unsure" for gap in gaps]


def test_a_profile_falls_and_begins_with_every_question() -> None:
    values_Q = np.array([0, 0, 0.5, 1.0, 1.0])
    root = parse(profile([("one", values_Q), ("other", np.ones(5))]))
    curve = next(each for each in root.iter("path") if each.get("class") == "curve c0")
    heights = [float(pair.split()[1]) for pair in curve.get("d", "")[1:].split("L")]
    assert heights == sorted(heights)  # downwards is up in SVG
    assert len(set(heights)) == 3  # all, at least half, always


def test_names_of_strangers_are_text_and_nothing_else() -> None:
    mark = Mark(HOSTILE, 1, 0.5, 0.4, 0.6, 'x" onload="1')
    for svg in (
        pareto([mark], HOSTILE),
        forest([Gap(HOSTILE, 0.1, 0, 0.2)], HOSTILE),
        profile([(HOSTILE, np.array([0.0, 1.0]))]),
    ):
        root = ElementTree.fromstring(svg)
        assert {each.tag for each in root.iter()} <= {"svg", "text", "line", "circle", "path", "title", "a"}
        assert not [name for each in root.iter() for name in each.attrib if name.startswith("on")]
        told = "".join(root.itertext()) + str([dict(each.attrib) for each in root.iter()])
        assert "\u202e" not in told
        assert "⟨U+202E⟩" in told


def test_nothing_is_said_so() -> None:
    for svg in (pareto([], "calls"), forest([], "differences"), profile([])):
        assert "Nothing to show yet." in "".join(parse(svg).itertext())


@given(st.lists(costs, min_size=1, max_size=20))
def test_log_scales_keep_the_order_and_zero_a_place_of_its_own(values: list[float]) -> None:
    scale = log_scale(values, 0, 100)
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100.0001 for place in places)
    made = log_ticks(scale.low, scale.high)
    assert made == sorted(set(made))
    assert all(scale.low <= tick <= scale.high for tick in made)
    if 0.0 in values and max(values) > 0:
        assert scale(0.0) < scale(min(value for value in values if value > 0))


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_round_rising_and_inside(low: float, width: float) -> None:
    made = ticks(low, low + width)
    assert 1 <= len(made) <= 8
    assert made == sorted(set(made))
    assert all(low - 1e-6 <= tick <= low + width + 1e-6 for tick in made)


def test_what_is_no_number_has_no_place() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="has no place"):
            n(value)
    assert linear_scale(1, 1, 0, 10)(1) == 5
