"""Frames over a pipe: four bytes of length, then that many bytes."""

from __future__ import annotations

import os
import struct

from .codec import MAX_BYTES, CodecError

CHUNK = 1 << 16


def send(descriptor: int, payload: bytes) -> None:
    """Write one frame. Raises OSError where the other side has closed the pipe."""
    rest = memoryview(struct.pack("<I", len(payload)) + payload)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def receive(descriptor: int) -> bytes | None:
    """Read one frame; None where the other side has closed the pipe. Raises CodecError for a frame that is too long."""
    header = _read(descriptor, 4)
    if header is None:
        return None
    length = struct.unpack("<I", header)[0]
    if length > MAX_BYTES:
        raise CodecError(f"a message of {length:,} bytes; at most {MAX_BYTES:,} are accepted")
    return _read(descriptor, length)


def _read(descriptor: int, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        chunk = os.read(descriptor, min(count - len(data), CHUNK))
        if not chunk:
            return None
        data += chunk
    return bytes(data)
