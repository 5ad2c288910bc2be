"""Published datasets on the Hugging Face hub, each at one pinned revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import DataFileError, UsageError
from .records import Record


@dataclass(frozen=True)
class HubSource:
    """A dataset at a revision. `splits` maps our splits, and `dev` for worked examples, to the dataset's own."""

    repository: str
    config: str | None
    revision: str
    splits: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision[:12]}"


def load_from_hub(source: HubSource, split: str) -> list[Record]:
    """The rows of one split. Raises UsageError without `datasets`, DataFileError where they cannot be had."""
    try:
        import datasets
    except ModuleNotFoundError:
        raise UsageError(
            f"{source.repository} is read from a file (--data FILE), or from the hub by: pip install 'neuromas[tasks]'"
        ) from None
    datasets.disable_progress_bars()
    theirs = source.splits[split]
    try:
        rows = datasets.load_dataset(source.repository, source.config, split=theirs, revision=source.revision)
    except Exception as error:  # the hub client raises errors of half a dozen libraries, and all mean: not to be had
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataFileError(
            f"{source} cannot be had from the hub ({reason}); give its published file with --data FILE"
        ) from None
    return [Record(dict(row), f"{source}, {theirs} row {number}", number) for number, row in enumerate(rows, start=1)]
