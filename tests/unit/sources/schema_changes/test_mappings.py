"""Updates of mappings after schema changes: added fields, columns that are left out, mappings that stay unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.pipeline.server_waits import ServerWaits
from cdc_daemon.search.indices import Completion, missing_properties
from cdc_daemon.sources.schema_changes.mappings import LiveMappings, SchemaFollower
from cdc_daemon.sources.schema_changes.primary_keys import PrimaryKeyWatch

TABLE = TableName("k", "t")


def table(*columns: str, user_type: Sequence[str] = ()) -> TableMetadata:
    rows = [("id", "partition_key", 0, "int"), *((name, "regular", -1, "text") for name in columns)]
    if user_type:
        rows.append(("home", "regular", -1, "frozen<place>"))
    place = {
        "keyspace_name": "k",
        "type_name": "place",
        "field_names": list(user_type),
        "field_types": ["text"] * len(user_type),
    }
    schema = Schema.from_rows(
        tables=[{"keyspace_name": "k", "table_name": "t", "id": "00000000-0000-0000-0000-000000000001"}],
        columns=[
            {
                "keyspace_name": "k",
                "table_name": "t",
                "column_name": name,
                "column_name_bytes": name.encode(),
                "kind": kind,
                "position": position,
                "type": cql,
                "clustering_order": "none",
            }
            for name, kind, position, cql in rows
        ],
        types=[place] if user_type else [],
    )
    found = schema.find("k", "t")
    assert found is not None, schema.problems
    return found


class NoTables:
    """A schema without tables: nothing that could be created again."""

    def generation(self, name: TableName) -> str | None:
        assert name
        return None

    def table(self, name: TableName) -> TableMetadata:
        raise AssertionError(name)


class World:
    """A table that is altered, and an index that is strict where the operator's mapping is."""

    def __init__(self, now: TableMetadata, **declared: Any) -> None:
        self.table = now
        self.settings = {"m": MappingSettings(table=TABLE, alias="a", **declared)}
        self.number = 1
        self.down = False
        self.index = {"id", "v"}
        self.shown: list[str] = []
        self.again: set[Key] = set()
        self.server_waits = ServerWaits()
        self.hangs: asyncio.Event | None = None
        self.live = LiveMappings(
            self.settings,
            {TABLE: [self.make("m", self.settings["m"])]},
            schema=self,
            make=self.make,
            fields=self,
            replace=self.replace,
            server_waits=self.server_waits,
        )
        self.follower = SchemaFollower(self.live, again=self.again.update, keys=PrimaryKeyWatch({}, NoTables()))

    def make(self, name: str, declared: MappingSettings) -> DocumentMapping:
        return DocumentMapping(name, declared, self.table)

    def alter(self, now: TableMetadata) -> None:
        self.table = now
        self.number += 1

    def generation(self, name: TableName) -> str | None:
        assert name == TABLE
        return str(self.number)

    async def complete(self, alias: str, properties: Mapping[str, object], *, add: bool) -> Completion:
        assert alias == "a"
        if self.hangs is not None:
            await self.hangs.wait()
        if self.down:
            raise ElasticsearchUnavailableError("away")
        missing = tuple(name for name in properties if name not in self.index)
        if not add:
            return Completion("i", refused=missing)
        self.index |= set(missing)
        return Completion("i", missing)

    def replace(self, name: TableName, mappings: Sequence[DocumentMapping]) -> None:
        assert name == TABLE
        self.shown = list(mappings[0].fields)

    async def look(self, number: int = 0) -> list[str]:
        reading = Reading(1, 0.0, ("id",), [RowState(None, None)])
        await self.follower.update(TABLE, [Key(TABLE, bytes([number]), ())], reading)
        return self.shown


async def test_a_new_column_is_shown_once_its_field_is_in_the_index() -> None:
    world = World(table("v"))
    assert await world.look() == ["id", "v"]
    world.alter(table("added", "v"))
    world.down = True
    with pytest.raises(ElasticsearchUnavailableError):
        await world.look()
    assert world.shown == ["id", "v"]
    world.down = False
    assert await world.look() == ["id", "added", "v"]
    assert "added" in world.index


async def test_an_operators_strict_index_has_new_columns_left_out() -> None:
    world = World(table("v"), mappings={"dynamic": "strict", "properties": {"id": {}, "v": {}}})
    await world.look()
    world.alter(table("added", "v"))
    assert await world.look() == ["id", "v"]


async def test_what_the_configuration_names_is_not_left_out() -> None:
    world = World(table("v", "w"), mappings={"properties": {}}, fields={"w": "other"})
    assert await world.look() == ["id", "v", "w"]


async def test_a_mapping_that_does_not_fit_any_more_stays_as_it_was() -> None:
    world = World(table("v"), fields={"v": "value"})
    await world.look()
    world.alter(table("w"))
    assert await world.look() == ["id", "v"]


async def test_rows_read_just_before_a_user_type_grew_are_read_again() -> None:
    world = World(table("v", user_type=["city"]))
    await world.look(1)
    await world.look(2)
    assert world.again == set()
    world.alter(table("v", user_type=["city", "zip"]))
    await world.look(3)
    assert {key.partition_key for key in world.again} == {b"\1", b"\2"}
    plain = World(table("v"))
    await plain.look(1)
    plain.alter(table("v", "w"))
    await plain.look(2)
    assert plain.again == set()


def test_what_an_index_lacks() -> None:
    text = {"type": "text"}
    found = {"a": text, "o": {"properties": {"x": text}}, "n": {"type": "nested", "properties": {"x": text}}}
    inner = {"properties": {"x": text, "y": text}}
    assert missing_properties({"a": {"type": "long"}, "b": text, "o": inner, "n": inner}, found) == {
        "b": text,
        "o": {"properties": {"y": text}},
        "n": {"type": "nested", "properties": {"y": text}},
    }


async def test_who_reads_rows_meanwhile_is_told_that_elasticsearch_is_waited_for() -> None:
    """The fields of an index are looked up while rows are read; both who looks and who waits for that say so."""
    world = World(table("v"))
    world.hangs = asyncio.Event()

    async def read(number: int) -> None:
        with world.server_waits.on("cassandra"):
            await world.look(number)

    reads = [asyncio.create_task(read(number)) for number in range(2)]
    await asyncio.sleep(0.01)
    trouble = world.server_waits.trouble(0.0)
    assert trouble is not None
    assert trouble.service == "elasticsearch"
    assert {wait.service for wait in world.server_waits._open if not wait.inner} == {"elasticsearch"}
    world.hangs.set()
    await asyncio.gather(*reads)
    assert world.server_waits.trouble(0.0) is None
