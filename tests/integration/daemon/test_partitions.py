"""Tables of several rows a partition: statics refresh all of them, removals remove exactly theirs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.stage import Stage, new_stage

MORE_THAN_A_PAGE = 1500
"""Documents of a partition are found a thousand at a time."""

BASE = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def shown(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A running daemon and the tables of this module; each test uses partitions of its own."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("partitions")) as stage:
        stage.table("grid", "p text, a int, b text, v int, PRIMARY KEY (p, a, b)")
        stage.table(
            "descending",
            "p text, t text, i int, at timestamp, u uuid, v int, PRIMARY KEY (p, t, i, at, u)",
            options="CLUSTERING ORDER BY (t DESC, i DESC, at DESC, u DESC)",
        )
        stage.table("composite", "p text, q int, c int, v int, PRIMARY KEY ((p, q), c)")
        stage.table("composite_only", "p text, q blob, r timestamp, v int, PRIMARY KEY ((p, q, r))")
        stage.table("statics", "p text, c int, s text static, tags set<text> static, v int, PRIMARY KEY (p, c)")
        stage.daemon.run()
        yield stage


def fill(stage: Stage, partition: str, *, depth: int = 4) -> None:
    """Make the rows (a, b) of a partition of the grid and of its neighbour."""
    for name, a, b in itertools.product((partition, partition + "-neighbour"), range(depth), "xyz"):
        stage.execute("INSERT INTO {ks}.grid (p, a, b, v) VALUES (%s, %s, %s, 0)", [name, a, b])


def left(stage: Stage, partition: str) -> set[tuple[int, str]]:
    return {(found["a"], found["b"]) for found in stage.documents("grid").values() if found["p"] == partition}


def all_but(*gone: Iterable[tuple[int, str]], depth: int = 4) -> set[tuple[int, str]]:
    return set(itertools.product(range(depth), "xyz")) - set(itertools.chain.from_iterable(gone))


ROWS_OF = {a: list(itertools.product([a], "xyz")) for a in range(4)}

DELETIONS: dict[str, tuple[str, set[tuple[int, str]]]] = {
    "partition": ("", set()),
    "row": ("AND a = 1 AND b = 'y'", all_but([(1, "y")])),
    "prefix": ("AND a = 1", all_but(ROWS_OF[1])),
    "slice": ("AND a > 0 AND a <= 2", all_but(ROWS_OF[1], ROWS_OF[2])),
    "open slice": ("AND a >= 2", all_but(ROWS_OF[2], ROWS_OF[3])),
    "slice below a prefix": ("AND a = 2 AND b > 'x'", all_but([(2, "y"), (2, "z")])),
    "slice of several columns": (
        "AND (a, b) >= (0, 'z') AND (a, b) < (2, 'y')",
        all_but([(0, "z"), (2, "x")], ROWS_OF[1]),
    ),
    "rows by IN": ("AND a = 3 AND b IN ('x', 'z', 'none')", all_but([(3, "x"), (3, "z")])),
    "prefixes by IN": ("AND a IN (0, 3)", all_but(ROWS_OF[0], ROWS_OF[3])),
    "rows by IN of several columns": ("AND (a, b) IN ((0, 'x'), (3, 'z'))", all_but([(0, "x"), (3, "z")])),
    "nothing": ("AND a > 100", all_but()),
}
"""Name to the rest of the WHERE clause, and the rows left."""


@pytest.mark.parametrize("scope", DELETIONS)
@pytest.mark.other_engines
def test_a_deletion_removes_exactly_its_documents(shown: Stage, scope: str) -> None:
    fill(shown, scope)
    shown.settle()
    assert left(shown, scope) == all_but()

    where, remaining = DELETIONS[scope]
    shown.execute(f"DELETE FROM {{ks}}.grid WHERE p = %s {where}", [scope])
    shown.settle()

    assert left(shown, scope) == remaining
    assert left(shown, scope + "-neighbour") == all_but()
    shown.assert_equal("grid")


@pytest.mark.parametrize("scope", DELETIONS)
def test_a_deletion_that_follows_its_rows_at_once_leaves_none_behind(shown: Stage, scope: str) -> None:
    partition = f"{scope} at once"
    fill(shown, partition)
    where, remaining = DELETIONS[scope]
    shown.execute(f"DELETE FROM {{ks}}.grid WHERE p = %s {where}", [partition])
    shown.settle()

    assert left(shown, partition) == remaining
    assert left(shown, partition + "-neighbour") == all_but()


def test_partitions_deleted_by_in(shown: Stage) -> None:
    for name in ("in 1", "in 2", "in 3"):
        fill(shown, name)
    shown.settle()
    shown.execute("DELETE FROM {ks}.grid WHERE p IN ('in 1', 'in 3')")
    shown.settle()
    assert [left(shown, name) for name in ("in 1", "in 2", "in 3")] == [set(), all_but(), set()]


def test_a_row_inserted_right_after_its_partition_was_deleted_stays(shown: Stage) -> None:
    fill(shown, "survivor")
    shown.settle()
    for turn in range(10):
        shown.execute("DELETE FROM {ks}.grid WHERE p = 'survivor'")
        shown.execute("INSERT INTO {ks}.grid (p, a, b, v) VALUES ('survivor', 1, 'x', %s)", [turn])
    shown.settle()
    assert left(shown, "survivor") == {(1, "x")}
    assert (shown.get("grid", "survivor:1:x") or {})["v"] == 9


def test_a_deletion_and_an_insertion_in_one_batch(shown: Stage) -> None:
    fill(shown, "batch")
    shown.settle()
    shown.execute(
        "BEGIN BATCH "
        "DELETE FROM {ks}.grid USING TIMESTAMP 9000000000000000 WHERE p = 'batch'; "
        "INSERT INTO {ks}.grid (p, a, b, v) VALUES ('batch', 7, 'new', 1) USING TIMESTAMP 9000000000000001; "
        "DELETE FROM {ks}.grid USING TIMESTAMP 9000000000000001 WHERE p = 'batch-neighbour' AND a < 3; "
        "APPLY BATCH"
    )
    shown.settle()
    assert left(shown, "batch") == {(7, "new")}
    assert left(shown, "batch-neighbour") == all_but(ROWS_OF[0], ROWS_OF[1], ROWS_OF[2])


def test_a_deletion_older_than_the_rows_removes_none(shown: Stage) -> None:
    fill(shown, "older")
    shown.execute("DELETE FROM {ks}.grid USING TIMESTAMP 1000 WHERE p = 'older'")
    shown.execute("DELETE FROM {ks}.grid USING TIMESTAMP 1000 WHERE p = 'older' AND a = 1")
    shown.settle()
    assert left(shown, "older") == all_but()


def test_a_partition_of_more_documents_than_a_page(shown: Stage) -> None:
    insert = shown.cql.prepare(f"INSERT INTO {shown.keyspace}.grid (p, a, b, v) VALUES ('large', ?, ?, 0)")
    rows = [(number // 3, "xyz"[number % 3]) for number in range(MORE_THAN_A_PAGE)]
    execute_concurrent_with_args(shown.cql, insert, rows)
    shown.settle()
    assert len(left(shown, "large")) == MORE_THAN_A_PAGE

    shown.execute("DELETE FROM {ks}.grid WHERE p = 'large' AND a >= 10")
    shown.settle()
    assert left(shown, "large") == set(rows[:30])

    shown.execute("DELETE FROM {ks}.grid WHERE p = 'large'")
    shown.settle()
    assert left(shown, "large") == set()


def clustering(number: int) -> list[Any]:
    return [f"t{number % 3}", -number, BASE + timedelta(milliseconds=number * 37 + 1), UUID(int=number << 64 | 5)]


def test_clustering_columns_in_descending_order(shown: Stage) -> None:
    insert = "INSERT INTO {ks}.descending (p, t, i, at, u, v) VALUES ('d', %s, %s, %s, %s, %s)"
    for number in range(12):
        shown.execute(insert, [*clustering(number), number])
    shown.settle()
    shown.assert_equal("descending")
    assert len(shown.documents("descending")) == 12

    row = "UPDATE {ks}.descending SET v = 99 WHERE p = 'd' AND t = %s AND i = %s AND at = %s AND u = %s"
    shown.execute(row, clustering(4))
    shown.execute(
        "DELETE FROM {ks}.descending WHERE p = 'd' AND t = %s AND i = %s AND at = %s AND u = %s", clustering(5)
    )
    shown.execute("DELETE FROM {ks}.descending WHERE p = 'd' AND t = 't0' AND i < -3")
    shown.execute("DELETE FROM {ks}.descending WHERE p = 'd' AND t = 't2' AND i = -8 AND at > %s", [BASE])
    shown.settle()
    shown.assert_equal("descending")
    assert sorted(found["v"] for found in shown.documents("descending").values()) == [0, 1, 2, 3, 7, 10, 11, 99]


def test_a_partition_key_of_several_columns(shown: Stage) -> None:
    for q, c in itertools.product(range(3), range(3)):
        shown.execute("INSERT INTO {ks}.composite (p, q, c, v) VALUES ('a:b', %s, %s, 1)", [q, c])
    shown.settle()
    shown.execute("DELETE FROM {ks}.composite WHERE p = 'a:b' AND q = 1")
    shown.execute("DELETE FROM {ks}.composite WHERE p = 'a:b' AND q = 2 AND c > 0")
    shown.execute("UPDATE {ks}.composite SET v = 2 WHERE p = 'a:b' AND q = 0 AND c = 0")
    shown.settle()
    assert set(shown.documents("composite")) == {r"a\:b:0:0", r"a\:b:0:1", r"a\:b:0:2", r"a\:b:2:0"}
    shown.assert_equal("composite")


def test_a_partition_key_of_several_columns_without_clustering(shown: Stage) -> None:
    insert = "INSERT INTO {ks}.composite_only (p, q, r, v) VALUES (%s, %s, %s, 1)"
    keys = [["", b"", BASE], ["", b"\x00", BASE], ["x", b"\xff", datetime(1969, 1, 1, tzinfo=UTC)]]
    for key in keys:
        shown.execute(insert, key)
    shown.settle()
    shown.assert_equal("composite_only")
    shown.execute("DELETE FROM {ks}.composite_only WHERE p = %s AND q = %s AND r = %s", keys[0])
    shown.settle()
    shown.assert_equal("composite_only")
    assert len(shown.documents("composite_only")) == 2


def statics(stage: Stage, partition: str) -> dict[int, Any]:
    return {found["c"]: found["s"] for found in stage.documents("statics").values() if found["p"] == partition}


def test_a_static_column_s_change_refreshes_every_document_of_its_partition(shown: Stage) -> None:
    for name, number in itertools.product(("s", "other"), range(20)):
        shown.execute("INSERT INTO {ks}.statics (p, c, v, s) VALUES (%s, %s, 0, 'first')", [name, number])
    shown.settle()
    assert statics(shown, "s") == dict.fromkeys(range(20), "first")

    shown.execute("UPDATE {ks}.statics SET s = 'second', tags = {'t'} WHERE p = 's'")
    shown.settle()
    assert statics(shown, "s") == dict.fromkeys(range(20), "second")
    assert statics(shown, "other") == dict.fromkeys(range(20), "first")

    shown.execute("INSERT INTO {ks}.statics (p, c, v, s) VALUES ('s', 20, 0, 'third')")
    shown.settle()
    assert statics(shown, "s") == dict.fromkeys(range(21), "third")

    shown.execute("UPDATE {ks}.statics SET tags = tags + {'u'} WHERE p = 's'")
    shown.execute("DELETE s FROM {ks}.statics WHERE p = 's'")
    shown.settle()
    assert statics(shown, "s") == dict.fromkeys(range(21))
    shown.assert_equal("statics")

    shown.execute("DELETE FROM {ks}.statics WHERE p = 's' AND c < 5")
    shown.execute("UPDATE {ks}.statics SET s = 'fourth' WHERE p = 's'")
    shown.execute("DELETE FROM {ks}.statics WHERE p = 'other'")
    shown.settle()
    assert statics(shown, "s") == dict.fromkeys(range(5, 21), "fourth")
    assert statics(shown, "other") == {}
    shown.assert_equal("statics")


def test_a_partition_of_nothing_but_static_columns_has_no_document(shown: Stage) -> None:
    shown.execute("INSERT INTO {ks}.statics (p, s) VALUES ('bare', 'x')")
    shown.settle()
    assert statics(shown, "bare") == {}
    shown.execute("UPDATE {ks}.statics SET v = 1 WHERE p = 'bare' AND c = 1")
    shown.settle()
    assert statics(shown, "bare") == {1: "x"}
    shown.execute("DELETE FROM {ks}.statics WHERE p = 'bare' AND c = 1")
    shown.settle()
    assert statics(shown, "bare") == {}


def test_a_static_change_of_a_partition_of_more_documents_than_a_page(shown: Stage) -> None:
    insert = shown.cql.prepare(f"INSERT INTO {shown.keyspace}.statics (p, c, v) VALUES ('wide', ?, 0)")
    execute_concurrent_with_args(shown.cql, insert, [(number,) for number in range(MORE_THAN_A_PAGE)])
    shown.execute("UPDATE {ks}.statics SET s = 'all' WHERE p = 'wide'")
    shown.settle()
    assert statics(shown, "wide") == dict.fromkeys(range(MORE_THAN_A_PAGE), "all")
