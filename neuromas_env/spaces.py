"""A text space over all of Unicode that costs nothing to make.

`gymnasium.spaces.Text` keeps its characters in a set, which takes 1.8 s and 47 MB for all of Unicode, and by default
it refuses the empty text, spaces and punctuation.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from .text import SURROGATES

_FIRST_SURROGATE, _NUM_SURROGATES = 0xD800, 0x800
_NUM_SCALARS = 0x110000 - _NUM_SURROGATES
SAMPLE_CHARS = 64


class UnicodeScalars(Set[str]):
    """The set of all Unicode scalar values (every code point but the surrogates), without storing it."""

    def __contains__(self, char: object) -> bool:
        return isinstance(char, str) and len(char) == 1 and not SURROGATES.match(char)

    def __iter__(self) -> Iterator[str]:
        return map(_scalar, range(_NUM_SCALARS))

    def __len__(self) -> int:
        return _NUM_SCALARS

    def __hash__(self) -> int:
        return hash(UnicodeScalars)


def _scalar(number: int) -> str:
    return chr(number if number < _FIRST_SURROGATE else number + _NUM_SURROGATES)


class UnicodeText(spaces.Text):
    """All texts of at most `max_length` Unicode scalar values, the empty one included.

    Samples have at most 64 characters, so that sampling stays cheap whatever the bound.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset="", seed=seed)

    @property
    def character_set(self) -> UnicodeScalars:  # type: ignore[override]  # a set in all but its base class
        return UnicodeScalars()

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(
        self,
        mask: tuple[int | None, NDArray[np.int8] | None] | None = None,
        probability: tuple[int | None, NDArray[np.float64] | None] | None = None,
    ) -> str:
        """A random text. Either argument may fix the length, as (length, None). Raises ValueError for other masks."""
        length, characters = mask or probability or (None, None)
        if characters is not None:
            raise ValueError("UnicodeText samples characters evenly; a mask may only fix the length: (length, None)")
        if length is None:
            length = int(self.np_random.integers(min(self.max_length, SAMPLE_CHARS) + 1))
        return "".join(map(_scalar, self.np_random.integers(_NUM_SCALARS, size=length).tolist()))

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length and not SURROGATES.search(x)

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object, /) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length
