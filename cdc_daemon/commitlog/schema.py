"""The tables of a cluster as the commit log needs them.

Built from rows of `system_schema`, live or from a snapshot; several generations of a schema can be merged, so
that a segment written before an ALTER, a DROP or a second CREATE still reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from cdc_daemon.commitlog.systemschema import Row, read_tables
from cdc_daemon.commitlog.table import Column, DroppedColumn, TableMetadata
from cdc_daemon.model.errors import CommitLogError

__all__ = ["Column", "DroppedColumn", "Row", "Schema", "SchemaView", "TableMetadata"]


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


_BEGINNING = -(1 << 63)
