"""Table metadata as the commit log needs it: ids, keys, column types, dropped columns.

Built from rows of `system_schema`, live or from a snapshot; several generations of a schema can be merged, so
that a segment written before an ALTER, a DROP or a second CREATE still reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from cdc_daemon.commitlog.types import CqlType, parse_type
from cdc_daemon.errors import CommitLogError, MutationError

Kind = Literal["partition_key", "clustering", "static", "regular"]
Row = Mapping[str, Any]
"""One row of a `system_schema` table, columns by name: the driver's `dict_factory` or a snapshot's JSON."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `reversed` is true of a clustering column in descending order."""

    name: str
    name_bytes: bytes
    type: CqlType
    kind: Kind
    position: int = -1
    reversed: bool = False
    fixed_length: int | None = field(init=False, repr=False, compare=False)
    """The type's, at hand for loops over cells."""
    multi_cell: bool = field(init=False, repr=False, compare=False)
    """The type's, at hand for loops over cells."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed_length", self.type.fixed_length)
        object.__setattr__(self, "multi_cell", self.type.multi_cell)


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A column that was dropped at `dropped_at`, microseconds since the epoch.

    Cells up to that time are left out of what is read, later ones belong to a column of the same name that
    was added again (`DeserializationHelper.isDropped`).
    """

    column: Column
    dropped_at: int


@dataclass(frozen=True, slots=True, eq=False)
class TableMetadata:
    """One table in one generation of the schema. Immutable; compared by identity.

    `static` and `regular` stand in the order in which Cassandra writes them (`ColumnMetadata.compareTo`):
    simple columns before complex ones, then by the bytes of their names.
    """

    id: bytes
    keyspace: str
    name: str
    partition_key: tuple[Column, ...]
    clustering: tuple[Column, ...]
    static: tuple[Column, ...]
    regular: tuple[Column, ...]
    dropped: tuple[DroppedColumn, ...] = ()
    is_counter: bool = False
    cdc: bool = False
    columns: Mapping[bytes, Column] = field(init=False, repr=False)
    """Static and regular columns, then dropped ones that have no successor, by the bytes of their names."""
    dropped_at: Mapping[bytes, int] = field(init=False, repr=False)
    """When a column of this name was dropped last, microseconds since the epoch."""
    memo: dict[str, Any] = field(init=False, repr=False, default_factory=dict)
    """What readers derived from this metadata, by the reader's name; never part of its meaning."""

    def __post_init__(self) -> None:
        known = {each.column.name_bytes: each.column for each in self.dropped}
        known.update({column.name_bytes: column for column in (*self.static, *self.regular)})
        object.__setattr__(self, "columns", known)
        times = {each.column.name_bytes: each.dropped_at for each in self.dropped}
        object.__setattr__(self, "dropped_at", times)

    def __str__(self) -> str:
        return f"{self.keyspace}.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            self.id, self.keyspace, self.name, self.partition_key, self.clustering,
            self.static, self.regular, self.dropped, self.is_counter, self.cdc,
        )  # fmt: skip

    def split_key(self, key: bytes) -> tuple[bytes, ...]:
        """The components of a serialised partition key, raw (`CompositeType`: length, bytes, a zero byte).

        Raises `MutationError` where the bytes are not a key of this table.
        """
        count = len(self.partition_key)
        if count == 1:
            return (key,)
        components = []
        position = 0
        for _ in range(count):
            start = position + 2
            end = start + int.from_bytes(key[position:start], "big")
            if end >= len(key):
                break
            components.append(key[start:end])
            position = end + 1
        if len(components) != count or position != len(key):
            raise MutationError(f"expected a partition key of {count} components, found {key.hex()}", table=str(self))
        return tuple(components)

    def key_values(self, key: bytes) -> tuple[Any, ...]:
        """The partition key's values in Python types, in the order of the key's columns."""
        return self._values(self.partition_key, self.split_key(key))

    def clustering_values(self, clustering: Iterable[bytes | None]) -> tuple[Any, ...]:
        """A clustering's values, or those of a prefix, in Python types, in the order of its columns."""
        return self._values(self.clustering, tuple(clustering))

    def _values(self, columns: tuple[Column, ...], raw: tuple[bytes | None, ...]) -> tuple[Any, ...]:
        # Imported here because the driver is slow to load and reading keys never needs it.
        from cdc_daemon.commitlog.values import decode_value  # noqa: PLC0415

        return tuple(decode_value(column.type, value) for column, value in zip(columns, raw, strict=False))


class SchemaView(Protocol):
    """What readers ask of a schema."""

    def get(self, table_id: bytes, /) -> TableMetadata | None:
        """The table of this id (16 bytes), or None where none is known."""
        ...


class Schema:
    """The tables of a cluster by id, current ones and those remembered from earlier generations.

    `problems` holds an error for each table whose metadata could not be understood; the others stand.
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
        """Build from the rows of `system_schema`'s tables of these names; views are tables to the log."""
        user_types = _user_types(types)
        live = _by_table(columns)
        dropped = _by_table(dropped_columns)
        found: list[TableMetadata] = []
        problems: list[CommitLogError] = []
        for row, name in (
            *((row, row["table_name"]) for row in tables),
            *((row, row["view_name"]) for row in views),
        ):
            place = row["keyspace_name"], name
            try:
                found.append(
                    _table(row, place, live.get(place, []), dropped.get(place, []), user_types.get(place[0], {}))
                )
            except CommitLogError as error:
                error.where.setdefault("table", ".".join(place))
                problems.append(error)
        return cls(found, problems)

    def get(self, table_id: bytes, /) -> TableMetadata | None:
        """The table of this id (16 bytes), or None where none is known."""
        return self._tables.get(table_id)

    def find(self, keyspace: str, name: str) -> TableMetadata | None:
        """The table of this name; of several generations the one that was put in last."""
        matching = [each for each in self if each.keyspace == keyspace and each.name == name]
        return matching[-1] if matching else None

    def merged(self, older: Schema) -> Schema:
        """This schema, with the tables that only `older` knows, and the columns only `older` knows of a table.

        A column that `older` has and this does not is kept as one dropped at the beginning of time, so that
        its cells are passed over and their neighbours read.
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


_BEGINNING = -(1 << 63)


def _by_table(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["keyspace_name"], row["table_name"]), []).append(row)
    return found


def _user_types(rows: Iterable[Row]) -> dict[str, dict[str, CqlType]]:
    """Every keyspace's UDTs; a UDT may use others in any order, so parse until nothing more parses."""
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
    """A timestamp of `system_schema`: the driver's naive UTC datetime, its text, or milliseconds."""
    if isinstance(value, int | float):
        return int(value) * 1000
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
