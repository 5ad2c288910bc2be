"""The page of all methods names every method there is."""

from __future__ import annotations

import re
from pathlib import Path

from baselines.base import BUILTIN

PAGE = Path(__file__).parents[2] / "docs" / "baselines.md"


def test_every_method_has_its_row() -> None:
    rows = re.findall(r"^\| `([a-z-]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(BUILTIN)
