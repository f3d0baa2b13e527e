"""One table's metadata as the commit log needs it: id, keys, column types in serialisation order, dropped columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cdc_daemon.commitlog.values import decode_value
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import CommitLogError, MutationError

Kind = Literal["partition_key", "clustering", "static", "regular"]


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
    """The type's own attribute, copied here for loops over cells."""
    multi_cell: bool = field(init=False, repr=False, compare=False)
    """The type's own attribute, copied here for loops over cells."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed_length", self.type.fixed_length)
        object.__setattr__(self, "multi_cell", self.type.multi_cell)


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A column that was dropped at `dropped_at`, microseconds since the epoch.

    Cells up to that time are left out on reading. Later ones belong to a column of the same name that was added again
    (`DeserializationHelper.isDropped`).
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
    """Static and regular columns, then dropped ones without a successor, by the bytes of their names."""
    dropped_at: Mapping[bytes, int] = field(init=False, repr=False)
    """When a column of this name was dropped last, microseconds since the epoch."""
    memo: dict[str, Any] = field(init=False, repr=False, default_factory=dict)
    """Cache of values that readers derived from this metadata, by the reader's name."""

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

    def with_dropped(self) -> TableMetadata:
        """Return the table as if its dropped columns, except those with successors, still existed."""
        known = {column.name_bytes for column in (*self.partition_key, *self.clustering, *self.static, *self.regular)}
        lost = [column for name, column in self.columns.items() if name not in known]
        return replace(
            self,
            static=(*self.static, *(column for column in lost if column.kind == "static")),
            regular=(*self.regular, *(column for column in lost if column.kind == "regular")),
        )

    def split_key(self, key: bytes) -> tuple[bytes, ...]:
        """Return the raw components of a serialised partition key (`CompositeType`: length, bytes, zero).

        Raises `MutationError` when the bytes are not a key of this table.
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

    @staticmethod
    def join_key(parts: Sequence[bytes]) -> bytes:
        """Serialise a partition key of these components: the inverse of `split_key`."""
        if len(parts) == 1:
            return parts[0]
        return b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in parts)

    def has_key_of(self, other: TableMetadata) -> bool:
        """Return whether both tables have the same primary key: its columns by name and type, in the same order."""
        mine, theirs = (
            [[(column.name, column.type) for column in part] for part in (table.partition_key, table.clustering)]
            for table in (self, other)
        )
        return mine == theirs

    def takes_key(self, key: bytes, clustering: Iterable[bytes | None] | None) -> bool:
        """Return whether these bytes can be the key of a row, or, when `clustering` is None, of a partition."""
        parts = None if clustering is None else tuple(clustering)
        try:
            self.key_values(key)
            self.clustering_values(parts or ())
        except CommitLogError:
            return False
        return parts is None or len(parts) == len(self.clustering)

    def key_values(self, key: bytes) -> tuple[Any, ...]:
        """Return the partition key's values in Python types, in the order of the key's columns."""
        return self._values(self.partition_key, self.split_key(key))

    def clustering_values(self, clustering: Iterable[bytes | None]) -> tuple[Any, ...]:
        """Return the Python values of a clustering, or of a prefix of one, in the order of its columns."""
        return self._values(self.clustering, tuple(clustering))

    def _values(self, columns: tuple[Column, ...], raw: tuple[bytes | None, ...]) -> tuple[Any, ...]:
        return tuple(decode_value(column.type, value) for column, value in zip(columns, raw, strict=False))
