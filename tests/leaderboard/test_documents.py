"""What is committed beside the code is what the code makes: schemas, and the page of codes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

pytest.importorskip("pydantic")

from made import make_submission, read

from leaderboard.findings import CODES, TIERS, code
from leaderboard.schemas import FOLDER, schema, text
from leaderboard.submission import MODELS

PAGE = Path(__file__).parents[2] / "docs" / "leaderboard.md"


@pytest.mark.parametrize("name", MODELS)
def test_a_committed_schema_is_that_of_the_model(name: str) -> None:
    """Made again by `python -m leaderboard.schemas`."""
    assert (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8") == text(name)
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_a_submission_follows_the_schemas_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    make_submission(tmp_path / "one", questions=2)
    card, rows = read(tmp_path / "one")
    jsonschema.validate(card, schema("submission"))
    jsonschema.validate(rows[0], schema("episode"))
    jsonschema.validate(json.loads((tmp_path / "one" / "artifacts.json").read_text()), schema("artifacts"))
    for broken in ({**card, "rank": 1}, {**card, "attempts": 0}, {k: v for k, v in card.items() if k != "licence"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema("submission"))


def test_every_code_stands_on_the_page_with_its_tier_and_meaning() -> None:
    told = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `NM-E")]
    assert told == [f"| `{each.id}` | {each.tier} | {each.title} |" for each in CODES.values()]
    assert {each.tier for each in CODES.values()} == set(TIERS)


def test_a_code_is_given_once() -> None:
    with pytest.raises(ValueError, match="is taken"):
        code(1, "another meaning")
    assert CODES["NM-E001"].title != "another meaning"
