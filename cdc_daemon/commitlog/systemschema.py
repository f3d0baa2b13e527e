"""Converts rows of `system_schema` to table metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cdc_daemon.commitlog.table import Column, DroppedColumn, TableMetadata
from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.model.errors import CommitLogError

Row = Mapping[str, Any]
"""One row of a `system_schema` table, columns by name: the driver's `dict_factory` or a snapshot's JSON."""


def read_tables(
    tables: Iterable[tuple[str, Row]],
    columns: Iterable[Row],
    types: Iterable[Row],
    dropped_columns: Iterable[Row],
) -> tuple[list[TableMetadata], list[CommitLogError]]:
    """Return the metadata of `tables`, pairs of a name and its row, and errors for those that cannot be parsed."""
    user_types = _user_types(types)
    live = _by_table(columns)
    dropped = _by_table(dropped_columns)
    found: list[TableMetadata] = []
    problems: list[CommitLogError] = []
    for name, row in tables:
        place = row["keyspace_name"], name
        try:
            found.append(_table(row, place, live.get(place, ()), dropped.get(place, ()), user_types.get(place[0], {})))
        except CommitLogError as error:
            error.where.setdefault("table", ".".join(place))
            problems.append(error)
    return found, problems


def _by_table(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["keyspace_name"], row["table_name"]), []).append(row)
    return found


def _user_types(rows: Iterable[Row]) -> dict[str, dict[str, CqlType]]:
    """Parse every keyspace's UDTs; as they may refer to each other in any order, repeat until no more can be parsed."""
    found: dict[str, dict[str, CqlType]] = {}
    waiting = list(rows)
    while waiting:
        later = []
        for row in waiting:
            keyspace = row["keyspace_name"]
            known = found.setdefault(keyspace, {})
            try:
                fields = tuple(parse_type(each, keyspace=keyspace, user_types=known) for each in row["field_types"])
            except CommitLogError:
                later.append(row)
                continue
            known[row["type_name"]] = CqlType(
                "udt", fields, frozen=False, keyspace=keyspace, type_name=row["type_name"],
                field_names=tuple(row["field_names"]),
            )  # fmt: skip
        if len(later) == len(waiting):
            break
        waiting = later
    return found


def _table(
    row: Row,
    place: tuple[str, str],
    columns: Iterable[Row],
    dropped: Iterable[Row],
    user_types: Mapping[str, CqlType],
) -> TableMetadata:
    by_kind: dict[str, list[Column]] = {"partition_key": [], "clustering": [], "static": [], "regular": []}
    for each in columns:
        column = _column(each, user_types)
        by_kind[column.kind].append(column)
    gone = tuple(DroppedColumn(_column(each, user_types), _microseconds(each["dropped_time"])) for each in dropped)
    return TableMetadata(
        id=_uuid(row["id"]),
        keyspace=place[0],
        name=place[1],
        partition_key=tuple(sorted(by_kind["partition_key"], key=lambda column: column.position)),
        clustering=tuple(sorted(by_kind["clustering"], key=lambda column: column.position)),
        static=tuple(sorted(by_kind["static"], key=_serialisation_order)),
        regular=tuple(sorted(by_kind["regular"], key=_serialisation_order)),
        dropped=gone,
        is_counter="counter" in (row.get("flags") or ()),
        cdc=bool(row.get("cdc")),
    )


def _serialisation_order(column: Column) -> tuple[bool, bytes]:
    return column.type.multi_cell, column.name_bytes


def _column(row: Row, user_types: Mapping[str, CqlType]) -> Column:
    name = row["column_name"]
    raw = row.get("column_name_bytes")
    if isinstance(raw, str):
        raw = bytes.fromhex(raw.removeprefix("0x"))
    return Column(
        name=name,
        name_bytes=name.encode() if raw is None else bytes(raw),
        type=parse_type(row["type"], keyspace=row["keyspace_name"], user_types=user_types),
        # Before 4.0 only regular columns could be dropped, and their rows have no kind.
        kind=row.get("kind") or "regular",
        position=row.get("position", -1),
        reversed=row.get("clustering_order") == "desc",
    )


def _uuid(value: UUID | str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, UUID) else UUID(value)).bytes


def _microseconds(value: datetime | str | float) -> int:
    """Read a timestamp of `system_schema`: the driver's naive UTC datetime, its text, or milliseconds."""
    if isinstance(value, int | float):
        return int(value) * 1000
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
