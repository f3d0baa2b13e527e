"""The queries for the rows of one table: columns, write times, and keys, and which keys need a query of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cassandra.query import PreparedStatement

from cdc_daemon.cassandra.dialect import CASSANDRA, Dialect
from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.model.signal import Key

LOOKUPS_PER_QUERY = 400
"""The maximum of partitions times clusterings in one query. `IN` on both makes a product: twenty
rows of twenty partitions are 400 look-ups; 380 of them find nothing and cost little."""

AS_BLOB = frozenset(
    ("ascii", "bigint", "boolean", "date", "decimal", "double", "float", "inet", "int", "smallint", "text", "time",
     "timestamp", "timeuuid", "tinyint", "uuid", "varint")
)  # fmt: skip
"""Types that Cassandra can return as exact, undecoded bytes (`BytesConversionFcts`, 4.0 to 5.0)."""


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Keys that one query can read together."""

    keys: tuple[Key, ...]
    partition_keys: tuple[bytes, ...]
    clusterings: tuple[tuple[bytes | None, ...], ...]


class ReadPlan:
    """The statements that read one table.

    A row is the values of `columns`, then `times` write times. `columns` are the key's, then the static and regular
    ones. `newest_of_collections` says whether the server can return the newest write time of a collection's cells
    (`MAXWRITETIME`, Cassandra 5.0, CASSANDRA-18078), and the TTLs of its cells (CASSANDRA-8877). With `with_ttls`, the
    remaining TTLs in seconds follow the write times. For a collection this is the shortest TTL of its cells: a list of
    all would contain nulls, which the driver's compiled parsers reject. With `depth`, rows are selected by only that
    many of the first clustering columns; `queried` are these columns. With `only`, these columns are read with the
    key's, without write times; TTLs still cover all regular columns, as a row exists until its last value expires. By
    the partition key alone, at most `limit` rows are read in each partition. `dialect` is the database's; without
    `timed` it cannot return the write times of this table.
    """

    def __init__(
        self,
        table: TableMetadata,
        *,
        newest_of_collections: bool = False,
        with_ttls: bool = False,
        depth: int | None = None,
        only: Collection[str] | None = None,
        limit: int | None = None,
        dialect: Dialect = CASSANDRA,
        timed: bool = True,
    ) -> None:
        self.table = table
        self.dialect = dialect
        self.timed = timed
        self.newest_of_collections = newest_of_collections
        self.queried = table.clustering if depth is None else table.clustering[:depth]
        self.key_columns = (*table.partition_key, *table.clustering)
        values = [each for each in (*table.static, *table.regular) if only is None or each.name in only]
        self.columns: tuple[str, ...] = tuple(column.name for column in (*self.key_columns, *values))
        times = [
            _write_time(column, dialect, newest_of_collections=newest_of_collections)
            for column in (values if only is None and timed else ())
        ]
        shown = [time for time in times if time is not None]
        self.times = len(shown)
        self.write_times: tuple[str, ...] = tuple(shown)
        self.ttls = 0
        """The number of TTLs after the write times."""
        if with_ttls and not table.is_counter:
            expiring = [*(each for each in table.static if each in values), *table.regular]
            ttls = [_ttl(column, dialect, of_collections=newest_of_collections) for column in expiring]
            shown += [ttl for ttl in ttls if ttl is not None]
            self.ttls = len(shown) - self.times
        self._limit = (
            f" PER PARTITION LIMIT {limit}"
            if limit is not None and not self.queried and dialect.limits_partitions
            else ""
        )
        self._select = f"SELECT {', '.join([*map(quote, self.columns), *shown])} FROM {_name(table)} WHERE "  # noqa: S608 -- names are quoted
        self.has_one_key_column = len(table.partition_key) == 1
        """Whether the partition key is one column, so that one query can read several partitions."""
        self._reads_one_by_one = (
            bool(self.queried) and not dialect.lists_clusterings and any(each.type.multi_cell for each in values)
        )

    @property
    def by_keys(self) -> str:
        """The statement for a `KeyGroup`: the partition key's columns, then a list of clusterings."""
        if self._reads_one_by_one:
            return self.by_key
        partition_key = self.table.partition_key
        where = f"{quote(partition_key[0].name)} IN ?" if self.has_one_key_column else _equal(partition_key)
        match self.queried:
            case ():
                return self._select + where + self._limit
            case (only,):
                return self._select + where + f" AND {quote(only.name)} IN ?"
            case several:
                return self._select + where + f" AND ({', '.join(quote(each.name) for each in several)}) IN ?"

    @property
    def by_key(self) -> str:
        """The statement for a single key, in each of its columns."""
        return self._select + _equal((*self.table.partition_key, *self.queried))

    @property
    def clusterings(self) -> str:
        """The statement for all clustering keys of a partition, as bytes if Cassandra can return them.

        The driver decodes empty bytes as None and fails to decode some other values, so their rows would be lost.
        """
        names = ", ".join(bytes_of(column, self.dialect) for column in self.table.clustering)
        return f"SELECT {names} FROM {_name(self.table)} WHERE {_equal(self.table.partition_key)}"  # noqa: S608

    def groups(self, keys: Iterable[Key], limit: int) -> Iterator[KeyGroup]:
        """Split keys into groups, one per query, of at most `limit` rows each."""
        if self._reads_one_by_one:
            for key in keys:
                yield KeyGroup((key,), (key.partition_key,), (key.clustering or (),))
        elif self.has_one_key_column and not self.queried:
            listed = list(keys)
            for start in range(0, len(listed), limit):
                part = tuple(listed[start : start + limit])
                yield KeyGroup(part, tuple(key.partition_key for key in part), ())
        elif self.has_one_key_column:
            yield from self._joined_groups(keys, limit)
        else:
            by_partition: dict[bytes, list[Key]] = defaultdict(list)
            for key in keys:
                by_partition[key.partition_key].append(key)
            for partition_key, rows in by_partition.items():
                for start in range(0, len(rows), limit):
                    part = tuple(rows[start : start + limit])
                    yield KeyGroup(part, (partition_key,), tuple(key.clustering or () for key in part))

    def _joined_groups(self, keys: Iterable[Key], limit: int) -> Iterator[KeyGroup]:
        part: list[Key] = []
        partitions: dict[bytes, None] = {}
        clusterings: dict[tuple[bytes | None, ...], None] = {}
        # Keys of one partition stay together, so that the product stays small.
        for key in sorted(keys, key=lambda key: key.partition_key):
            clustering = key.clustering or ()
            width = len(partitions) + (key.partition_key not in partitions)
            depth = len(clusterings) + (clustering not in clusterings)
            if part and (len(part) >= limit or width * depth > LOOKUPS_PER_QUERY):
                yield KeyGroup(tuple(part), tuple(partitions), tuple(clusterings))
                part, partitions, clusterings = [], {}, {}
            part.append(key)
            partitions[key.partition_key] = None
            clusterings[clustering] = None
        if part:
            yield KeyGroup(tuple(part), tuple(partitions), tuple(clusterings))

    def bind(self, group: KeyGroup) -> list[bytes | None]:
        """Return the values of `by_keys` for a group, serialised for the wire (protocol 3 and newer)."""
        if self._reads_one_by_one:
            return [*self.table.split_key(group.partition_keys[0]), *group.clusterings[0]]
        values: list[bytes | None] = (
            [encode_list(group.partition_keys)]
            if self.has_one_key_column
            else list(self.table.split_key(group.partition_keys[0]))
        )
        if len(self.queried) == 1:
            values.append(encode_list([clustering[0] for clustering in group.clusterings]))
        elif self.queried:
            values.append(encode_list([encode_tuple(clustering) for clustering in group.clusterings]))
        return values


def quote(name: str) -> str:
    """Return a name quoted for CQL, with any characters."""
    return '"' + name.replace('"', '""') + '"'


def bytes_of(column: Column, dialect: Dialect = CASSANDRA) -> str:
    """Return the expression that selects a column's bytes, or its value if the database cannot return bytes."""
    name = column.type.name
    return f"{name}asblob({quote(column.name)})" if returns_bytes(column, dialect) else quote(column.name)


def returns_bytes(column: Column, dialect: Dialect) -> bool:
    """Return whether the database has a function that returns the bytes of a column's value."""
    return dialect.blob_functions and column.type.name in AS_BLOB


def encode_list(items: Sequence[bytes | None]) -> bytes:
    """Serialise a list of serialised values (native protocol 3 and newer, section 6: collection types)."""
    return len(items).to_bytes(4, "big") + encode_tuple(items)


def encode_tuple(items: Sequence[bytes | None]) -> bytes:
    """Serialise a tuple of serialised values (native protocol 3 and newer, section 6: tuples)."""
    return b"".join(map(_encode_value, items))


def _encode_value(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value


def has_own_time(column: Column, dialect: Dialect) -> bool:
    """Return whether the database has one write time and one TTL for a column's value, and can return them."""
    if column.type.multi_cell:
        return False
    return dialect.frozen_times or column.type.name not in {"list", "set", "map"}


def _write_time(column: Column, dialect: Dialect, *, newest_of_collections: bool) -> str | None:
    if has_own_time(column, dialect):
        return f"WRITETIME({quote(column.name)})"
    return f"MAXWRITETIME({quote(column.name)})" if newest_of_collections else None


def _ttl(column: Column, dialect: Dialect, *, of_collections: bool) -> str | None:
    if has_own_time(column, dialect):
        return f"TTL({quote(column.name)})"
    return f"collection_min(TTL({quote(column.name)}))" if of_collections else None


def _equal(columns: Sequence[Column]) -> str:
    return " AND ".join(f"{quote(column.name)} = ?" for column in columns)


def _name(table: TableMetadata) -> str:
    return f"{quote(table.keyspace)}.{quote(table.name)}"


_EXACT_TYPES = frozenset(
    ("text", "ascii", "blob", "uuid", "timeuuid", "int", "bigint", "smallint", "tinyint", "date", "time")
)
"""Types with an exact round trip: the driver serialises non-empty values to their original bytes.

Other types may differ: the driver converts a timestamp to a float, a NaN loses its payload, a varint
its superfluous leading bytes."""

Serialiser = Callable[[Any], bytes]


def serialisers(prepared: PreparedStatement) -> Sequence[Serialiser]:
    """Return, for each column of a statement's rows, the function that serialises its values to bytes."""
    version = prepared.protocol_version

    def of(kind: Any) -> Serialiser:
        return lambda value: kind.serialize(value, version)

    return [of(column[3]) for column in prepared.result_metadata]


def keys_to_read_alone(plan: ReadPlan, prepared: PreparedStatement, keys: Iterable[Key]) -> set[Key]:
    """Return the keys that cannot be matched to rows of a multi-key answer, and so need a query each."""
    columns = plan.key_columns
    trusted = all(column.type.name in _EXACT_TYPES for column in columns)
    if trusted and len(columns) == 1:
        return set()  # Cassandra accepts no empty partition key
    if trusted:
        return {key for key in keys if any(not part for part in _parts(plan, key))}
    version = prepared.protocol_version
    kinds = [column[3] for column in prepared.result_metadata[: len(columns)]]
    return {key for key in keys if not _round_trips(_parts(plan, key), kinds, version)}


def _parts(plan: ReadPlan, key: Key) -> tuple[bytes | None, ...]:
    return (*plan.table.split_key(key.partition_key), *(key.clustering or ()))


def _round_trips(parts: Sequence[bytes | None], kinds: Sequence[Any], version: int) -> bool:
    for part, kind in zip(parts, kinds, strict=True):
        if not part:
            return False
        try:
            if kind.serialize(kind.deserialize(part, version), version) != part:
                return False
        except Exception:  # noqa: BLE001 -- whatever the driver raises, such a key needs a query of its own
            return False
    return True
