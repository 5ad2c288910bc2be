"""What a run leaves behind, to be compared with what another left."""

from __future__ import annotations

from pathlib import Path

from algorithms.checkpoint import checkpoints


def contents(run: Path) -> dict[str, bytes]:
    """What of a run must not depend on what happened to it: the metrics, the transcripts and the last checkpoint."""
    found = [run / "metrics.jsonl", *run.glob("transcripts/*"), *checkpoints(run)[-1].path.rglob("*")]
    return {str(file.relative_to(run)): file.read_bytes() for file in found if file.is_file()}
