"""The JSON Schemas of a submission's files, made of the models and kept under `leaderboard/schema/`.

    python -m leaderboard.schemas

writes them again; a test holds the files to the models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .submission import MODELS

FOLDER = Path(__file__).parent / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(name: str) -> dict[str, Any]:
    """The schema of `submission`, `episode` (a line of episodes.jsonl.gz) or `artifacts`."""
    return {"$schema": DIALECT, **MODELS[name].model_json_schema()}


def text(name: str) -> str:
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in MODELS:
        (FOLDER / f"{name}.schema.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    write()
