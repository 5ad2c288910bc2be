"""What the documentation says of the paper's claims is what the committed reports say."""

from __future__ import annotations

import json
import re
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "docs" / "results"
ROW = re.compile(r"^\| (\d) \| .+ \| (reproduced in part|reproduced|not reproduced): .+ \| (.+) \|$", re.MULTILINE)


def rows() -> dict[int, tuple[str, list[str]]]:
    """Of each claim in the table: what became of it, and the reports that are named for it."""
    page = (RESULTS / "reproduction.md").read_text(encoding="utf-8")
    return {int(claim): (verdict, re.findall(r"\((\S+)\.md\)", links)) for claim, verdict, links in ROW.findall(page)}


def verdicts(report: Path) -> dict[int, str]:
    """What a report says of each claim that it tests, without the figures."""
    claims = json.loads(report.read_text(encoding="utf-8"))["claims"]
    said = {place: re.split(r"[;(]", claim["verdict"])[0].strip() for place, claim in enumerate(claims, start=1)}
    return {place: verdict for place, verdict in said.items() if verdict != "not tested"}


def test_every_claim_is_in_the_table_as_its_reports_have_it() -> None:
    table = rows()
    assert sorted(table) == list(range(1, 10))
    reports = {f"reproduction/{path.stem}": verdicts(path) for path in (RESULTS / "reproduction").glob("*.json")}
    for claim, (verdict, named) in table.items():
        tested = {report for report, said in reports.items() if claim in said}
        assert set(named) == tested, f"claim {claim} is tested in {tested}"
        assert {reports[report][claim] for report in named} == {verdict}


def test_reports_name_no_folder_of_the_machine_that_made_them() -> None:
    for report in (RESULTS / "reproduction").iterdir():
        if report.suffix in (".md", ".json"):
            assert not re.search(r"--\w+ /", report.read_text(encoding="utf-8")), report.name
