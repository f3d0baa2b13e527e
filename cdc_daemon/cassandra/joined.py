"""Rows with their joined rows: children that reference a row, and rows that it references."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import structlog

from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.cassandra.reader import CassandraRowReader
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.commitlog.values import PROTOCOL_VERSION, driver_type
from cdc_daemon.document.related import Joined, Related, Relation
from cdc_daemon.model.errors import CassandraRefusedError, DocumentError
from cdc_daemon.model.reading import Reading, Row, RowState
from cdc_daemon.model.signal import Clustering, Key, TableName

LONGEST_KEY = 65_535
"""The longest key in bytes that Cassandra accepts (`FBUtilities.MAX_UNSIGNED_SHORT`): no row has a longer one."""

_LOG_INTERVAL = 30.0
"""Seconds after which a missing joined table is logged again."""

log = structlog.get_logger(__name__)

_Rows = list[Sequence[Any]]


class _JoinFindings:
    """Findings about rows during a join, by row number.

    `errors` holds the rows with unreadable joined rows. `expires` holds the time at which the first of a row's
    joined values expires (seconds since epoch).
    """

    def __init__(self) -> None:
        self.errors: dict[int, DocumentError] = {}
        self.expires: dict[int, int] = {}

    def add(
        self, keys: Sequence[Key | None], *, errors: Mapping[Key, DocumentError], expires: Mapping[Key, int]
    ) -> None:
        """Record the findings about the keys that the rows reference, in the order of the rows."""
        if not errors and not expires:
            return
        for number, key in enumerate(keys):
            if key is None:
                continue
            if key in errors:
                self.errors[number] = errors[key]
            if key in expires:
                self.expires[number] = min(expires[key], self.expires.get(number, expires[key]))


class JoinedRowReader:
    """Reads rows and their joined rows, with one multi-key read per joined table for a whole batch.

    Values are appended to a row: for each look-up the values of its columns (null for a missing row), for each join a
    `Joined`. Every joined read begins after the read of the rows, so the version of that read also holds for the joined
    rows. A dropped joined table has no rows. If values of a joined table expire, the expiry time is read too.
    """

    def __init__(self, reader: CassandraRowReader, schema: SchemaSource, related: Mapping[TableName, Related]) -> None:
        self._reader = reader
        self._schema = schema
        self._related = {table: each for table, each in related.items() if each}
        self._plans: dict[str, tuple[ReadPlan, bool]] = {}

    def relate(self, table: TableName, related: Related) -> None:
        """Replace the related tables that are read with a table's rows."""
        self._related.pop(table, None)
        if related:
            self._related[table] = related

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        """Read the rows of `keys` and their joined rows; with `confirm`, read the rows from all replicas.

        Raises as `CassandraRowReader.read` does.
        """
        return await self.extend(table, await self._reader.read(table, keys, confirm=confirm))

    async def extend(self, table: TableName, reading: Reading) -> Reading:
        """Return a reading of a table's rows with their joined rows. Raises as `read` does."""
        related = self._related.get(table)
        if related is None:
            return reading
        present = [at for at, state in enumerate(reading.states) if state.row is not None]
        rows = [reading.states[at].row or () for at in present]
        findings = _JoinFindings()
        columns, joined = await self._join(related, reading.columns, rows, findings)
        states = list(reading.states)
        for number, at in enumerate(present):
            error = findings.errors.get(number)
            row: Row = tuple(joined[number])
            extended = states[at]._replace(row=row, joined_expires=findings.expires.get(number))
            states[at] = extended if error is None else RowState(None, None, error)
        return reading._replace(columns=columns, states=states)

    async def joined(
        self, table: TableName, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> tuple[tuple[str, ...], Sequence[Sequence[Any]]]:
        """Return rows that were already read, and their columns' names, with their joined rows.

        Raises `DocumentError` if the joined rows of one of them cannot be read.
        """
        related = self._related.get(table)
        if related is None:
            return columns, rows
        findings = _JoinFindings()
        names, made = await self._join(related, columns, rows, findings)
        for error in findings.errors.values():
            raise error
        return names, made

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Read the clustering keys of a partition page by page."""
        return self._reader.clusterings(table, partition_key)

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        """Ensure that later reads see the state of a partition merged from all replicas."""
        await self._reader.confirm_partition(table, partition_key)

    async def _join(
        self, related: Related, columns: tuple[str, ...], rows: Sequence[Sequence[Any]], findings: _JoinFindings
    ) -> tuple[tuple[str, ...], _Rows]:
        lookups, joins = await asyncio.gather(
            asyncio.gather(*(self._look_up(each, columns, rows, findings) for each in related.lookups)),
            asyncio.gather(*(self._children(each, columns, rows, findings) for each in related.joins)),
        )
        names = [name for lookup in related.lookups for name in map(lookup.value_name, lookup.columns)]
        names += [join.joined_name for join in related.joins]
        made: _Rows = [
            (*row, *(value for found in lookups for value in found[at]), *(found[at] for found in joins))
            for at, row in enumerate(rows)
        ]
        return (*columns, *names), made

    async def _look_up(
        self, lookup: Relation, columns: Sequence[str], rows: Sequence[Sequence[Any]], findings: _JoinFindings
    ) -> list[Sequence[Any]]:
        """Return, for each row, the values of the look-up's columns."""
        keys = self._keys(lookup, columns, rows)
        read_columns, found = await self._read(lookup, keys, findings)
        pick = _picker(lookup.columns, read_columns)
        nothing = (None,) * len(lookup.columns)
        return [pick(found[key][0]) if key is not None and found.get(key) else nothing for key in keys]

    async def _children(
        self, join: Relation, columns: Sequence[str], rows: Sequence[Sequence[Any]], findings: _JoinFindings
    ) -> list[Joined]:
        """Return, for each row, the join's rows, with the values of their look-ups."""
        keys = self._keys(join, columns, rows)
        read_columns, found = await self._read(join, keys, findings)
        flat = [(key, row) for key, children in found.items() for row in children[: join.limit]]
        of_children = _JoinFindings()
        names, extended = await self._join(
            Related(lookups=join.lookups), read_columns, [row for _, row in flat], of_children
        )
        children_of: dict[Key, _Rows] = {key: [] for key in found}
        broken: dict[Key, DocumentError] = {}
        ends: dict[Key, int] = {}
        for number, (key, _) in enumerate(flat):
            children_of[key].append(extended[number])
            if number in of_children.errors:
                broken[key] = of_children.errors[number]
            if (end := of_children.expires.get(number)) is not None:
                ends[key] = min(end, ends.get(key, end))
        findings.add(keys, errors=broken, expires=ends)
        return [
            Joined(names, children_of.get(key, ()), len(found.get(key, ())) <= join.limit)
            if key is not None
            else Joined(names, ())
            for key in keys
        ]

    async def _read(
        self, relation: Relation, keys: Sequence[Key | None], findings: _JoinFindings
    ) -> tuple[tuple[str, ...], dict[Key, Sequence[Sequence[Any]]]]:
        wanted = list(dict.fromkeys(key for key in keys if key is not None))
        plan = self._plan(relation)
        if plan is None:
            return (), {}
        results = await self._reader.read_below(plan, wanted, limit=relation.limit) if wanted else {}
        failed = {key: result for key, result in results.items() if isinstance(result, DocumentError)}
        found = {key: rows for key, rows in results.items() if not isinstance(rows, DocumentError)}
        ends: dict[Key, int] = {}
        if plan.ttls:
            moments = {key: [row[-1] for row in rows if row[-1] is not None] for key, rows in found.items()}
            ends = {key: min(several) for key, several in moments.items() if several}
            found = {key: [row[:-1] for row in rows] for key, rows in found.items()}
        findings.add(keys, errors=failed, expires=ends)
        return plan.columns, found

    def _keys(self, relation: Relation, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Key | None]:
        """Return, for each row, the key of its related rows; None if it references none."""
        table = self._table(relation)
        if table is None:
            return [None] * len(rows)
        key_columns = (*table.partition_key, *table.clustering)[: relation.depth]
        places = {column: at for at, column in enumerate(columns)}
        try:
            steps = [
                (places[referring], _serialiser(column.type))
                for column, (_, referring) in zip(key_columns, relation.on, strict=True)
            ]
        except KeyError:
            return [None] * len(rows)  # the referring column was dropped
        depth = len(table.partition_key)
        return [_key_of(relation.table, depth, [(row[at], serialise) for at, serialise in steps]) for row in rows]

    def _plan(self, relation: Relation) -> ReadPlan | None:
        table = self._table(relation)
        if table is None:
            return None
        # TTLs are read only if there are any: a table may get its first TTL at run time.
        with_ttls = self._schema.tracks(relation.table)
        plan, had_ttls = self._plans.get(relation.name, (None, False))
        if plan is None or plan.table is not table or had_ttls is not with_ttls:
            plan = ReadPlan(
                table,
                newest_of_collections=self._schema.newest_of_collections,
                with_ttls=with_ttls,
                depth=relation.depth - len(table.partition_key),
                only=relation.columns,
                limit=relation.limit + 1,  # one more than the limit, to detect that there are more
                dialect=self._schema.dialect,
            )
            self._plans[relation.name] = plan, with_ttls
        return plan

    def _table(self, relation: Relation) -> TableMetadata | None:
        try:
            return self._schema.table(relation.table)
        except CassandraRefusedError as error:
            log.warning(
                "joins.no_table",
                table=str(relation.table),
                error=error.message,
                hint="documents are built as if the table had no rows",
                every=_LOG_INTERVAL,
                every_key=str(relation.table),
            )
            return None


def _key_of(table: TableName, depth: int, values: Sequence[tuple[Any, Callable[[Any], bytes]]]) -> Key | None:
    parts = []
    for value, serialise in values:
        if value is None:
            return None
        parts.append(serialise(value))
        if len(parts[-1]) > LONGEST_KEY:
            return None
    partition = TableMetadata.join_key(parts[:depth])
    if not 0 < len(partition) <= LONGEST_KEY:
        return None
    return Key(table, partition, tuple(parts[depth:]))


def _serialiser(kind: Any) -> Callable[[Any], bytes]:
    if kind.name in {"text", "ascii"}:
        return str.encode
    made = driver_type(kind)
    return lambda value: bytes(made.to_binary(value, PROTOCOL_VERSION))


def _picker(wanted: Sequence[str], columns: Sequence[str]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    places = {column: at for at, column in enumerate(columns)}
    at = [places.get(column) for column in wanted]
    return lambda row: [None if place is None else row[place] for place in at]
