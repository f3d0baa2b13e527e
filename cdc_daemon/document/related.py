"""Describes what must be read with a row to build its document: children that refer to it, rows it refers to.

Their values are appended to the row's own. Their column names cannot exist in a table: they begin with a NUL
character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.text import nearest_hint

REFERRING = frozenset(
    (
        *("text", "ascii", "uuid", "timeuuid", "int", "bigint", "smallint", "tinyint", "boolean"),
        *("timestamp", "date", "time", "blob", "inet"),
    )
)
"""Types of columns that may refer to a row: types with equal bytes for equal values."""


class Joined(NamedTuple):
    """The rows found for one join of one row: each has the values of `columns`.

    `complete` is false if there were more rows than the join's limit.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Relation:
    """A table with rows found by key columns that equal columns of the current row.

    `name` is unique in the row's table. `on` pairs each of the first key columns of `table`, in order, with
    the referring column's name. `columns` are the columns to read. `lookups` are read for each row found.
    """

    name: str
    table: TableName
    on: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    limit: int = 1
    lookups: tuple[Relation, ...] = ()

    @property
    def depth(self) -> int:
        """Number of key columns given."""
        return len(self.on)

    def value_name(self, column: str) -> str:
        """Return the column name of a value from a looked-up row."""
        return f"\0{self.name}\0{column}"

    @property
    def joined_name(self) -> str:
        """The column name of the rows found, as a value of the current row."""
        return f"\0{self.name}"


@dataclass(frozen=True, slots=True)
class Related:
    """Everything that must be read with the rows of a table."""

    lookups: tuple[Relation, ...] = ()
    joins: tuple[Relation, ...] = ()

    def __add__(self, other: Related) -> Related:
        return Related(self.lookups + other.lookups, self.joins + other.joins)

    def __bool__(self) -> bool:
        return bool(self.lookups or self.joins)

    @property
    def tables(self) -> set[TableName]:
        """Every table that is read."""
        found = {each.table for each in (*self.lookups, *self.joins)}
        return found | {lookup.table for join in self.joins for lookup in join.lookups}


def match_key(
    place: str, on: Mapping[str, str], table: TableMetadata, here: Mapping[str, CqlType], *, whole: bool
) -> tuple[tuple[str, str], ...]:
    """Return `on` in the order of the table's key.

    `here` are the columns of the referring row. Raises `ConfigError` if `on` does not name the partition key and the
    first clustering columns (with `whole` the whole key), if a named column does not exist, or if types differ.
    """
    key = (*table.partition_key, *table.clustering)
    known = {column.name: column for column in key}
    for column, referring in on.items():
        if column not in known:
            raise ConfigError(
                f"expected key columns of {table} in on, found {column!r}",
                hint=nearest_hint(column, known),
                mapping=place,
            )
        if referring not in here:
            raise ConfigError(
                f"expected a column in on, found {referring!r}", hint=nearest_hint(referring, here), mapping=place
            )
        _check_type(place, known[column], referring, here[referring])
    wanted = [column.name for column in key[: len(on)]]
    least = len(key) if whole else len(table.partition_key)
    if set(wanted) != set(on) or len(on) < least:
        names = ", ".join(column.name for column in key[: max(least, len(on))])
        raise ConfigError(
            f"expected on to name {names} of {table}, found {', '.join(on)}",
            hint="a row is found by its whole key" if whole else "rows are found by the first columns of their key",
            mapping=place,
        )
    return tuple((column, on[column]) for column in wanted)


def _check_type(place: str, column: Column, referring: str, kind: CqlType) -> None:
    if kind.name != column.type.name or kind.name not in REFERRING:
        raise ConfigError(
            f"expected columns of one type that can refer to a row, found {column.name} of type {column.type} "
            f"and {referring} of type {kind}",
            mapping=place,
        )
