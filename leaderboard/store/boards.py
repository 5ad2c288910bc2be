"""Boards: what was asked decides which submissions can be compared with each other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ..submission import TaskCard


def board_key(task: TaskCard) -> str:
    """The key of a task's board, fit for an address: readable, and of these very questions only."""
    asked = task.model_dump(mode="json", exclude={"data"})
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    words = re.sub(r"[^a-z0-9]+", "-", f"{board_label(asked)} {task.split} {task.questions}".lower()).strip("-")
    return f"{words[:80]}-{digest[:10]}"


def board_label(task: Mapping[str, Any]) -> str:
    """The task, its difficulty and options, for people."""
    options = [f"{name}={value}" for name, value in sorted(task["options"].items())]
    return " ".join([task["name"], *([task["difficulty"]] if task["difficulty"] else []), *options])
