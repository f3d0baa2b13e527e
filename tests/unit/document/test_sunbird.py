"""Sunbird's object types without servers: for each state of the rows exactly the document expected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import pytest

from cdc_daemon.config import MappingSettings
from cdc_daemon.config.loading import load
from cdc_daemon.document.bookkeeping import CLUSTERING_FIELD, PARTITION_FIELD
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.document.related import Joined, Relation
from cdc_daemon.model.signal import TableName
from sandbox.cache import CHECKOUT
from sandbox.demo.schema import _SCHEMA, statements
from tests.sunbird.states import STATES, State
from tests.unit.document.tables import table

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def _tables() -> dict[TableName, Any]:
    found = {}
    for statement in statements(_SCHEMA.read_text(encoding="utf-8")):
        match = re.match(r"CREATE TABLE (\w+)\.(\w+) \((.*)\) WITH", statement, re.DOTALL)
        if match is None:
            continue
        body = match[3]
        columns = re.findall(r"^    ([a-z]\w*) ([\w<>, ]+?)( PRIMARY KEY)?,?$", body, re.MULTILINE)
        named = re.search(r"PRIMARY KEY \(([\w, ]+)\)", body)
        key = [name.strip() for name in named[1].split(",")] if named else [n for n, _, own in columns if own]
        kinds = {name: "clustering" if at else "partition_key" for at, name in enumerate(key)}
        made = [(name, kind, kinds.get(name, "regular")) for name, kind, _ in columns]
        made.sort(key=lambda each: key.index(each[0]) if each[0] in key else len(key))
        found[TableName(match[1], match[2])] = table(*made, name=match[2], keyspace=match[1])
    return found


TABLES = _tables()


def settings_of(object_type: str) -> MappingSettings:
    return load(CHECKOUT / "config.example.yaml", environment={}).mappings[object_type]


def _found(relation: Relation, row: Mapping[str, Any], rows: Rows) -> list[Mapping[str, Any]]:
    return [
        each
        for each in rows.get(str(relation.table), ())
        if all(each.get(key) == row.get(column) for key, column in relation.on)
    ]


def _looked_up(relation: Relation, row: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    (other,) = _found(relation, row, rows) or [{}]
    return {relation.value_name(column): other.get(column) for column in relation.columns}


def _joined(relation: Relation, row: Mapping[str, Any], rows: Rows) -> Joined:
    extended: list[dict[str, Any]] = []
    for child in _found(relation, row, rows):
        extended.append({column: child.get(column) for column in relation.columns})
        for lookup in relation.lookups:
            extended[-1] |= _looked_up(lookup, child, rows)
    names = tuple(extended[0]) if extended else ()
    return Joined(names, [tuple(each.values()) for each in extended])


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.object_type}: {state.name}")
def test_the_document_of_a_state(state: State) -> None:
    settings = settings_of(state.object_type)
    mapping = DocumentMapping(state.object_type, settings, TABLES[settings.table], TABLES)
    own = mapping.table
    columns = [each.name for each in (*own.partition_key, *own.clustering, *own.static, *own.regular)]
    row: dict[str, Any] = {column: state.row.get(column) for column in columns}
    # The driver gives moments without a zone.
    row |= {name: value.replace(tzinfo=None) for name, value in row.items() if isinstance(value, datetime)}
    for lookup in mapping.lookups:
        row |= _looked_up(lookup.relation, row, state.joined)
    for join in mapping.joins:
        row[join.relation.joined_name] = _joined(join.relation, row, state.joined)
    made = mapping.compile(tuple(row))(tuple(row.values()), (b"k", (b"c",) * len(own.clustering)), 0, 0.0)
    assert (made.id, made.routing) == (state.id, None)
    assert made.body is not None
    found = orjson.loads(made.body)
    for bookkeeping in (PARTITION_FIELD, CLUSTERING_FIELD):
        found.pop(bookkeeping, None)
    assert found == state.expected


def test_each_type_has_states_and_each_column_is_shown() -> None:
    assert {state.object_type for state in STATES} == set(load(CHECKOUT / "config.example.yaml").mappings)
    for object_type in {state.object_type for state in STATES}:
        settings = settings_of(object_type)
        fields = {state.object_type: set(state.expected) for state in STATES}[object_type]
        lowered = {field.lower().replace("_", "") for field in fields}
        for column in TABLES[settings.table].columns:
            name = column.decode().replace("_", "")
            assert name in lowered or name == "contactdetail" or f"old{name}" in lowered
