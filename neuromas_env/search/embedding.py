"""A question as a vector, for a controller that chooses a topology by what is asked."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import numpy as np

Embedding = Callable[[str], np.ndarray]
"""A text as a vector of at most unit length, [D]; always of the same length D."""

SIZE = 64


def hashed_words(text: str, size: int = SIZE) -> np.ndarray:
    """The bag of words of `text`, hashed into a vector of unit length, [size] (Weinberger et al., arXiv 0902.2206).

    A hash chooses the place of each word, and a bit of it the sign, so that collisions cancel on average. Words are
    runs of letters or digits, whatever their case; every other visible character is a word of its own. A text without
    words is the zero vector.
    """
    vector_D = np.zeros(size, np.float32)
    for word in re.findall(r"[^\W_]+|[^\w\s]", text.lower()):
        code = zlib.crc32(word.encode("utf-8", "surrogatepass"))  # the same in every process, unlike hash()
        vector_D[(code >> 1) % size] += 1 if code & 1 else -1
    length = float(np.linalg.norm(vector_D))
    return vector_D / length if length else vector_D
