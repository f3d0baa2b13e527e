"""Every way to change a row: its document follows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import Session
from cassandra.query import BatchStatement, BatchType, SimpleStatement
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.stage import Stage, new_stage


@pytest.fixture(scope="module")
def shown(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A running daemon and the tables of this module; each test uses partitions of its own."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("rows")) as stage:
        stage.execute("CREATE TYPE {ks}.address (street text, city text, numbers frozen<set<int>>)")
        stage.table(
            "person",
            "id text PRIMARY KEY, name text, age int, tags set<text>, list list<int>, map map<text, int>, "
            "home address, frozen_home frozen<address>",
        )
        stage.table("other", "id text PRIMARY KEY, name text")
        stage.table("counts", "id text, kind text, n counter, PRIMARY KEY (id, kind)")
        stage.table("keys_only", "a text, b int, PRIMARY KEY (a, b)")
        stage.daemon.run()
        yield stage


def change(stage: Stage, *statements: str) -> None:
    for statement in statements:
        stage.execute(statement)


def shown_after(stage: Stage, identity: str, *statements: str, table: str = "person") -> dict[str, Any] | None:
    """Run statements and return the document as it is when they are settled."""
    change(stage, *statements)
    stage.settle()
    stage.assert_equal(table)
    return stage.get(table, identity)


def person(identity: str, **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("name", "age", "tags", "list", "map", "home", "frozen_home"))
    return {"id": identity, **empty, **fields}


@pytest.mark.other_engines
def test_an_insert_makes_a_document(shown: Stage) -> None:
    found = shown_after(shown, "insert", "INSERT INTO {ks}.person (id, name, age) VALUES ('insert', 'Ada', 36)")
    assert found == person("insert", name="Ada", age=36)


@pytest.mark.other_engines
def test_a_partial_update_keeps_the_other_fields(shown: Stage) -> None:
    found = shown_after(
        shown,
        "partial",
        "INSERT INTO {ks}.person (id, name, age) VALUES ('partial', 'Ada', 36)",
        "UPDATE {ks}.person SET age = 37 WHERE id = 'partial'",
    )
    assert found == person("partial", name="Ada", age=37)


def test_a_partial_update_of_a_row_that_was_shown_before_keeps_the_other_fields(shown: Stage) -> None:
    shown_after(shown, "later", "INSERT INTO {ks}.person (id, name, age) VALUES ('later', 'Ada', 36)")
    found = shown_after(shown, "later", "UPDATE {ks}.person SET age = 37 WHERE id = 'later'")
    assert found == person("later", name="Ada", age=37)


@pytest.mark.parametrize("removal", ["DELETE name FROM {ks}.person", "UPDATE {ks}.person SET name = null"])
def test_a_column_set_to_null_is_null(shown: Stage, removal: str) -> None:
    shown_after(shown, "null", "INSERT INTO {ks}.person (id, name, age) VALUES ('null', 'Ada', 36)")
    assert shown_after(shown, "null", removal + " WHERE id = 'null'") == person("null", age=36)


def test_a_row_made_by_updates_alone_vanishes_with_its_last_column(shown: Stage) -> None:
    assert shown_after(shown, "bare", "UPDATE {ks}.person SET age = 1 WHERE id = 'bare'") == person("bare", age=1)
    assert shown_after(shown, "bare", "UPDATE {ks}.person SET age = null WHERE id = 'bare'") is None


def test_collections_grow_and_shrink(shown: Stage) -> None:
    where = " WHERE id = 'collections'"
    shown_after(
        shown,
        "collections",
        "INSERT INTO {ks}.person (id, tags, list, map) VALUES ('collections', {'b', 'c'}, [1, 2], {'x': 1, 'y': 2})",
    )
    found = shown_after(
        shown,
        "collections",
        "UPDATE {ks}.person SET tags = tags + {'a'}, list = list + [3], map['z'] = 3" + where,
        "UPDATE {ks}.person SET tags = tags - {'c'}, list = list - [1], map = map - {'x'}" + where,
        "UPDATE {ks}.person SET list[0] = 20" + where,
        "DELETE map['y'] FROM {ks}.person" + where,
    )
    assert found == person("collections", tags=["a", "b"], list=[20, 3], map={"z": 3})
    emptied = "UPDATE {ks}.person SET tags = {}, list = [], map = {}"
    assert shown_after(shown, "collections", emptied + where) == person("collections")


def test_a_collection_is_replaced_as_a_whole(shown: Stage) -> None:
    where = " WHERE id = 'replaced'"
    shown_after(shown, "replaced", "UPDATE {ks}.person SET tags = {'a', 'b'}, map = {'x': 1}" + where)
    found = shown_after(shown, "replaced", "UPDATE {ks}.person SET tags = {'c'}, map = {'y': 2}" + where)
    assert found == person("replaced", tags=["c"], map={"y": 2})


def test_a_field_of_a_user_defined_type_changes_alone(shown: Stage) -> None:
    where = " WHERE id = 'udt'"
    shown_after(
        shown,
        "udt",
        "UPDATE {ks}.person SET home = {street: 'A', city: 'B', numbers: {2, 1}}, frozen_home = {street: 'C'}" + where,
    )
    found = shown_after(shown, "udt", "UPDATE {ks}.person SET home.city = 'X', home.street = null" + where)
    home = {"street": None, "city": "X", "numbers": [1, 2]}
    assert found == person("udt", home=home, frozen_home={"street": "C", "city": None, "numbers": None})


@pytest.mark.parametrize("kind", [BatchType.LOGGED, BatchType.UNLOGGED])
def test_a_batch_over_partitions_and_tables_is_shown_whole(shown: Stage, kind: BatchType) -> None:
    batch = BatchStatement(batch_type=kind)
    for number in range(20):
        for table in ("person", "other"):
            insert = f"INSERT INTO {shown.keyspace}.{table} (id, name) VALUES (%s, %s)"
            batch.add(SimpleStatement(insert), (f"{kind}{number}", str(number)))
    shown.cql.execute(batch)
    shown.settle()
    shown.assert_equal("person", "other")
    assert shown.get("other", f"{kind}19") == {"id": f"{kind}19", "name": "19"}


def test_a_batch_that_inserts_and_deletes_one_row(shown: Stage) -> None:
    found = shown_after(
        shown,
        "both",
        "BEGIN BATCH "
        "INSERT INTO {ks}.person (id, name) VALUES ('both', 'x') USING TIMESTAMP 20; "
        "DELETE FROM {ks}.person USING TIMESTAMP 10 WHERE id = 'both'; "
        "APPLY BATCH",
    )
    assert found == person("both", name="x")


def test_lightweight_transactions_are_shown_when_they_are_applied(shown: Stage) -> None:
    insert = "INSERT INTO {ks}.person (id, age) VALUES ('lwt', %d) IF NOT EXISTS"
    assert shown_after(shown, "lwt", insert % 1, insert % 2) == person("lwt", age=1)
    update = "UPDATE {ks}.person SET age = %d WHERE id = 'lwt' IF age = %d"
    assert shown_after(shown, "lwt", update % (3, 1), update % (4, 2)) == person("lwt", age=3)
    delete = "DELETE FROM {ks}.person WHERE id = 'lwt' IF age = %d"
    assert shown_after(shown, "lwt", delete % 9) == person("lwt", age=3)
    assert shown_after(shown, "lwt", delete % 3) is None


def test_counters_are_shown_as_they_stand(shown: Stage) -> None:
    update = "UPDATE {ks}.counts SET n = n %s WHERE id = 'c' AND kind = 'k'"
    for _ in range(5):
        change(shown, update % "+ 3")
    assert shown_after(shown, "c:k", update % "- 1", table="counts") == {"id": "c", "kind": "k", "n": 14}
    delete = "DELETE FROM {ks}.counts WHERE id = 'c' AND kind = 'k'"
    assert shown_after(shown, "c:k", delete, table="counts") is None


def test_a_write_older_than_what_is_there_changes_nothing(shown: Stage) -> None:
    shown_after(shown, "old", "INSERT INTO {ks}.person (id, name, age) VALUES ('old', 'new', 1)")
    older = "UPDATE {ks}.person USING TIMESTAMP 1000 SET name = 'old', tags = {'t'} WHERE id = 'old'"
    assert shown_after(shown, "old", older) == person("old", name="new", age=1, tags=["t"])
    removal = "DELETE FROM {ks}.person USING TIMESTAMP 1000 WHERE id = 'old'"
    assert shown_after(shown, "old", removal) == person("old", name="new", age=1)


def test_a_write_from_the_future_stays_above_later_ones(shown: Stage) -> None:
    future = time.time_ns() // 1000 + 3_600_000_000
    insert = f"INSERT INTO {{ks}}.person (id, name) VALUES ('future', 'f') USING TIMESTAMP {future}"
    assert shown_after(shown, "future", insert) == person("future", name="f")
    present = "UPDATE {ks}.person SET name = 'now', age = 1 WHERE id = 'future'"
    assert shown_after(shown, "future", present) == person("future", name="f", age=1)
    assert shown_after(shown, "future", "DELETE FROM {ks}.person WHERE id = 'future'") == person("future", name="f")
    later = f"DELETE FROM {{ks}}.person USING TIMESTAMP {future + 1} WHERE id = 'future'"
    assert shown_after(shown, "future", later) is None


@pytest.mark.other_engines
def test_a_deleted_row_has_no_document_and_one_again_when_it_is_inserted_again(shown: Stage) -> None:
    insert = "INSERT INTO {ks}.person (id, name) VALUES ('again', '%s')"
    delete = "DELETE FROM {ks}.person WHERE id = 'again'"
    assert shown_after(shown, "again", insert % 1) == person("again", name="1")
    assert shown_after(shown, "again", delete) is None
    assert shown_after(shown, "again", insert % 2) == person("again", name="2")
    assert shown_after(shown, "again", insert % 3, delete, insert % 4, delete) is None
    assert shown_after(shown, "again", delete, insert % 5) == person("again", name="5")


def test_a_row_that_is_nothing_but_its_key(shown: Stage) -> None:
    insert = "INSERT INTO {ks}.keys_only (a, b) VALUES ('k', 1)"
    assert shown_after(shown, "k:1", insert, table="keys_only") == {"a": "k", "b": 1}
    delete = "DELETE FROM {ks}.keys_only WHERE a = 'k' AND b = 1"
    assert shown_after(shown, "k:1", delete, table="keys_only") is None
    assert shown_after(shown, "k:1", delete, insert, table="keys_only") == {"a": "k", "b": 1}
