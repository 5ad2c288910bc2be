"""The store: the same in SQLite and PostgreSQL, never written over, and whole whatever happens at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from made import make_submission, read
from sqlalchemy import inspect

from leaderboard.reading import file_hash
from leaderboard.store import RefusedError, Store, UnknownSubmissionError, open_store
from leaderboard.store.database import Database
from leaderboard.store.tables import Base
from leaderboard.submission import FILES
from neuromas_env.errors import UsageError


def test_what_is_handed_in_is_there_with_its_scores(store: Store, submissions: list[Path]) -> None:
    made = [store.submit(folder, "ada") for folder in submissions[:2]]
    assert all(each.new for each in made)
    assert store.unverified() == [each.id for each in made]
    report = store.verify(made[0].id)
    assert report.tier == "T2"
    assert store.unverified() == [made[1].id]
    record = store.record(made[0].id)
    card, rows = read(submissions[0])
    assert record.card["name"] == card["name"]
    assert record.owner == "ada"
    values_SQ = store.scores(record)
    assert values_SQ is not None
    expected = np.array([row["score"]["value"] for row in rows]).reshape(len(card["seeds"]), -1)
    assert np.array_equal(values_SQ, expected)
    assert all(store.files.whole(sha256) for sha256 in record.files.values())
    assert {name: file_hash(submissions[0] / name) for name in FILES} == dict(record.files)


def test_the_same_bytes_are_one_submission_and_an_owner_keeps_it(store: Store, submissions: list[Path]) -> None:
    first, second = store.submit(submissions[0], "ada"), store.submit(submissions[0], "bob")
    assert (first.new, second.new, second.id) == (True, False, first.id)
    assert [record.owner for record in store.records()] == ["ada"]


def test_a_submission_at_fault_is_refused_and_leaves_nothing(
    store: Store, submissions: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(submissions[0], tmp_path / "bad")
    (tmp_path / "bad" / "submission.json").write_text("{}")
    with pytest.raises(RefusedError) as refused:
        store.submit(tmp_path / "bad", "ada")
    assert {finding.code.id for finding in refused.value.findings} == {"NM-E005"}
    assert store.records() == []
    assert store.boards() == {}
    assert not [path for path in store.files.root.rglob("*") if path.is_file()]


def test_verifications_are_added_and_scores_never_written_over(store: Store, submissions: list[Path]) -> None:
    identity = store.submit(submissions[0], "ada").id
    report = store.verify(identity)
    store.verify(identity, "T1")
    assert [found["tier"] for _, found in store.verifications(identity)] == ["T2", "T1"]
    before = store.all_scores(store.record(identity))
    place = next(iter(report.scores))
    report.scores[place] = 1 - report.scores[place]
    with pytest.raises(UsageError, match="never written over"):
        store.keep(identity, report)
    assert store.all_scores(store.record(identity)) == before
    assert len(store.verifications(identity)) == 2  # the refused one left no trace either
    report.scorer = "chain-v0, neuromas 99"
    store.keep(identity, report)
    both = store.all_scores(store.record(identity))
    assert set(both) == {*before, "chain-v0, neuromas 99"}
    assert both["chain-v0, neuromas 99"][place] != next(iter(before.values()))[place]


def test_a_withdrawal_leaves_a_tombstone_and_counts_as_an_attempt(store: Store, submissions: list[Path]) -> None:
    identities = [store.submit(folder, "ada").id for folder in submissions[:3]]
    store.submit(submissions[3], "bob")
    with pytest.raises(UsageError, match="needs a reason"):
        store.withdraw(identities[0], " ")
    store.withdraw(identities[0], "a bug in the prompt")
    store.withdraw(identities[0], "another reason")
    record = store.record(identities[0])
    assert (record.reason, record.card["name"]) == ("a bug in the prompt", "system 0")
    assert record.withdrawn is not None
    assert store.attempts(store.record(identities[1])) == 3
    assert not store.submit(submissions[0], "ada").new  # it stays withdrawn


def test_ids_are_found_by_their_beginning_only_where_it_is_clear(store: Store, submissions: list[Path]) -> None:
    identity = store.submit(submissions[0], "ada").id
    assert store.find(identity[:10]) == store.find(identity) == identity
    for text in (
        "",
        identity[:3],
        "%",
        "_" * 8,
        "f" * 64,
        "\x00" * 8 if store.database.engine.name == "sqlite" else "-",
    ):
        with pytest.raises(UnknownSubmissionError):
            store.find(text)
    with pytest.raises(UnknownSubmissionError):
        store.withdraw("0" * 64, "none")


def test_the_state_of_a_board_changes_with_everything_on_it(store: Store, submissions: list[Path]) -> None:
    states = [store.state()]
    identity = store.submit(submissions[0], "ada").id
    states.append(store.state())
    store.verify(identity, "T1")
    states.append(store.state())
    store.withdraw(identity, "why not")
    states.append(store.state())
    assert len(set(states)) == 4
    (key,) = store.boards()
    assert store.state(key) == states[-1]


def test_many_hand_in_at_once_and_nothing_is_lost_or_doubled(store: Store, submissions: list[Path]) -> None:
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda place: store.submit(submissions[place % 6], f"owner {place}"), range(36)))
    assert sum(each.new for each in made) == 6
    assert len({record.id for record in store.records()}) == len(store.records()) == 6


def test_boards_are_of_the_very_same_questions(store: Store, submissions: list[Path], tmp_path: Path) -> None:
    make_submission(tmp_path / "more", questions=9)
    make_submission(tmp_path / "harder", difficulty="2")
    for folder in (*submissions[:2], tmp_path / "more", tmp_path / "harder"):
        store.submit(folder, "ada")
    assert sorted(len(store.records(key)) for key in store.boards()) == [1, 1, 2]


def test_migrations_make_the_tables_of_the_code_and_go_back(store: Store) -> None:
    engine = store.database.engine
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    from alembic import command

    from leaderboard.store.database import _config

    with engine.execution_options(write=True).begin() as connection:
        command.downgrade(_config(connection), "base")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    with engine.execution_options(write=True).begin() as connection:
        command.upgrade(_config(connection), "head")
    assert set(inspect(engine).get_table_names()) == {"alembic_version", *Base.metadata.tables}


def test_a_store_is_found_again_as_it_was(submissions: list[Path], tmp_path: Path) -> None:
    first = open_store(tmp_path / "store")
    identity = first.submit(submissions[0], "ada").id
    first.verify(identity)
    before = first.record(identity)
    first.close()
    again = open_store(tmp_path / "store", create=False)
    assert again.record(identity) == before
    with pytest.raises(UsageError, match="is no store"):
        open_store(tmp_path / "nothing", create=False)
    for url in ("nonsense", "postgresql://nobody@127.0.0.1:1/none", "mysql://here/there"):
        with pytest.raises(UsageError, match="--database"):
            Database.open(tmp_path / "store", url)
