from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.model.errors import MutationError
from tests.unit.commitlog.samples import DATA
from tests.unit.commitlog.strategies import column
from tests.unit.commitlog.writer import table

TABLE = UUID("7ea2c300-e772-11f1-bc9f-47671d181370")
KEYED = table("keyed", [column("a", "text", "partition_key"), column("b", "int", "partition_key")])
Rows = dict[str, list[dict[str, Any]]]


def rows(*columns: tuple[str, str, str], **more: Any) -> Rows:
    place = {"keyspace_name": "ks", "table_name": "t"}
    return {
        "keyspaces": [{"keyspace_name": "ks"}],
        "tables": [{**place, "id": TABLE, "flags": ["compound"], "cdc": True, **more}],
        "columns": [
            {**place, "column_name": name, "kind": kind, "type": text, "position": 0, "clustering_order": "none"}
            for name, kind, text in columns
        ],
        "types": [],
        "dropped_columns": [],
    }


def schema_of(found: Rows) -> Schema:
    return Schema.from_rows(
        keyspaces=found["keyspaces"],
        tables=found["tables"],
        columns=found["columns"],
        types=found["types"],
        dropped_columns=found["dropped_columns"],
    )


def test_a_snapshot() -> None:
    schema = Schema.from_rows(**json.loads((DATA / "cassandra-5.0" / "schema.json").read_text()))
    assert len(schema) == 7
    assert not schema.problems
    every = schema.find("probe", "alltypes")
    assert every is not None
    assert schema.get(TABLE.bytes) is every
    assert str(every) == "probe.alltypes"
    assert every.cdc
    assert not every.is_counter
    assert [each.name for each in every.partition_key] == ["k1", "k2"]
    assert [(each.name, each.reversed) for each in every.clustering] == [("c1", True), ("c2", False)]
    assert [each.name for each in every.static] == ["st", "stm"]
    names = [each.name for each in every.regular]
    assert names[-5:] == ["ad", "l", "la", "m", "se"]
    assert names[:-5] == sorted(names[:-5])
    counter = schema.find("probe", "compact_cnt")
    assert counter is not None
    assert counter.is_counter
    assert not counter.cdc
    plain = schema.find("probe", "plain")
    assert plain is not None
    assert [(each.column.name, each.dropped_at) for each in plain.dropped] == [("n", 1795461450171000)]
    assert plain.columns[b"n"].name == "n"
    assert schema.find("probe", "nothing") is None
    assert schema.get(bytes(16)) is None


def test_rows_of_the_driver() -> None:
    found = rows(("k", "partition_key", "int"), ("v", "regular", "text"), cdc=None)
    found["columns"][0]["column_name_bytes"] = b"k"
    found["dropped_columns"] = [
        {"keyspace_name": "ks", "table_name": "t", "column_name": "gone", "type": "list<int>", "kind": None,
         "dropped_time": datetime(2026, 11, 23, 19, 17, 30, 171000)},  # noqa: DTZ001 - as the driver gives it
        {"keyspace_name": "ks", "table_name": "t", "column_name": "lost", "type": "int", "kind": "static",
         "dropped_time": datetime(2026, 11, 23, 19, 17, 30, 171000, tzinfo=UTC)},
        {"keyspace_name": "ks", "table_name": "t", "column_name": "old", "type": "int", "kind": "regular",
         "dropped_time": 1795461450171},
    ]  # fmt: skip
    found_table = schema_of(found).get(TABLE.bytes)
    assert found_table is not None
    assert not found_table.cdc
    assert set(found_table.dropped_at.values()) == {1795461450171000}
    assert found_table.columns[b"gone"].multi_cell
    assert found_table.columns[b"gone"].kind == "regular"
    assert found_table.columns[b"lost"].kind == "static"
    whole = found_table.with_dropped()
    assert {each.name for each in whole.static} == {"lost"}
    assert {each.name for each in whole.regular} == {"v", "gone", "old"}
    assert (whole.id, whole.has_key_of(found_table)) == (found_table.id, True)


def test_a_column_added_again_is_the_live_one() -> None:
    found = rows(("k", "partition_key", "int"), ("v", "regular", "bigint"))
    found["dropped_columns"] = [
        {"keyspace_name": "ks", "table_name": "t", "column_name": "v", "type": "int", "kind": "regular",
         "dropped_time": 5},
    ]  # fmt: skip
    found_table = schema_of(found).get(TABLE.bytes)
    assert found_table is not None
    assert found_table.columns[b"v"].fixed_length == 8
    assert found_table.dropped_at == {b"v": 5000}
    assert found_table.with_dropped().regular == found_table.regular


def test_user_types_in_any_order() -> None:
    found = rows(("k", "partition_key", "int"), ("v", "regular", "frozen<outer>"), ("w", "regular", "Outer"))
    found["types"] = [
        {"keyspace_name": "ks", "type_name": "outer", "field_names": ["i"], "field_types": ["frozen<inner>"]},
        {"keyspace_name": "ks", "type_name": "inner", "field_names": ["x"], "field_types": ["int"]},
        {"keyspace_name": "other", "type_name": "broken", "field_names": ["x"], "field_types": ["nothing"]},
    ]
    schema = schema_of(found)
    assert not schema.problems
    found_table = schema.get(TABLE.bytes)
    assert found_table is not None
    assert str(found_table.columns[b"v"].type) == "frozen<outer>"
    assert found_table.columns[b"w"].multi_cell


def test_one_table_that_is_not_understood_leaves_the_others() -> None:
    found = rows(("k", "partition_key", "int"), ("v", "regular", "riddle"))
    found["tables"].append({"keyspace_name": "ks", "table_name": "good", "id": str(UUID(int=5))})
    schema = schema_of(found)
    assert [str(each) for each in schema] == ["ks.good"]
    (problem,) = schema.problems
    assert problem.where["table"] == "ks.t"


def test_views_are_tables_to_the_log() -> None:
    found = rows(("k", "partition_key", "int"))
    found["columns"].append({**found["columns"][0], "table_name": "by_v", "column_name": "v"})
    schema = Schema.from_rows(
        tables=found["tables"],
        columns=found["columns"],
        views=[{"keyspace_name": "ks", "view_name": "by_v", "id": UUID(int=7)}],
    )
    view = schema.get(UUID(int=7).bytes)
    assert view is not None
    assert [each.name for each in view.partition_key] == ["v"]


def test_generations_are_merged() -> None:
    older = schema_of(rows(("k", "partition_key", "int"), ("v", "regular", "int"), ("lost", "regular", "int")))
    dropped = table("dropped", [column("k", "int", "partition_key")], table_id=b"d" * 16)
    older = Schema([*older, dropped])
    newer = schema_of(rows(("k", "partition_key", "int"), ("v", "regular", "int"), ("new", "regular", "int")))
    merged = newer.merged(older)
    assert merged.get(b"d" * 16) is dropped
    found_table = merged.get(TABLE.bytes)
    assert found_table is not None
    assert set(found_table.columns) == {b"v", b"lost", b"new"}
    assert [each.name for each in found_table.regular] == ["new", "v"]
    assert found_table.dropped_at[b"lost"] < 0
    same = newer.merged(newer).get(TABLE.bytes)
    assert same is newer.get(TABLE.bytes)
    again = merged.merged(merged).get(TABLE.bytes)
    assert again is found_table


def test_a_table_created_again_has_another_id_and_both_are_known() -> None:
    before = table("t", [column("k", "int", "partition_key")], table_id=b"1" * 16)
    after = table("t", [column("k", "text", "partition_key")], table_id=b"2" * 16)
    merged = Schema([after]).merged(Schema([before]))
    assert merged.get(b"1" * 16) is before
    assert merged.find("ks", "t") is after


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_composite_keys_split_and_nothing_else_does(first: bytes, second: bytes) -> None:
    def component(value: bytes) -> bytes:
        return len(value).to_bytes(2, "big") + value + b"\0"

    key = component(first) + component(second)
    assert KEYED.split_key(key) == (first, second)
    for length in range(len(key)):
        with pytest.raises(MutationError, match="2 components"):
            KEYED.split_key(key[:length])
    with pytest.raises(MutationError):
        KEYED.split_key(key + b"\0")


def test_key_and_clustering_values() -> None:
    some = table(
        "t",
        [column("k", "int", "partition_key")],
        [column("a", "text", "clustering"), column("b", "int", "clustering")],
    )
    assert some.split_key(b"\0\0\0\7") == (b"\0\0\0\7",)
    assert some.key_values(b"\0\0\0\7") == (7,)
    assert some.clustering_values((b"x", None)) == ("x", None)
    assert some.clustering_values((b"x",)) == ("x",)
    assert KEYED.key_values(b"\0\1a\0\0\4\0\0\0\5\0") == ("a", 5)


def test_a_table_can_be_pickled() -> None:
    found = pickle.loads(pickle.dumps(KEYED))
    assert (found.id, str(found), found.partition_key) == (KEYED.id, "ks.keyed", KEYED.partition_key)
