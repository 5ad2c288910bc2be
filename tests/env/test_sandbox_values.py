"""What crosses between a program and its test: plain values whole, and from hostile bytes nothing else."""

from __future__ import annotations

import os
import struct
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromas_env.sandbox.channel import send
from neuromas_env.sandbox.codec import MAX_BYTES, MAX_DEPTH, CodecError, decode, encode
from neuromas_env.sandbox.tester import Link, ProgramEndedError, Remote


def no_reference(value: object) -> int:
    raise TypeError(value)


def crossed(value: object) -> Any:
    return decode(encode(value, no_reference), no_reference)


def shape(value: Any) -> Any:
    """What tells a plain value from every other: its types, signs and order too, but not the order of a set."""
    content: Any = repr(value)
    if isinstance(value, (list, tuple)):
        content = [shape(item) for item in value]
    elif isinstance(value, dict):
        content = [(shape(key), shape(item)) for key, item in value.items()]
    elif isinstance(value, (set, frozenset)):
        content = sorted(str(shape(item)) for item in value)
    elif isinstance(value, float):
        content = struct.pack("d", value)
    elif isinstance(value, complex):
        content = struct.pack("dd", value.real, value.imag)
    return type(value).__name__, content


texts = st.text(st.characters(codec=None), max_size=20)
floats = st.floats(allow_nan=True)
hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary(max_size=20),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
values = st.recursive(
    hashable | floats | st.complex_numbers(allow_nan=True) | st.binary().map(bytearray) | st.decimals(allow_nan=False)
    | st.fractions() | st.builds(range, st.integers(), st.integers(), st.integers(min_value=1))
    | st.sampled_from([int, str, list, type(None), type, object]),
    lambda inner: st.lists(inner, max_size=5) | st.tuples(inner, inner) | st.dictionaries(hashable, inner, max_size=5)
    | st.sets(hashable, max_size=5),
    max_leaves=30,
)  # fmt: skip


@given(values)
def test_plain_values_cross_unchanged(value):
    assert shape(crossed(value)) == shape(value)


@given(st.integers(-(1 << 4000), 1 << 4000))
def test_integers_of_any_length_cross_unchanged(value):
    assert crossed(value) == value


def test_what_is_nearly_plain_becomes_plain():
    class Text(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    Colour = IntEnum("Colour", "RED GREEN")
    Point = namedtuple("Point", "x y")
    subclasses = [Counter("aab"), defaultdict(int, a=1), OrderedDict(b=2), Point(1, 2), Colour.GREEN, Text("text")]
    plain = [{"a": 2, "b": 1}, {"a": 1}, {"b": 2}, (1, 2), 2, "text"]
    assert shape(crossed(subclasses)) == shape(plain)
    drawn = crossed([iter([1, 2]), (n for n in "ab"), zip([1], [2], strict=True), map(str, [1])])
    assert [list(items) for items in drawn] == [[1, 2], ["a", "b"], [(1, 2)], ["1"]]
    assert all(iter(items) is items for items in drawn)
    views = crossed([{1: 2}.keys(), {1: 2}.values(), {1: 2}.items()])
    assert [type(view).__name__ for view in views] == ["dict_keys", "dict_values", "dict_items"]
    assert views[0] == {1}


def test_other_objects_cross_as_references():
    thing = object()
    data = encode([thing, {"k": (thing,)}], lambda value: 7 if value is thing else no_reference(value))
    assert decode(data, lambda reference: (reference, "resolved")) == [(7, "resolved"), {"k": ((7, "resolved"),)}]


def endless() -> Iterator[int]:
    while True:
        yield 1


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(CodecError):
        yield


def test_values_beyond_the_bounds_are_refused():
    itself: list[Any] = []
    itself.append(itself)
    nested: Any = 0
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert crossed(nested) == nested
    for value in (itself, [nested], endless(), "x" * (MAX_BYTES + 1), ["x" * (MAX_BYTES // 3)] * 4, 1 << (1 << 24)):
        with refused():
            encode(value, no_reference)


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_hostile_bytes_are_a_value_or_refused(data):
    try:
        value = decode(data, lambda reference: Remote(None, reference))  # type: ignore[arg-type]
    except CodecError:
        return
    assert type(value) is not str or len(value) <= 300


@settings(max_examples=500)
@given(values, st.data())
def test_damaged_bytes_are_a_value_or_refused(value, data):
    good = encode(value, no_reference)
    at = data.draw(st.integers(0, len(good)))
    bad = good[:at] + data.draw(st.binary(max_size=6)) + good[at + data.draw(st.integers(0, 6)) :]
    with suppress(CodecError):
        decode(bad, lambda reference: reference)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"?",
        b"NN",
        b"i\x04\0\0\0\1",
        b"i\xff\xff\xff\xff",
        b"l\xff\xff\xff\xff",
        b"l\1\0\0\0" * (MAX_DEPTH + 1) + b"N",
        b"d\1\0\0\0l\0\0\0\0N",
        b"S\1\0\0\0l\0\0\0\0",
        b"s\1\0\0\0\xff",
        b"r" + b"i\1\0\0\0\0" * 3,
        b"rTTT",
        b"Q" + b"i\1\0\0\0\0" * 2,
        b"Ds\3\0\0\0abc",
        b"Bs\4\0\0\0exec",
        b"oN",
        b"M\1\0\0\0N",
    ],
)
def test_malformed_bytes_are_refused(data):
    with refused():
        decode(data, lambda reference: reference)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.lists(values, max_size=3).map(lambda v: encode(tuple(v), no_reference)), st.booleans()
)
def test_whatever_the_program_answers_is_a_value_an_exception_or_its_end(data, framed):
    """And a value or an exception comes only from an answer of the right form."""
    calls_out, calls_in = os.pipe()
    replies_out, replies_in = os.pipe()
    try:
        if framed:
            send(replies_in, data)
        else:
            os.write(replies_in, data)
        os.close(replies_in)
        link = Link(calls_in, replies_out)
        try:
            link.ask("call", link.remote("solve"), (1,), {})
        except ProgramEndedError:
            assert link.broken
        except Exception:
            assert link.broken is None
            assert b"error" in data
        else:
            assert link.broken is None
            assert b"value" in data
    finally:
        for descriptor in (calls_out, calls_in, replies_out):
            os.close(descriptor)


def test_an_interrupted_answer_is_never_taken_for_the_next(monkeypatch):
    def interrupt(reference: int | str) -> Remote:
        raise KeyboardInterrupt

    calls_out, calls_in = os.pipe()
    replies_out, replies_in = os.pipe()
    try:
        link = Link(calls_in, replies_out)
        send(replies_in, encode(("value", object()), lambda value: 1))
        send(replies_in, encode(("value", "for the next"), no_reference))
        monkeypatch.setattr(link, "remote", interrupt)
        with pytest.raises(KeyboardInterrupt):
            link.ask("len", 1)
        with pytest.raises(ProgramEndedError):
            link.ask("len", 1)
    finally:
        for descriptor in (calls_out, calls_in, replies_out, replies_in):
            os.close(descriptor)
