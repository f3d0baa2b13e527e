"""The tables of a cluster as the commit log needs them.

Built from rows of `system_schema`, live or from a snapshot; several generations of a schema can be merged, so
that a segment written before an ALTER, a DROP or a second CREATE still reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from cdc_daemon.commitlog.table import Column, DroppedColumn, TableMetadata
from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.model.errors import CommitLogError

__all__ = ["Column", "DroppedColumn", "Row", "Schema", "SchemaView", "TableMetadata"]


Row = Mapping[str, Any]
"""One row of a `system_schema` table, columns by name: the driver's `dict_factory` or a snapshot's JSON."""

_BEGINNING = -(1 << 63)
"""Microseconds: before every write."""


class SchemaView(Protocol):
    """The part of a schema that readers need."""

    def get(self, table_id: bytes, /) -> TableMetadata | None:
        """Return the table of this id (16 bytes), None when it is unknown."""
        ...


class Schema:
    """The tables of a cluster by id, current ones and those of earlier generations.

    `problems` holds an error for each table with metadata that could not be parsed; the other tables are usable.
    """

    __slots__ = ("_tables", "problems")

    def __init__(self, tables: Iterable[TableMetadata] = (), problems: Iterable[CommitLogError] = ()) -> None:
        self._tables = {table.id: table for table in tables}
        self.problems = tuple(problems)

    @classmethod
    def from_rows(
        cls,
        *,
        keyspaces: Iterable[Row] = (),  # noqa: ARG003 - a snapshot has them; tables do not depend on them
        tables: Iterable[Row],
        columns: Iterable[Row],
        types: Iterable[Row] = (),
        dropped_columns: Iterable[Row] = (),
        views: Iterable[Row] = (),
    ) -> Schema:
        """Build a schema from the rows of `system_schema`'s tables of these names; the log treats views as tables."""
        named = [(row["table_name"], row) for row in tables]
        named += [(row["view_name"], row) for row in views]
        found, problems = read_tables(named, columns, types, dropped_columns)
        return cls(found, problems)

    def get(self, table_id: bytes, /) -> TableMetadata | None:
        """Return the table of this id (16 bytes), None when it is unknown."""
        return self._tables.get(table_id)

    def find(self, keyspace: str, name: str) -> TableMetadata | None:
        """Return the table of this name; of several generations, the one that was added last."""
        matching = [each for each in self if each.keyspace == keyspace and each.name == name]
        return matching[-1] if matching else None

    def merged(self, older: Schema) -> Schema:
        """Return this schema with the tables that only `older` has, and with its further columns of common tables.

        Such a column is added to the dropped ones, so that its cells and those beside it can be read. None of its
        cells are left out, because the time of the drop is unknown.
        """
        tables = dict(older._tables)
        for table in self:
            before = tables.pop(table.id, None)
            tables[table.id] = table if before is None else _with_columns_of(table, before)
        return Schema(tables.values(), (*older.problems, *self.problems))

    def __iter__(self) -> Iterator[TableMetadata]:
        return iter(self._tables.values())

    def __len__(self) -> int:
        return len(self._tables)


def _with_columns_of(table: TableMetadata, before: TableMetadata) -> TableMetadata:
    lost = [column for name, column in before.columns.items() if name not in table.columns]
    if not lost:
        return table
    kept = {each.column.name_bytes: each.dropped_at for each in before.dropped}
    dropped = tuple(DroppedColumn(column, kept.get(column.name_bytes, _BEGINNING)) for column in lost)
    return TableMetadata(
        table.id, table.keyspace, table.name, table.partition_key, table.clustering, table.static,
        table.regular, (*table.dropped, *dropped), table.is_counter, table.cdc,
    )  # fmt: skip


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
