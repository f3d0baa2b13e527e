"""The list of dead letters: one for each document, found by what is asked for, gone when it is dropped or shown."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cdc_daemon.store import Store
from cdc_daemon.store.dead_letter_filter import DeadLetterFilter
from cdc_daemon.store.dead_letters import DeadLetter, DeadLetters
from cdc_daemon.store.migrations import MIGRATIONS


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    return Store(tmp_path).dead_letters


def document(
    key: bytes = b"k", *, alias: str = "a", reason: str = "clash", table: str = "user", at: int | None = None
) -> DeadLetter:
    return DeadLetter(
        kind="document",
        reason=reason,
        detail={"message": reason},
        keyspace="sunbird",
        table=table,
        partition_key=key,
        clustering=(),
        alias=alias,
        at=at,
    )


def mutation(position: int, *, segment: int = 1) -> DeadLetter:
    return DeadLetter(
        kind="mutation", reason="UnknownTableError", detail={}, segment_id=segment, position=position, payload=b"x"
    )


def test_a_document_that_fails_again_has_one_letter_with_the_new_reason(letters: DeadLetters) -> None:
    letters.add([document(at=10), document(alias="b", at=10), document(b"other", at=10)])
    letters.add([document(reason="newer", at=30)])
    found = {(letter.partition_key, letter.alias): letter for letter in letters.list()}
    assert len(found) == 3
    again = found[b"k", "a"]
    assert (again.reason, again.attempts, again.at, again.last_at) == ("newer", 2, 10, 30)
    assert (found[b"k", "b"].attempts, found[b"k", "b"].last_at) == (1, None)


def test_a_partition_has_one_letter_beside_those_of_its_rows(letters: DeadLetters) -> None:
    whole = DeadLetter(
        kind="partition", reason="slow", detail={}, keyspace="sunbird", table="user", partition_key=b"k", at=10
    )
    letters.add([whole, document(alias="", at=10)])
    letters.add([replace(whole, reason="slower", at=30)])
    found = {letter.kind: letter for letter in letters.list()}
    assert set(letters.documents()) == {(("sunbird", "user", b"k", clustering), "") for clustering in (None, ())}
    assert (found["partition"].reason, found["partition"].attempts, found["partition"].last_at) == ("slower", 2, 30)
    assert [each.kind for each in letters.due(10**9, pause=1, longest=1, limit=9)] == ["partition", "document"]
    letters.revive([(whole.place, "")])
    assert [letter.kind for letter in letters.list()] == ["document"]


def test_a_mutation_that_is_read_again_has_one_letter(letters: DeadLetters) -> None:
    letters.add([mutation(5), mutation(6)])
    letters.add([mutation(6), mutation(6, segment=2)])
    assert [(letter.segment_id, letter.position) for letter in letters.list(oldest_first=True)] == [
        (1, 5),
        (1, 6),
        (2, 6),
    ]


def stranger(position: int, count: int, *, segment: int = 1, table_id: str = "aa", at: int | None = None) -> DeadLetter:
    made = replace(mutation(position, segment=segment), table_id=table_id, count=count, at=at)
    return replace(made, payload=str(position).encode(), detail={"table_id": table_id})


def test_an_unknown_table_has_one_letter_that_grows(letters: DeadLetters) -> None:
    assert letters.counted_up_to("aa") is None
    letters.add([stranger(5, 3, at=10), stranger(7, 1, table_id="bb", at=10)])
    letters.add([stranger(5, 2, segment=2, at=20), mutation(5)])
    first, second, other = letters.list(oldest_first=True)
    assert (first.count, first.segment_id, first.position, first.payload, first.attempts) == (5, 2, 5, b"5", 1)
    assert (first.at, first.last_at, first.table_id) == (10, 20, "aa")
    assert (second.count, second.table_id) == (1, "bb")
    assert (other.count, other.table_id) == (1, None)
    assert letters.counted_up_to("aa") == (2, 5)
    assert letters.count() == 3


def test_letters_of_unknown_tables_of_an_older_version_become_one_each(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "cdc-daemon.sqlite3")
    before = next(at for at, step in enumerate(MIGRATIONS) if "dead_letter_by_table_id" in step)
    for number, step in enumerate(MIGRATIONS[:before], start=1):
        connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
    unknown = "UnknownTableError"
    rows = [
        ("mutation", unknown, 1, 5, '{"table_id": "aa"}'),
        ("mutation", unknown, 1, 6, '{"table_id": "aa"}'),
        ("mutation", unknown, 1, 7, '{"table_id": "bb"}'),
        ("mutation", unknown, 2, 5, '{"table_id": "aa"}'),
        ("mutation", "MutationError", 2, 6, '{"table_id": "aa"}'),
        ("mutation", "MutationError", 2, 7, "{}"),
        ("mutation", unknown, 2, 8, "{}"),
        ("segment", "damaged", 2, 6, "{}"),
    ]
    connection.executemany(
        "INSERT INTO dead_letter (at, kind, reason, segment_id, position, detail, alias) VALUES (1, ?, ?, ?, ?, ?, '')",
        rows,
    )
    connection.commit()
    connection.close()
    letters = Store(tmp_path).dead_letters
    assert [(each.id, each.table_id, each.count) for each in letters.list(oldest_first=True)] == [
        (1, "aa", 3),
        (3, "bb", 1),
        (5, None, 1),
        (6, None, 1),
        (7, None, 1),
        (8, None, 1),
    ]
    letters.add([stranger(1, 4, segment=3)])
    assert next(letters.list(oldest_first=True)).count == 7


def test_any_text_of_an_error_is_kept(letters: DeadLetters) -> None:
    letters.add([replace(document(), reason="odd \ud800", detail={"message": "\ud800", "number": 2**70})])
    (kept,) = letters.list()
    assert (kept.reason, kept.detail) == ("odd ?", {"message": "?", "number": str(2**70)})
    letters.failed_again(kept, "\ud800", {"message": "\ud800"})
    assert [each.reason for each in letters.list()] == ["?"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (DeadLetterFilter(), [1, 2, 3]),
        (DeadLetterFilter(kind="mutation"), [3]),
        (DeadLetterFilter(reason="clash"), [1]),
        (DeadLetterFilter(table="user"), [1, 2]),
        (DeadLetterFilter(table="sunbird.user"), [1, 2]),
        (DeadLetterFilter(table="other.user"), []),
        (DeadLetterFilter(since=20), [2, 3]),
        (DeadLetterFilter(before=20), [1]),
        (DeadLetterFilter(above=1, below=3), [2]),
        (DeadLetterFilter(kind="document", since=20), [2]),
    ],
)
def test_filters(letters: DeadLetters, wanted: DeadLetterFilter, expected: list[int]) -> None:
    letters.add([document(at=10), document(b"l", reason="other", at=20), mutation(1)])
    assert [letter.id for letter in letters.list(wanted=wanted, oldest_first=True)] == expected
    assert [letter.id for letter in letters.list(wanted=wanted)] == expected[::-1]
    assert letters.count(wanted) == len(expected)
    assert letters.remove_matching(wanted) == len(expected)
    assert letters.count() == 3 - len(expected)


def test_the_age_is_that_of_the_last_failure(letters: DeadLetters) -> None:
    letters.add([document(at=10)])
    letters.add([document(at=50)])
    assert letters.count(DeadLetterFilter(since=50)) == 1
    assert letters.count(DeadLetterFilter(before=50)) == 0


def test_ids_are_never_given_again(letters: DeadLetters) -> None:
    letters.add([document()])
    assert letters.remove([1, 7]) == 1
    letters.add([document()])
    assert [letter.id for letter in letters.list()] == [2]
    assert letters.get(1) is None


def test_a_document_that_is_shown_loses_its_letter_and_the_one_for_the_whole_row(letters: DeadLetters) -> None:
    letters.add([document(alias="a"), document(alias="b"), document(alias="", reason="unreadable")])
    letters.revive([(document().place, "a")])
    assert [letter.alias for letter in letters.list()] == ["b"]
    assert list(letters.documents()) == [(document().place, "b")]


def test_a_letter_that_cannot_be_replayed_keeps_the_new_reason(letters: DeadLetters) -> None:
    letters.add([mutation(1)])
    (kept,) = letters.list()
    letters.failed_again(kept, "MutationError", {"message": "short"})
    letters.failed_again(kept, "MutationError", {"message": "counts already"})
    (found,) = letters.list()
    assert (found.reason, found.detail, found.attempts, found.payload) == (
        "MutationError",
        {"message": "short"},
        2,
        b"x",
    )
    assert found.last_at is not None


def test_letters_of_an_older_version_are_kept_once_for_each_document(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "cdc-daemon.sqlite3")
    before = next(at for at, step in enumerate(MIGRATIONS) if "old_dead_letter" in step)
    for number, step in enumerate(MIGRATIONS[:before], start=1):
        connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
    rows = [
        ("document", "first", b"k", b"[]", None, None, '{"index": "a"}'),
        ("document", "second", b"k", b"[]", None, None, '{"index": "a"}'),
        ("document", "third", b"k", b"[]", None, None, '{"index": "b"}'),
        ("document", "fourth", b"k", b"[]", None, None, "{}"),
        ("mutation", "fifth", None, None, 1, 2, "{}"),
        ("mutation", "sixth", None, None, 1, 2, "{}"),
        ("segment", "seventh", None, None, 1, None, "{}"),
    ]
    connection.executemany(
        "INSERT INTO dead_letter (at, kind, reason, keyspace_name, table_name, partition_key, clustering, segment_id, "
        "position, detail) VALUES (1, ?, ?, 's', 't', ?, ?, ?, ?, ?)",
        rows,
    )
    connection.commit()
    connection.close()
    letters = Store(tmp_path).dead_letters
    assert [(letter.reason, letter.alias) for letter in letters.list(oldest_first=True)] == [
        ("second", "a"),
        ("third", "b"),
        ("fourth", ""),
        ("fifth", ""),
        ("seventh", ""),
    ]


def test_a_letter_is_due_after_a_pause_that_doubles(letters: DeadLetters) -> None:
    def due(now: int) -> list[bytes | None]:
        return [letter.partition_key for letter in letters.due(now, pause=10, longest=35, limit=5)]

    letters.add([document(b"often", at=0), document(b"once", at=100), mutation(7)])
    letters.add([document(b"often", at=50)])
    assert due(69) == []
    assert due(70) == [b"often"]
    assert due(110) == [b"often", b"once"]
    letters.add([document(b"often", at=200)])
    letters.add([document(b"often", at=300)])
    assert due(334) == [b"once"]
    assert due(335) == [b"often", b"once"]
    (kept,) = [letter for letter in letters.list() if letter.kind == "mutation"]
    assert kept.at is not None
    assert due(kept.at + 10) == [b"often", b"once", None]
    assert len(letters.due(kept.at + 10, pause=10, longest=35, limit=2)) == 2


def test_a_piece_of_a_segment_is_never_due(letters: DeadLetters) -> None:
    letters.add([DeadLetter(kind="segment", reason="damaged", detail={}, segment_id=1, position=0, at=0)])
    assert letters.due(2**62, pause=1, longest=1, limit=5) == []
