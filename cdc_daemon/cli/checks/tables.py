"""Checks of the mapped tables: they exist, they have CDC, and they have the columns that the mappings name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.config import MappingSettings, template_columns
from cdc_daemon.model.signal import TableName

Query = Callable[[str, Sequence[object]], Iterable[Any]]
"""Runs a CQL query with parameters. The values of a row are attributes named after the columns."""

_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class _TableDefinition:
    """The parts of a table's definition in `system_schema` that are checked: CDC, and the kind of each column."""

    cdc: bool
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> list[str]:
        return [name for name, kind in self.columns.items() if kind in ("partition_key", "clustering")]


def check_tables(query: Query, mappings: Mapping[str, MappingSettings], *, tail: bool = True) -> Iterator[Finding]:
    """Check the tables of each mapping, with `tail` also their CDC. Errors of the query propagate to the caller."""
    durable = {row.keyspace_name: row.durable_writes for row in query(_KEYSPACES, ())}
    for name, mapping in mappings.items():
        keyspace = mapping.table.keyspace
        if keyspace not in durable:
            mend = _nearest(keyspace, durable) or "create it, or remove the mapping"
            yield fail(f"table.{name}", f"there is no keyspace {keyspace}", mend)
            continue
        if tail and not durable[keyspace]:
            yield fail(
                f"table.{name}",
                f"writes to keyspace {keyspace} do not go through the commit log (durable_writes = false)",
                f"ALTER KEYSPACE {_quoted(keyspace)} WITH durable_writes = true;",
            )
        definition = _read(query, mapping.table)
        if definition is None:
            tables = [row.table_name for row in query(_TABLE_NAMES, (keyspace,))]
            mend = _nearest(mapping.table.table, tables) or "create it, or remove the mapping"
            yield fail(f"table.{name}", f"there is no table {mapping.table}", mend)
            continue
        if tail:
            yield _check_cdc(name, mapping.table, definition)
        yield from _check_joined(query, name, mapping, tail=tail)
        yield _check_columns(name, mapping, definition)
        yield _check_id(name, mapping, definition)


_KEYSPACES = "SELECT keyspace_name, durable_writes FROM system_schema.keyspaces"
_TABLE_NAMES = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
_TABLE = "SELECT * FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s"
_COLUMNS = "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s"


def _read(query: Query, table: TableName) -> _TableDefinition | None:
    for row in query(_TABLE, tuple(table)):
        columns = {column.column_name: column.kind for column in query(_COLUMNS, tuple(table))}
        return _TableDefinition(cdc=bool(getattr(row, "cdc", False)), columns=columns)
    return None


def _check_cdc(name: str, table: TableName, definition: _TableDefinition) -> Finding:
    if definition.cdc:
        return ok(f"table.{name}", f"{table} has cdc = true")
    alter = f"ALTER TABLE {_quoted(table.keyspace)}.{_quoted(table.table)} WITH cdc = true;"
    return fail(f"table.{name}", f"{table} has cdc = false: its changes are not in CDC segments", alter)


def _check_joined(query: Query, name: str, mapping: MappingSettings, *, tail: bool) -> Iterator[Finding]:
    """Check the tables of joins and lookups."""
    for table in sorted(mapping.joined_tables - {mapping.table}):
        definition = _read(query, table)
        if definition is None:
            tables = [row.table_name for row in query(_TABLE_NAMES, (table.keyspace,))]
            yield fail(f"table.{name}.{table}", f"there is no table {table}", _nearest(table.table, tables))
        elif tail:
            yield _check_cdc(f"{name}.{table}", table, definition)


def _check_columns(name: str, mapping: MappingSettings, definition: _TableDefinition) -> Finding:
    named = {*mapping.fields, *(mapping.include or ()), *(mapping.exclude or ())}
    missing = sorted(named - set(definition.columns))
    if not missing:
        shown = len(mapping.include) if mapping.include else len(definition.columns) - len(mapping.exclude or ())
        return ok(f"columns.{name}", f"documents contain {shown} of {len(definition.columns)} columns")
    hints = [hint for column in missing if (hint := _nearest(column, definition.columns)) is not None]
    return fail(
        f"columns.{name}",
        f"{mapping.table} has no column {', '.join(missing)}",
        "; ".join(hints) or f"its columns are {', '.join(sorted(definition.columns))}",
    )


def _check_id(name: str, mapping: MappingSettings, definition: _TableDefinition) -> Finding:
    if mapping.id is None:
        return ok(f"id.{name}", f"the document id consists of the key columns: {', '.join(definition.key)}")
    used = template_columns(mapping.id)
    foreign = [column for column in used if column not in definition.key]
    if foreign:
        return fail(
            f"id.{name}",
            f"the id contains {', '.join(foreign)}, not a key column: a removed row has no value for it",
            f"use only key columns: {', '.join(definition.key)}",
        )
    unused = [column for column in definition.key if column not in used]
    if unused:
        return warn(
            f"id.{name}",
            f"the id does not contain {', '.join(unused)}: rows that differ only there share one document",
            f"use all key columns: {', '.join(definition.key)}",
        )
    return ok(f"id.{name}", f"the document id is {mapping.id}")


def _nearest(name: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]} for {name}?" if near else None


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"'
