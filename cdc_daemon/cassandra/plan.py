"""How the rows of one table are asked for: which columns, which write times, by which keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.model.key import Key

LOOKUPS_PER_QUERY = 400
"""The most partitions times clusterings that one query asks for. `IN` on both makes a product: twenty
rows of twenty partitions are 400 look-ups, of which 380 find nothing and cost little."""

AS_BLOB = frozenset(
    ("ascii", "bigint", "boolean", "date", "decimal", "double", "float", "inet", "int", "smallint", "text", "time",
     "timestamp", "timeuuid", "tinyint", "uuid", "varint")
)  # fmt: skip
"""Types whose values Cassandra gives out as their bytes (`BytesConversionFcts`, 4.0 to 5.0), exact and undecoded."""


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Keys that one query can ask for together."""

    keys: tuple[Key, ...]
    partition_keys: tuple[bytes, ...]
    clusterings: tuple[tuple[bytes | None, ...], ...]


class ReadPlan:
    """The statements that read one table.

    A row comes as the values of `columns`, then `times` write times. `columns` are the key's, then the
    static and regular ones. `newest_of_collections` says whether the server can tell the newest write
    time of a collection's cells (`MAXWRITETIME`, Cassandra 5.0, CASSANDRA-18078), and the lives of its cells
    (CASSANDRA-8877). With `lives`, what remains of them in seconds comes after the write times, of a collection's cells
    the shortest: a list of all has nulls in it, which the driver's compiled parsers refuse.
    With `depth` rows are asked for by so many of the first clustering columns only, and with `only` these columns are
    read beside the key's, without write times; the lives are those of all regular columns even then, as a row is there
    until the last of its values is gone. Of rows asked for by the partition key alone at most `limit` are read in
    each partition.
    """

    def __init__(
        self,
        table: TableMetadata,
        *,
        newest_of_collections: bool = False,
        lives: bool = False,
        depth: int | None = None,
        only: Collection[str] | None = None,
        limit: int | None = None,
    ) -> None:
        self.table = table
        self.asked = table.clustering if depth is None else table.clustering[:depth]
        self.key_columns = (*table.partition_key, *table.clustering)
        values = [each for each in (*table.static, *table.regular) if only is None or each.name in only]
        self.columns: tuple[str, ...] = tuple(column.name for column in (*self.key_columns, *values))
        times = [
            _time(column, newest_of_collections=newest_of_collections) for column in (values if only is None else ())
        ]
        shown = [time for time in times if time is not None]
        self.times = len(shown)
        self.write_times: tuple[str, ...] = tuple(shown)
        self.lives = 0
        """How many lives come after the write times."""
        if lives and not table.is_counter:
            lasting = [*(each for each in table.static if each in values), *table.regular]
            remaining = [_life(column, of_collections=newest_of_collections) for column in lasting]
            shown += [life for life in remaining if life is not None]
            self.lives = len(shown) - self.times
        self._limit = f" PER PARTITION LIMIT {limit}" if limit is not None and not self.asked else ""
        self._select = f"SELECT {', '.join([*map(quote, self.columns), *shown])} FROM {_name(table)} WHERE "  # noqa: S608 -- names are quoted
        self.joinable = len(table.partition_key) == 1

    @property
    def by_keys(self) -> str:
        """The statement for a `KeyGroup`: the partition key's columns, then a list of clusterings."""
        partition_key = self.table.partition_key
        where = f"{quote(partition_key[0].name)} IN ?" if self.joinable else _equal(partition_key)
        match self.asked:
            case ():
                return self._select + where + self._limit
            case (only,):
                return self._select + where + f" AND {quote(only.name)} IN ?"
            case several:
                return self._select + where + f" AND ({', '.join(quote(each.name) for each in several)}) IN ?"

    @property
    def by_key(self) -> str:
        """The statement for a single key, in each of its columns."""
        return self._select + _equal((*self.table.partition_key, *self.asked))

    @property
    def clusterings(self) -> str:
        """The statement for all clustering keys of a partition, in bytes where Cassandra gives these out.

        The driver makes None of empty bytes, and no value of some others, so that their rows would be lost.
        """
        names = ", ".join(map(bytes_of, self.table.clustering))
        return f"SELECT {names} FROM {_name(self.table)} WHERE {_equal(self.table.partition_key)}"  # noqa: S608

    def groups(self, keys: Iterable[Key], limit: int) -> Iterator[KeyGroup]:
        """Share keys out among queries of at most `limit` rows each."""
        if self.joinable and not self.asked:
            listed = list(keys)
            for start in range(0, len(listed), limit):
                part = tuple(listed[start : start + limit])
                yield KeyGroup(part, tuple(key.partition_key for key in part), ())
        elif self.joinable:
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
        # Keys of one partition come together, so that the product stays small.
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

    def bind(self, group: KeyGroup) -> list[bytes]:
        """Return the values of `by_keys` for a group, serialised for the wire (protocol 3 and newer)."""
        if self.joinable:
            values = [encode_list(group.partition_keys)]
        else:
            values = list(self.table.split_key(group.partition_keys[0]))
        if len(self.asked) == 1:
            values.append(encode_list([clustering[0] for clustering in group.clusterings]))
        elif self.asked:
            values.append(encode_list([encode_tuple(clustering) for clustering in group.clusterings]))
        return values


def quote(name: str) -> str:
    """Return a name as CQL takes it, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def bytes_of(column: Column) -> str:
    """Return the expression that selects a column's bytes, or its value where Cassandra gives no bytes out."""
    name = column.type.name
    return f"{name}asblob({quote(column.name)})" if name in AS_BLOB else quote(column.name)


def encode_list(items: Sequence[bytes | None]) -> bytes:
    """Serialise a list of serialised values (native protocol 3 and newer, section 6: collection types)."""
    return len(items).to_bytes(4, "big") + encode_tuple(items)


def encode_tuple(items: Sequence[bytes | None]) -> bytes:
    """Serialise a tuple of serialised values (native protocol 3 and newer, section 6: tuples)."""
    return b"".join(map(_encode_value, items))


def _encode_value(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value


def _time(column: Column, *, newest_of_collections: bool) -> str | None:
    if not column.type.multi_cell:
        return f"WRITETIME({quote(column.name)})"
    return f"MAXWRITETIME({quote(column.name)})" if newest_of_collections else None


def _life(column: Column, *, of_collections: bool) -> str | None:
    if not column.type.multi_cell:
        return f"TTL({quote(column.name)})"
    return f"collection_min(TTL({quote(column.name)}))" if of_collections else None


def _equal(columns: Sequence[Column]) -> str:
    return " AND ".join(f"{quote(column.name)} = ?" for column in columns)


def _name(table: TableMetadata) -> str:
    return f"{quote(table.keyspace)}.{quote(table.name)}"
