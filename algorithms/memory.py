"""Keep memory that is about to be needed again."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory(limit: int = 512 * 2**20) -> bool:
    """Let this process keep up to `limit` bytes of freed memory; returns whether the C library took the hint.

    Training passes allocate and free the same large tensors thousands of times. By default glibc returns each to the
    system and gets it back as fresh, zeroed pages, which costs about a tenth of the time of a pass on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # not glibc
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(M_TRIM_THRESHOLD, limit))
