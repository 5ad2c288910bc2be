"""Values as bytes and back, for two processes that do not trust each other.

Plain data keeps its exact type: None, bool, int, float (nan, infinities and -0.0 included), complex, str (lone
surrogates included), bytes, bytearray, list, tuple, dict, set, frozenset, range, Decimal, Fraction, the built-in types
themselves. An object of a subclass (Counter, named tuple, IntEnum …) becomes its plain base, so that no comparison ever
runs a method of the sender. Iterators and generators are drawn to their end and arrive as iterators; views of a dict
arrive as such views. For any other object only a reference is sent: see `Refer` and `Resolve`.

A value is a tag of one byte, then its content; lengths and counts are four bytes. Bytes that are malformed, nested too
deeply or too long raise CodecError, whatever they hold.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MAX_BYTES = 16 << 20
MAX_DEPTH = 100
MAX_INT_BYTES = 1 << 20
MAX_ITEMS = 1_000_000
"""How many items a sequence may have, or an iterator give."""

Refer = Callable[[object], "int | str"]
"""Gives the reference under which the receiver may ask for an object. Raises TypeError for one that cannot be sent."""
Resolve = Callable[["int | str"], object]

TYPES: tuple[Any, ...] = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
    range,
    object,
    type,
)
NAMED: dict[str, Any] = {kind.__name__: kind for kind in TYPES}

SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"S", frozenset: b"z"}
VIEWS: dict[type, bytes] = {type({}.keys()): b"K", type({}.values()): b"V", type({}.items()): b"M"}
BUILD: dict[bytes, Callable[[list[Any]], object]] = {
    b"l": list,
    b"t": tuple,
    b"S": set,
    b"z": frozenset,
    b"I": iter,
    b"K": lambda items: dict.fromkeys(items).keys(),
    b"V": lambda items: dict(enumerate(items)).values(),
    b"M": lambda items: dict(items).items(),
}


class CodecError(ValueError):
    """A value that cannot be sent, or bytes that are no value."""


def encode(value: object, refer: Refer) -> bytes:
    """The bytes of a value. Raises CodecError for one beyond the bounds, and what `refer` raises."""
    encoder = _Encoder(refer)
    encoder.put(value, 0)
    return b"".join(encoder.parts)


def decode(data: bytes, resolve: Resolve) -> Any:
    """The value of some bytes. Raises CodecError for any that `encode` does not write, and what `resolve` raises."""
    if len(data) > MAX_BYTES:
        raise CodecError(f"a message of {len(data):,} bytes; at most {MAX_BYTES:,} are accepted")
    decoder = _Decoder(data, resolve)
    value = decoder.take(0)
    if decoder.position != len(data):
        raise CodecError("bytes after the value")
    return value


class _Encoder:
    def __init__(self, refer: Refer) -> None:
        self.refer, self.parts, self.size = refer, list[bytes](), 0
        self.plain: dict[type, Callable[[Any, int], None]] = {
            type(None): lambda value, depth: self._part(b"N"),
            bool: lambda value, depth: self._part(b"T" if value else b"F"),
            int: self._put_int,
            float: lambda value, depth: self._part(b"f" + struct.pack("<d", value)),
            complex: lambda value, depth: self._part(b"c" + struct.pack("<dd", value.real, value.imag)),
            str: lambda value, depth: self._put_bytes(b"s", str.encode(value, "utf-8", "surrogatepass")),
            bytes: lambda value, depth: self._put_bytes(b"b", value),
            bytearray: lambda value, depth: self._put_bytes(b"y", bytes(value)),
            dict: self._put_dict,
            **dict.fromkeys(SEQUENCES, self._put_sequence),
        }

    def put(self, value: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise CodecError(f"a value nested more than {MAX_DEPTH} levels deep")
        kind = type(value)
        base: type | None = next((base for base in kind.__mro__ if base in self.plain), None)
        if base is not None:
            self.plain[base](value, depth)
        elif kind in VIEWS:
            self._put_items(VIEWS[kind], value, depth)
        elif kind is range:
            self._put_all(b"r", (value.start, value.stop, value.step), depth)
        elif kind is type and value in TYPES:
            self._put_all(b"B", (str(value.__name__),), depth)
        elif (kind.__module__, kind.__name__) == ("decimal", "Decimal"):
            self._put_all(b"D", (str(value),), depth)
        elif (kind.__module__, kind.__name__) == ("fractions", "Fraction"):
            self._put_all(b"Q", (value.numerator, value.denominator), depth)
        elif isinstance(value, Iterator):
            self._put_items(b"I", value, depth)
        else:
            self._put_all(b"o", (self.refer(value),), depth)

    def _part(self, part: bytes) -> None:
        self.size += len(part)
        if self.size > MAX_BYTES:
            raise CodecError(f"a value of more than {MAX_BYTES:,} bytes")
        self.parts.append(part)

    def _put_int(self, value: int, depth: int) -> None:
        length = int.bit_length(value) // 8 + 1
        if length > MAX_INT_BYTES:
            raise CodecError(f"an integer of more than {MAX_INT_BYTES:,} bytes")
        self._put_bytes(b"i", int.to_bytes(value, length, "little", signed=True))

    def _put_bytes(self, tag: bytes, content: bytes) -> None:
        if len(content) > MAX_BYTES:  # before it is copied
            raise CodecError(f"a value of more than {MAX_BYTES:,} bytes")
        self._part(tag + struct.pack("<I", len(content)) + content)

    def _put_dict(self, value: dict[object, object], depth: int) -> None:
        pairs = list(dict.items(value))
        self._part(b"d" + struct.pack("<I", len(pairs)))
        for key, item in pairs:
            self.put(key, depth + 1)
            self.put(item, depth + 1)

    def _put_sequence(self, value: Any, depth: int) -> None:
        base: Any = next(base for base in type(value).__mro__ if base in SEQUENCES)
        self._put_items(SEQUENCES[base], base.__iter__(value), depth)

    def _put_items(self, tag: bytes, items: Iterable[object], depth: int) -> None:
        # The count comes first but is known last: an iterator may have no end.
        place, count = len(self.parts), 0
        self._part(tag + bytes(4))
        for count, item in enumerate(items, 1):
            if count > MAX_ITEMS:
                raise CodecError(f"more than {MAX_ITEMS:,} items")
            self.put(item, depth + 1)
        self.parts[place] = tag + struct.pack("<I", count)

    def _put_all(self, tag: bytes, values: Iterable[object], depth: int) -> None:
        self._part(tag)
        for value in values:
            self.put(value, depth + 1)


class _Decoder:
    def __init__(self, data: bytes, resolve: Resolve) -> None:
        self.data, self.resolve, self.position = data, resolve, 0

    def take(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CodecError(f"a value nested more than {MAX_DEPTH} levels deep")
        tag = self._bytes(1)
        if tag == b"o":
            return self.resolve(self._exactly((int, str), depth))
        try:
            return self._content(tag, depth)
        except CodecError:
            raise
        except (ValueError, TypeError, ArithmeticError, struct.error) as error:  # an unhashable key, say, or 1/0
            raise CodecError(f"no value: {error}") from error

    def _content(self, tag: bytes, depth: int) -> Any:
        match tag:
            case b"N":
                return None
            case b"T" | b"F":
                return tag == b"T"
            case b"i":
                return int.from_bytes(self._bytes(self._length(MAX_INT_BYTES)), "little", signed=True)
            case b"f":
                return struct.unpack("<d", self._bytes(8))[0]
            case b"c":
                return complex(*struct.unpack("<dd", self._bytes(16)))
            case b"s":
                return str(self._bytes(self._length()), "utf-8", "surrogatepass")
            case b"b":
                return self._bytes(self._length())
            case b"y":
                return bytearray(self._bytes(self._length()))
            case b"d":
                return {self.take(depth + 1): self.take(depth + 1) for _ in range(self._length())}
            case b"r":
                return range(*(self._exactly((int,), depth) for _ in range(3)))
            case b"B":
                return self._named(self._exactly((str,), depth))
            case b"D":
                from decimal import Decimal

                return Decimal(self._exactly((str,), depth))
            case b"Q":
                from fractions import Fraction

                return Fraction(self._exactly((int,), depth), self._exactly((int,), depth))
        if tag not in BUILD:
            raise CodecError(f"unknown tag {tag!r}")
        return BUILD[tag]([self.take(depth + 1) for _ in range(self._length())])

    def _bytes(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise CodecError("a value that is cut off")
        return self.data[start : self.position]

    def _length(self, most: int = MAX_BYTES) -> int:
        length = struct.unpack("<I", self._bytes(4))[0]
        if length > min(most, len(self.data) - self.position):  # an item has one byte at least
            raise CodecError("a value that is cut off or too long")
        return int(length)

    def _exactly(self, kinds: tuple[type, ...], depth: int) -> Any:
        value = self.take(depth + 1)
        if type(value) not in kinds:
            raise CodecError(f"a {type(value).__name__} where {' or '.join(k.__name__ for k in kinds)} belongs")
        return value

    def _named(self, name: str) -> type:
        if name not in NAMED:
            raise CodecError(f"unknown type {name[:100]!r}")
        return NAMED[name]
