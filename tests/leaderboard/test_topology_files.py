"""Networks whose graph stands in a file, as a search leaves it: packed, and verified where that file is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pydantic")

from made import SAID

from baselines.commands import compare
from leaderboard.commands import pack
from leaderboard.reading import read_card
from leaderboard.verify import verify
from neuromas_env.topology import Topology

EDGES = [("node_0", "node_2"), ("node_1", "node_2"), ("node_0", "node_3"), ("node_2", "node_3")]
FOUND = Topology.from_edges(["node_0", "node_1", "node_2", "node_3"], EDGES, "node_3")
TINY = ("updates=1", "questions=2", "samples=2", "validation_questions=4", "rank=2")


@pytest.mark.parametrize("name", ["untrained", "neuromas"])
def test_a_found_topology_can_be_submitted(tmp_path: Path, name: str) -> None:
    file, card = tmp_path / "topology.json", tmp_path / "card.json"
    file.write_text(json.dumps(FOUND.to_json()))
    card.write_text(json.dumps(SAID))
    method = f"{name}:{file}"
    compare("chain", difficulty="2-3", methods=method, questions=10, train=TINY, jobs=1, out=tmp_path / "c")
    pack(tmp_path / "c", card=card, out=tmp_path / "packed", method=method)
    file.unlink()  # whoever verifies has the card only
    read, _ = read_card(tmp_path / "packed" / "submission.json")
    assert read is not None
    assert Topology.from_json(read.system.topology) == FOUND
    report = verify(tmp_path / "packed", "T3", artifacts=tmp_path / "c" / "runs", secret="of the one who checks")
    assert (report.tier, report.findings) == ("T3", [])
