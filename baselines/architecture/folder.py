"""The folder of a search, which the same command goes on with and another one is refused.

search.json            what is searched, by whom and with which budget
evaluations.jsonl      every evaluation; random.jsonl those of random search beside it
topology.json          what was found, for train, grow and compare
controller.json        the controller (its tensors in policy/), results.json, search.png, topologies.png
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from algorithms.config import differences
from algorithms.files import exclusive, remove_partial, write_json, writing
from neuromas_env.errors import UsageError

FORMAT = 1


@contextmanager
def search_folder(folder: Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Hold `folder` for the search called `identity` (JSON values).

    Raises UsageError, with what differs, where another search is in it, and where it holds something else.
    """
    record = json.loads(json.dumps({"format": FORMAT, **identity}))
    file = folder / "search.json"
    if file.exists():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from None
        if changed := differences(there, record):
            raise UsageError(f"{folder} holds another search: {'; '.join(changed)}. Choose another --out")
    elif folder.is_dir() and any(path.name != ".lock" and ".partial-" not in path.name for path in folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no search: choose another --out")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        remove_partial(folder)
        write_json(file, record)
        yield
