from __future__ import annotations

import sqlite3
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.cassandra.schema_rows import remembered_schema, table_definitions
from cdc_daemon.store import Store, table_history
from cdc_daemon.store.migrations import MIGRATIONS
from cdc_daemon.store.store import FILE_NAME
from cdc_daemon.store.table_history import TableDefinition
from tests.unit.cassandra.schema.conftest import joined, nothing, rows

ONE = UUID(int=1).bytes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def _definition(number: int, text: str = "{}", name: str = "users") -> TableDefinition:
    return TableDefinition(UUID(int=number).bytes, "shop", name, text)


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path / FILE_NAME) as connection:
        return connection.execute(query).fetchall()


def test_what_was_recorded_is_there_after_a_new_opening(tmp_path: Path) -> None:
    first = Store(tmp_path)
    assert first.schema_history.load() == []
    assert first.schema_history.record([_definition(1, "a"), _definition(2, "b")]) == 2
    first.close()
    assert Store(tmp_path).schema_history.load() == [_definition(1, "a"), _definition(2, "b")]


def test_nothing_is_written_where_nothing_has_changed(store: Store, tmp_path: Path) -> None:
    store.schema_history.record([_definition(1)])
    before = _rows(tmp_path, "SELECT * FROM schema_generation")
    (version,) = _rows(tmp_path, "PRAGMA data_version")
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        (seen,) = other.execute("PRAGMA data_version").fetchall()
        assert store.schema_history.record([_definition(1)]) == 0
        assert other.execute("PRAGMA data_version").fetchall() == [seen]
    assert _rows(tmp_path, "SELECT * FROM schema_generation") == before
    assert version


def test_each_generation_of_a_table_stays(store: Store) -> None:
    for text in ("a", "b", "c"):
        assert store.schema_history.record([_definition(1, text)]) == 1
    assert [each.definition for each in store.schema_history.load()] == ["a", "b", "c"]


def test_a_dropped_table_stays(store: Store, tmp_path: Path) -> None:
    store.schema_history.record([_definition(1), _definition(2)])
    assert store.schema_history.record([_definition(2)]) == 0
    assert [each.table_id for each in store.schema_history.load()] == [_definition(1).table_id, _definition(2).table_id]
    replaced = _rows(tmp_path, "SELECT replaced IS NULL FROM schema_generation ORDER BY id")
    assert replaced == [(0,), (1,)]


def test_a_table_that_is_not_seen_for_a_moment_is_no_new_generation(store: Store) -> None:
    store.schema_history.record([_definition(1)])
    store.schema_history.record([])
    assert store.schema_history.record([_definition(1)]) == 0
    assert len(store.schema_history.load()) == 1


def test_what_is_replaced_is_bounded_and_what_is_current_is_not(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_history, "KEPT_REPLACED", 3)
    lasting = [_definition(number) for number in range(100, 110)]
    for number in range(1, 8):
        store.schema_history.record([*lasting, _definition(number)])
    kept = [int.from_bytes(each.table_id, "big") for each in store.schema_history.load()]
    assert sorted(kept) == [4, 5, 6, 7, *range(100, 110)]


def test_a_table_that_lived_long_is_not_the_first_to_be_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_history, "KEPT_REPLACED", 2)
    store.schema_history.record([_definition(1)])
    for number in range(2, 6):
        store.schema_history.record([_definition(1), _definition(number)])
    store.schema_history.record([])
    kept = {int.from_bytes(each.table_id, "big") for each in store.schema_history.load()}
    assert kept == {1, 5}


def test_a_store_of_before_gains_the_history(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    store = Store(tmp_path)
    store.schema_history.record([_definition(1)])
    assert len(store.schema_history.load()) == 1


class TestDefinitions:
    def test_a_table_is_its_own_rows_and_the_types_it_is_made_of(self) -> None:
        types = [
            {"keyspace_name": "shop", "type_name": name, "field_names": ["f"], "field_types": [field]}
            for name, field in (("address", "frozen<Zip>"), ("Zip", "int"), ("unused", "int"))
        ]
        types[0]["field_types"] = ['frozen<"Zip">']
        content = joined(
            rows(1, ("home", "map<text, frozen<address>>"), types=types), rows(2, ("x", "int"), table="other")
        )
        users, other = table_definitions(content)
        assert (users.table_id, users.keyspace, users.name) == (ONE, "shop", "users")
        assert '"type_name":"Zip"' in users.definition
        assert '"type_name":"address"' in users.definition
        assert "unused" not in users.definition
        assert "type_name" not in other.definition
        assert "comment" not in users.definition

    def test_cassandras_own_tables_are_left_out(self) -> None:
        content = rows(1)
        for part in ("tables", "columns"):
            for row in content[part]:
                row["keyspace_name"] = "system_auth"
        assert list(table_definitions(content)) == []

    def test_the_order_of_rows_does_not_matter(self) -> None:
        content = rows(1, ("a", "int"), ("b", "int"))
        turned = {part: list(reversed(found)) for part, found in content.items()}
        assert list(table_definitions(content)) == list(table_definitions(turned))

    def test_a_view_is_a_table_to_the_log(self) -> None:
        content = rows(1, ("v", "int"), table="by_v")
        content["views"] = [{"keyspace_name": "shop", "view_name": "by_v", "id": UUID(int=1), "flags": None}]
        content["tables"] = []
        (definition,) = table_definitions(content)
        table = remembered_schema([definition]).get(ONE)
        assert table is not None
        assert [column.name for column in table.regular] == ["v"]


class TestRemembered:
    def test_columns_of_all_generations_are_known(self) -> None:
        generations = [
            *table_definitions(rows(1, ("a", "int"), ("b", "text"))),
            *table_definitions(rows(1, ("b", "text"))),
            *table_definitions(rows(1, ("b", "text"), ("c", "bigint"))),
        ]
        table = remembered_schema(generations).get(ONE)
        assert table is not None
        assert [column.name for column in table.regular] == ["b", "c"]
        assert {name: column.type.name for name, column in table.columns.items()} == {
            b"a": "int",
            b"b": "text",
            b"c": "bigint",
        }

    def test_tables_of_one_name_are_told_apart_by_id(self) -> None:
        generations = [*table_definitions(rows(1, ("a", "int"))), *table_definitions(rows(2, ("a", "text")))]
        schema = remembered_schema(generations)
        types = {table.id[-1]: table.regular[0].type.name for table in schema}
        assert types == {1: "int", 2: "text"}

    def test_a_generation_that_cannot_be_understood_spoils_no_other(self) -> None:
        generations = [*table_definitions(rows(1, ("a", "nonsense"))), *table_definitions(rows(2, ("a", "text")))]
        schema = remembered_schema(generations)
        assert len(schema) == 1
        assert len(schema.problems) == 1

    def test_nothing_is_remembered_of_nothing(self) -> None:
        assert len(remembered_schema(table_definitions(nothing()))) == 0

    @given(st.lists(st.tuples(st.integers(1, 3), st.sets(st.sampled_from("abcd"))), max_size=8))
    def test_every_column_ever_seen_is_known_after_a_restart(self, seen: list[tuple[int, set[str]]]) -> None:
        generations = [
            definition
            for number, columns in seen
            for definition in table_definitions(rows(number, *((name, "int") for name in sorted(columns))))
        ]
        schema = remembered_schema(generations)
        for number in {number for number, _ in seen}:
            table = schema.get(UUID(int=number).bytes)
            assert table is not None
            ever = {name.encode() for other, columns in seen if other == number for name in columns}
            assert set(table.columns) == ever
