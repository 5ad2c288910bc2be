import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromas_env import UnicodeText
from neuromas_env.text import sanitise, visible


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=50))
def test_every_scalar_text_is_contained(text: str) -> None:
    assert UnicodeText(50).contains(text)
    assert not text or not UnicodeText(len(text) - 1).contains(text)


@pytest.mark.parametrize("other", ["\ud800", "a\udfffb", None, b"a", 3, ["a"]])
def test_surrogates_and_other_types_are_not_contained(other: object) -> None:
    assert other not in UnicodeText(50)


def test_samples_are_contained_seeded_and_cover_the_planes() -> None:
    space = UnicodeText(10_000, seed=3)
    samples = [space.sample() for _ in range(500)]
    assert all(sample in space for sample in samples)
    assert "" in samples
    space.seed(3)
    assert samples == [space.sample() for _ in range(500)]
    assert {ord(c) >> 16 for c in "".join(samples)} == set(range(17))
    assert max(map(len, (UnicodeText(3, seed=0).sample() for _ in range(50)))) == 3
    assert len(space.sample((7, None))) == 7
    with pytest.raises(ValueError, match="length"):
        space.sample((7, np.ones(3, np.int8)))


def test_it_costs_nothing_to_make() -> None:
    """The stock space needs 47 MB for the same characters; a kilobyte is a bound that no time-out can blur."""
    tracemalloc.start()
    space = UnicodeText(4000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000
    started = time.perf_counter()
    assert len(space.character_set) == sys.maxunicode + 1 - 2048
    assert "水" in space.character_set
    assert "\ud800" not in space.character_set
    assert time.perf_counter() - started < 1


def test_equality_is_by_length() -> None:
    assert UnicodeText(5) == UnicodeText(5)
    assert UnicodeText(5) != UnicodeText(6)


def test_sanitise_repairs_and_says_what_it_did() -> None:
    assert sanitise("plain", 10) == ("plain", ())
    assert sanitise(None, 10) == ("", ("missing",))
    assert sanitise("x" * 11, 10) == ("x" * 10, ("cut",))
    assert sanitise("a\ud800b水", 10) == ("a\ufffdb水", ("surrogates",))
    assert sanitise("\ud800" * 11, 10) == ("\ufffd" * 10, ("cut", "surrogates"))
    assert sanitise("\x00‮", 10) == ("\x00‮", ())  # strange, but text
    text, _ = sanitise(np.str_("a"), 10)
    assert type(text) is str
    for other in (b"a", 3, ["a"]):
        with pytest.raises(TypeError, match="must be a str"):
            sanitise(other, 10)


def test_visible_shows_what_would_move_or_hide_text() -> None:
    assert visible("a\x1b[31m\u202eb\x00\ud800\n") == "a⟨U+001B⟩[31m⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩⟨U+000A⟩"
    assert visible("one\ntwo", keep_newlines=True) == "one\ntwo"
    assert visible("naïve 水 👩‍👩‍👧") == "naïve 水 👩‍👩‍👧"
