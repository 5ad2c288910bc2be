"""The process that compares mathematical answers with math-verify. It is run as a file and imports nothing of ours.

    python -P -s math_worker.py FOLDER MAX_BYTES SECONDS

FOLDER is where math-verify is installed. Each line read is {"reference": …, "answer": …, "whole": …}: with whole false
the answer is an expression, with whole true a text in which math-verify looks for one. Each line written is
{"status": "correct" | "wrong" | "unparsed" | "failed", "parsed": … or null}.

Its own time-outs are off: they use SIGALRM and hold up nothing that runs in C. Whoever started it kills it in time; if
that one is dead, the alarm below does.
"""

import json
import logging
import os
import signal
import sys
from functools import lru_cache
from typing import Any


def main(folder: str, max_bytes: int, seconds: float) -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a library prints must not be taken for a reply
    limit(max_bytes)
    sys.path.append(folder)
    try:
        compare = make_comparison()
    except ImportError as error:
        print(json.dumps({"error": str(error)}), file=replies, flush=True)
        return
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 1)
        try:
            reply = compare(request["reference"], request["answer"], request["whole"])
        except Exception:
            reply = {"status": "failed", "parsed": None}
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(reply), file=replies, flush=True)


def limit(max_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in ((resource.RLIMIT_AS, max_bytes), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):  # macOS refuses RLIMIT_AS; a lower limit may be set already
            continue


def make_comparison() -> Any:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    kinds = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())

    def read(text: str) -> list[Any]:
        return parse(text, kinds, parsing_timeout=None)

    @lru_cache(maxsize=1024)
    def read_reference(reference: str) -> list[Any]:
        return read(f"\\boxed{{{reference}}}")

    def compare(reference: str, answer: str, whole: bool) -> dict[str, Any]:
        given = read(answer if whole else f"\\boxed{{{answer}}}")
        if not given:
            return {"status": "unparsed", "parsed": None}
        right = verify(read_reference(reference), given, allow_set_relation_comp=True, timeout_seconds=None)
        # the last one is the text of what was read; of an expression the text might take for ever to write
        return {"status": "correct" if right else "wrong", "parsed": given[-1] if isinstance(given[-1], str) else None}

    return compare


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
