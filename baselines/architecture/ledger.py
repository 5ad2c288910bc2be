"""The evaluations of a search: how many there may be, and a record of all that were made.

Every optimiser is a deterministic function of its seed and of what its evaluations gave. So a search that was killed is
gone on with by starting it again and answering from the record as far as that reaches: no optimiser needs a checkpoint
of its own, and the search ends as one that was never interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from algorithms.files import GrowingFile, write_text
from neuromas_env.errors import CheckpointError, UsageError

Record = dict[str, Any]


class BudgetSpentError(RuntimeError):
    """More evaluations were asked for than the budget has: a defect of an optimiser, which must look at `left`."""


class Ledger:
    """A budget of evaluations, and their records, in order. With `path` they are kept there, a line a batch.

    Raises UsageError for a budget below 1, CheckpointError where the file is no such record. A last line that a kill
    cut short is taken off.
    """

    def __init__(self, budget: int, path: Path | None = None) -> None:
        if budget < 1:
            raise UsageError(f"a budget of {budget} evaluations is impossible (accepted: at least 1)")
        self.budget, self.path = budget, path
        self.records: list[Record] = []
        self._kept = [] if path is None else _read(path)
        self._file: GrowingFile | None = None

    @property
    def left(self) -> int:
        return self.budget - len(self.records)

    def take(self, keys: Sequence[str], make: Callable[[], Sequence[Record]]) -> list[Record]:
        """The records of one batch of evaluations, one a key: from the file, or made now and kept.

        A record is a dictionary of JSON values. Raises BudgetSpentError for more than are left, CheckpointError where
        the file holds another search: other keys in this place.
        """
        if len(keys) > self.left:
            raise BudgetSpentError(f"{len(keys)} evaluations were asked for, and {self.left} are left")
        if self._kept:
            batch = self._kept.pop(0)
            if batch["keys"] != list(keys):
                raise CheckpointError(f"{self.path} holds the evaluations of another search; choose another folder")
            found: list[Record] = batch["records"]
        else:
            found = list(make())
            self._append({"keys": list(keys), "records": found})
        self.records += found
        return found

    def _append(self, batch: Record) -> None:
        if self.path is None:
            return
        if self._file is None:
            self._file = GrowingFile(self.path)
        self._file.append(json.dumps(batch).encode() + b"\n")
        self._file.sync()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _read(path: Path) -> list[Record]:
    """The whole lines of a record; the file is cut to them."""
    if not path.exists():
        return []
    try:
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
        batches = [json.loads(line) for line in lines]
        if not all(len(batch["keys"]) == len(batch["records"]) for batch in batches):
            raise ValueError("a batch has not as many records as keys")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no record of evaluations: {error}") from None
    if rest:
        write_text(path, "".join(f"{line}\n" for line in lines))
    return batches
