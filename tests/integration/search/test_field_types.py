"""The fields that the daemon declares by default, on a real index: what is found, and that every value is taken."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from cdc_daemon.app.parts.index_preparation import index_definition
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.bookkeeping import whole_source
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.search import BulkWriter, IndexManager, Operation, Outcome
from cdc_daemon.search.index_drift import find_drift
from cdc_daemon.search.stored_fields import only_stored
from tests.integration.search.conftest import Index
from tests.unit.document.tables import table

pytestmark = pytest.mark.other_engines

COLUMNS = ("id", "prices", "price", "labels", "many", "number")
ITEM = table(
    ("id", "text", "partition_key"),
    ("labels", "map<text, text>", "regular"),
    ("many", "list<frozen<map<text, text>>>", "regular"),
    ("number", "varint", "regular"),
    ("price", "decimal", "regular"),
    ("prices", "list<frozen<decimal>>", "regular"),
)

ROWS: Mapping[str, Mapping[str, Any]] = {
    "cheap": {"price": Decimal("9.50"), "number": 3, "labels": {"colour": "red", "a.b": "dotted", "": "unnamed"}},
    "dear": {"price": Decimal("1000.10"), "number": 2**70, "labels": {"colour": "blue"}, "many": [{"x": "1"}, {}]},
    "exact": {"price": Decimal("12345678901234567890.123456789"), "number": -(10**400)},
    "far": {"price": Decimal("1E+1000000"), "number": 10**5000, "prices": [Decimal("1E+999"), Decimal(3)]},
    "odd keys": {"labels": {".": "1", "..": "2", "a..b": "3", " ": "4", "a.b": "5", "a": "6", "\n": "7", "a=b": "8"}},
    "long value": {"labels": {"colour": "red", "text": "x" * 40_000}},
    "long key": {"labels": {"colour": "red", "k" * 40_000: "x"}},
    "long both": {"labels": {"k" * 20_000: "\u20ac" * 8_000}},
    "nul": {"labels": {"a\0b": "x"}, "many": [{"a": "x\0y"}]},
    "empty": {"labels": {}, "many": []},
}


def mapping(index: Index, **settings: Any) -> tuple[DocumentMapping, MappingSettings]:
    alias, shards = f"{index.alias}-items", {"number_of_shards": 1, "number_of_replicas": 0}
    declared = MappingSettings.model_validate(
        {"table": TableName("sunbird", "t"), "alias": alias, "settings": shards, **settings}
    )
    return DocumentMapping("item", declared, ITEM), declared


def operations(made: DocumentMapping) -> list[Operation]:
    build = made.compile(COLUMNS)
    rows = [[identity, *(row.get(column) for column in COLUMNS[1:])] for identity, row in ROWS.items()]
    return [build(row, (str(row[0]).encode(), ()), 10, time.monotonic()) for row in rows]


async def found_by(index: Index, alias: str, query: Mapping[str, Any]) -> set[str]:
    answer = await index.client.search(index=alias, query=dict(query), size=100)
    return {hit["_id"] for hit in answer["hits"]["hits"]}


async def sources(index: Index, alias: str) -> dict[str, Any]:
    answer = await index.client.search(index=alias, size=100)
    return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}


async def test_numbers_and_maps_are_searched_and_no_value_is_refused(index: Index, writer: BulkWriter) -> None:
    made, declared = mapping(index)
    definition = index_definition(declared, made)
    await IndexManager(index.engine).ensure(definition)

    sent = operations(made)
    results = await writer.write(sent)

    assert {(operation.id, result.outcome) for operation, result in zip(sent, results, strict=True)} == {
        (name, Outcome.INDEXED) for name in ROWS
    }, [result.reason for result in results]
    alias = definition.alias
    await index.client.indices.refresh(index=alias)
    stored = await sources(index, alias)
    assert {name: whole_source(source) for name, source in stored.items()} == documents(made)
    assert stored["cheap"]["price"] == "9.50"

    assert await found_by(index, alias, {"range": {"price": {"gt": 9, "lt": 1001}}}) == {"cheap", "dear"}
    assert await found_by(index, alias, {"range": {"number": {"gt": 2}}}) == {"cheap", "dear"}
    assert await found_by(index, alias, {"term": {"price.exact": "12345678901234567890.123456789"}}) == {"exact"}
    assert await found_by(index, alias, {"term": {"price.exact": "1E+1000000"}}) == {"far"}
    assert await found_by(index, alias, {"term": {"prices": 3}}) == {"far"}
    assert await find_drift(
        index.engine, definition.index, settings=definition.settings, mappings=definition.mappings
    ) == []  # fmt: skip
    if await only_stored(index.engine, definition.mappings):
        return  # the engine has no type for maps
    red = await found_by(index, alias, {"term": {"labels.colour": "red"}})
    assert red >= {"cheap"}
    assert red <= {"cheap", "long value", "long key"}
    assert await found_by(index, alias, {"term": {"labels.a.b": "dotted"}}) == {"cheap"}
    assert await found_by(index, alias, {"term": {"many.x": "1"}}) == {"dear"}


async def test_an_index_with_the_former_fields_keeps_working_and_is_not_reported(
    index: Index, writer: BulkWriter
) -> None:
    made, declared = mapping(index)
    now = index_definition(declared, made)
    before = replace(now, mappings=now.former, extra_properties={})
    await IndexManager(index.engine).ensure(before)

    await IndexManager(index.engine).ensure(now)
    completed = await IndexManager(index.engine).complete(now.alias, now.mappings["properties"], add=True)
    assert completed.added == ()
    differences = await find_drift(
        index.engine, now.index, settings=now.settings, mappings=now.mappings, former=now.former
    )
    assert differences == []
    results = await writer.write(operations(made))
    assert {result.outcome for result in results} == {Outcome.INDEXED}
    await index.client.indices.refresh(index=now.alias)
    stored = await sources(index, now.alias)
    assert stored == documents(made)
    assert await found_by(index, now.alias, {"term": {"price": "9.50"}}) == {"cheap"}


async def test_a_declared_type_takes_every_number_too(index: Index, writer: BulkWriter) -> None:
    made, declared = mapping(index, types={"varint": {"type": "long"}, "decimal": {"type": "float"}})
    definition = index_definition(declared, made)
    await IndexManager(index.engine).ensure(definition)
    results = await writer.write(operations(made))
    assert {result.outcome for result in results} == {Outcome.INDEXED}
    await index.client.indices.refresh(index=definition.alias)
    assert await found_by(index, definition.alias, {"term": {"number": 3}}) == {"cheap"}
    assert await found_by(index, definition.alias, {"term": {"number.exact": str(2**70)}}) == {"dear"}


def documents(made: DocumentMapping) -> dict[str, Any]:
    return {each.id: orjson.loads(each.body or b"") for each in operations(made)}
