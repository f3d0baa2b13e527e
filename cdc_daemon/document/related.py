"""What has to be read beside a row to build its document: children that point to it, rows that it points to.

Their values are appended to the row's own. They are known by column names that no table can have: they begin
with a zero character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.suggestion import nearest_hint

REFERRING = frozenset(
    (
        *("text", "ascii", "uuid", "timeuuid", "int", "bigint", "smallint", "tinyint", "boolean"),
        *("timestamp", "date", "time", "blob", "inet"),
    )
)
"""Types of columns that may refer to a row: those whose equal values have equal bytes."""


class Joined(NamedTuple):
    """The rows found for one join of one row: each has the values of `columns`.

    `complete` is false when there were more rows than the join's limit.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Relation:
    """A table whose rows are found by key columns that equal columns of the row at hand.

    `name` is unique in the row's table. `on` pairs each of the first key columns of `table`, in their order, with
    the referring column's name. `columns` are those wanted of the rows. `lookups` are read for each row found.
    """

    name: str
    table: TableName
    on: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    limit: int = 1
    lookups: tuple[Relation, ...] = ()

    @property
    def depth(self) -> int:
        """How many key columns are given."""
        return len(self.on)

    def value_name(self, column: str) -> str:
        """Return what the value of a looked-up row's column is called."""
        return f"\0{self.name}\0{column}"

    @property
    def joined_name(self) -> str:
        """What the rows found are called as a value of the row at hand."""
        return f"\0{self.name}"


@dataclass(frozen=True, slots=True)
class Related:
    """Everything to be read beside the rows of a table."""

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

    `here` are the columns of the referring row. Raises `ConfigError` when it does not name the partition key and the
    first clustering columns (with `whole` the whole key), names what is not there, or types differ.
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
