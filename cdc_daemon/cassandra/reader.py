"""Reads of rows by their keys, many in one query."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import BoundStatement, PreparedStatement, tuple_factory

from cdc_daemon.cassandra.query import as_unavailable, execute, is_decoding_failure, pages, prepare
from cdc_daemon.cassandra.read_plan import KeyGroup, ReadPlan, keys_to_read_alone, serialisers
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.model.errors import (
    CassandraRefusedError,
    CassandraUnavailableError,
    CdcError,
    DocumentError,
    UndecodableError,
)
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import Clustering, Key, TableName
from cdc_daemon.model.version_clock import HybridClock

log = structlog.get_logger(__name__)

_NO_ROW = RowState(None, None)

Rows = Sequence[Sequence[Any]]
"""Values of rows, each in the order of a plan's columns."""

Found = Rows | DocumentError
"""The rows found for a key, or the error that makes them unusable."""


class _RoutedStatement(BoundStatement):  # type: ignore[misc]
    """A bound statement that is sent to a replica of a given key, which the driver cannot compute for `IN`."""

    route: bytes | None = None
    raw_values: tuple[()] = ()

    @property
    def routing_key(self) -> bytes | None:
        return self.route


class CassandraRowReader:
    """Reads rows with their newest write time in multi-key batches, grouped by replica.

    Keys are sent to Cassandra as their original bytes. One query reads up to `keys_per_query` rows, and
    `concurrent_queries` are in flight. The version of a reading is taken before its first query. `answered` is called
    after each query that Cassandra has answered.
    """

    def __init__(
        self,
        session: Session,
        schema: SchemaSource,
        clock: HybridClock,
        *,
        keys_per_query: int = 100,
        concurrent_queries: int = 16,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
        self._schema = schema
        self._clock = clock
        self._keys_per_query = keys_per_query
        self._slots = asyncio.Semaphore(concurrent_queries)
        self._answered = answered
        self._statements: dict[str, PreparedStatement] = {}

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        """Read the rows of `keys`; with `confirm`, read from all replicas if there are several.

        Raises `CassandraUnavailableError`, `TableDroppedError` or `CassandraRefusedError`.
        """
        try:
            return await self._read(table, keys, confirm=confirm)
        except CassandraRefusedError:
            await self._reload_schema(table)
            raise

    async def _read(self, table: TableName, keys: Sequence[Key], *, confirm: bool) -> Reading:
        plan = self._schema.plan(table)
        version = self._clock.next()
        began = time.monotonic()
        prepared = await self._prepare(plan.by_keys)
        alone = keys_to_read_alone(plan, prepared, keys)
        together = [key for key in keys if key not in alone] if alone else keys
        found: dict[Key, RowState] = {}
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in self._by_replica(plan, together):
                    for group in plan.groups(part, self._keys_per_query):
                        tasks.create_task(self._read_group(plan, group, found, confirm=confirm))
                for key in alone:
                    tasks.create_task(self._read_alone(plan, key, found, confirm=confirm))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return Reading(version, began, plan.columns, [found.get(key, _NO_ROW) for key in keys])

    async def read_below(self, plan: ReadPlan, keys: Sequence[Key], *, limit: int) -> Mapping[Key, Found]:
        """Read all rows below each key: rows that start with the clustering values in the plan's query.

        If a key has more than `limit` rows, the first `limit` + 1 are returned; if it has no rows, an empty sequence.
        If the plan reads TTLs, each row has one more value: the time at which the first of its values expires (seconds
        since epoch), or None. Raises as `read` does. If rows of a key cannot be decoded, the key's result is an error.
        """
        found: dict[Key, Found] = dict.fromkeys(keys, ())
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in self._by_replica(plan, list(found)):
                    for group in plan.groups(part, self._keys_per_query):
                        tasks.create_task(self._read_below(plan, group, found, limit))
        except ExceptionGroup as failures:
            if isinstance(failures.exceptions[0], CassandraRefusedError):
                # Not `_reload_schema`: a dropped joined table must not be mistaken for the rows' own table.
                self._statements.clear()
                await self._schema.refresh()
            raise failures.exceptions[0] from None
        return found

    async def _read_below(self, plan: ReadPlan, group: KeyGroup, found: dict[Key, Found], limit: int) -> None:
        try:
            read = await self._read_group_below(plan, group, limit)
        except (CdcError, asyncio.CancelledError):
            raise
        except Exception as error:
            if not is_decoding_failure(error):
                raise as_unavailable(error) from error
            if len(group.keys) > 1:
                for key in group.keys:
                    alone = KeyGroup((key,), (key.partition_key,), (key.clustering or (),))
                    await self._read_below(plan, alone, found, limit)
                return
            reason = f"joined rows cannot be decoded: {type(error).__name__}: {error}"
            found[group.keys[0]] = UndecodableError(reason, table=str(plan.table))
            return
        # A query for several partitions and clusterings also returns rows that were not requested.
        found.update({key: rows for key, rows in read.items() if key in found})

    async def _read_group_below(self, plan: ReadPlan, group: KeyGroup, limit: int) -> Mapping[Key, Rows]:
        statement = await self._bind(plan.by_keys, plan.bind(group), group.partition_keys[0])
        serialise = serialisers(statement.prepared_statement)
        depth = len(plan.table.partition_key)
        width = depth + len(plan.queried)
        table, partition = group.keys[0].table, group.partition_keys[0]
        read: dict[Key, list[Sequence[Any]]] = defaultdict(list)
        requested_at = int(time.time())
        async with self._slots:
            async for page in pages(self._session, statement, execution_profile=self._profile):
                self._answered()
                for row in page:
                    if plan.table.clustering and row[depth] is None:
                        continue  # a partition with static columns only returns a row of nulls
                    if plan.has_one_key_column:
                        partition = serialise[0](row[0])
                    rows = read[Key(table, partition, tuple(serialise[at](row[at]) for at in range(depth, width)))]
                    if len(rows) <= limit:
                        rows.append(_with_expiry(plan, row, requested_at) if plan.ttls else row)
        return read

    async def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Read the clustering keys of a partition page by page. Raises as `read` does."""
        try:
            plan = self._schema.plan(table)
            statement = await self._bind(plan.clusterings, list(plan.table.split_key(partition_key)), partition_key)
            serialise = serialisers(statement.prepared_statement)
            async for page in pages(self._session, statement, execution_profile=self._profile):
                self._answered()
                yield [
                    tuple(
                        None if value is None else encode(value) for encode, value in zip(serialise, row, strict=True)
                    )
                    for row in page
                    if row[0] is not None  # a partition with static columns only returns a row of nulls
                ]
        except CassandraRefusedError:
            await self._reload_schema(table)
            raise

    async def _reload_schema(self, table: TableName) -> None:
        """Reload the schema for the next attempt: it has changed since the statements were prepared."""
        self._statements.clear()
        await self._schema.look_again(table)

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        """Read a partition's keys from all replicas, which repairs those that differ. Raises as `read` does."""
        try:
            plan = self._schema.plan(table)
            if self._schema.replication_factor(plan.table.keyspace) < 2 or not plan.table.clustering:
                return
            statement = await self._bind(plan.clusterings, list(plan.table.split_key(partition_key)), partition_key)
            statement.consistency_level = ConsistencyLevel.ALL
            async for _ in pages(self._session, statement, execution_profile=self._profile):
                pass
        except CassandraRefusedError:
            await self._reload_schema(table)
            raise
        except CassandraUnavailableError as error:
            # A replica is down: the other replicas' answer is the best available now.
            log.info("cassandra.confirm_below_all", table=str(table), error=error.message)

    def _by_replica(self, plan: ReadPlan, keys: Sequence[Key]) -> list[Sequence[Key]]:
        metadata = self._session.cluster.metadata
        if len(metadata.all_hosts()) < 2 or not plan.has_one_key_column:
            return [keys]
        parts: dict[Any, list[Key]] = defaultdict(list)
        for key in keys:
            replicas = metadata.get_replicas(plan.table.keyspace, key.partition_key)
            parts[replicas[0].host_id if replicas else None].append(key)
        return list(parts.values())

    async def _read_group(self, plan: ReadPlan, group: KeyGroup, found: dict[Key, RowState], *, confirm: bool) -> None:
        statement = await self._bind(plan.by_keys, plan.bind(group), group.partition_keys[0])
        requested_at = int(time.time())
        try:
            rows = await self._run(plan, statement, confirm=confirm)
        except (CdcError, asyncio.CancelledError):
            raise
        except Exception as error:
            if not is_decoding_failure(error):
                raise as_unavailable(error) from error
            for key in group.keys:
                await self._read_alone(plan, key, found, confirm=confirm)
            return
        serialise = serialisers(statement.prepared_statement)
        partition = group.partition_keys[0]
        depth = len(plan.table.partition_key)
        width = len(plan.key_columns)
        table = group.keys[0].table
        for row in rows:
            if plan.has_one_key_column:
                partition = serialise[0](row[0])
            clustering = tuple([serialise[at](row[at]) for at in range(depth, width)])
            found[Key(table, partition, clustering)] = _state(plan, row, requested_at)

    async def _read_alone(self, plan: ReadPlan, key: Key, found: dict[Key, RowState], *, confirm: bool) -> None:
        clustering = key.clustering or ()
        if None in clustering:
            error = UndecodableError("a clustering column is null, so CQL cannot select the row", table=str(key.table))
            found[key] = RowState(None, None, error)
            return
        values = [*plan.table.split_key(key.partition_key), *(part for part in clustering if part is not None)]
        statement = await self._bind(plan.by_key, values, key.partition_key)
        requested_at = int(time.time())
        try:
            rows = await self._run(plan, statement, confirm=confirm)
        except (CdcError, asyncio.CancelledError):
            raise
        except Exception as error:
            if not is_decoding_failure(error):
                raise as_unavailable(error) from error
            reason = f"its values cannot be decoded: {type(error).__name__}: {error}"
            found[key] = RowState(None, None, UndecodableError(reason, table=str(key.table)))
            return
        if rows:
            found[key] = _state(plan, rows[0], requested_at)

    async def _run(self, plan: ReadPlan, statement: BoundStatement, *, confirm: bool) -> list[Any]:
        rows = await self._execute(plan, statement, confirm=confirm)
        self._answered()
        return rows

    async def _execute(self, plan: ReadPlan, statement: BoundStatement, *, confirm: bool) -> list[Any]:
        async with self._slots:
            if confirm and self._schema.replication_factor(plan.table.keyspace) > 1:
                statement.consistency_level = ConsistencyLevel.ALL
                try:
                    return await execute(self._session, statement, execution_profile=self._profile)
                except CassandraUnavailableError as error:
                    # A replica is down: the answer at the lower level is the best available now.
                    log.info("cassandra.confirm_below_all", table=str(plan.table), error=error.message)
                    statement.consistency_level = None
            return await execute(self._session, statement, execution_profile=self._profile)

    async def _bind(self, query: str, values: Sequence[bytes | None], route: bytes) -> _RoutedStatement:
        statement = _RoutedStatement(await self._prepare(query))
        statement.values = list(values)
        statement.route = route
        return statement

    async def _prepare(self, query: str) -> PreparedStatement:
        prepared = self._statements.get(query)
        if prepared is None:
            prepared = self._statements[query] = await prepare(self._session, query)
        return prepared


def _state(plan: ReadPlan, row: Sequence[Any], requested_at: int) -> RowState:
    width = len(plan.columns)
    ttls_from = width + plan.times
    times: Iterable[Any] = row[width:ttls_from]
    if None in times:
        times = [moment for moment in times if moment is not None]
    newest = max(times, default=None)
    ttls = row[ttls_from:]
    expires = tuple(sorted({requested_at + ttl for ttl in ttls if ttl is not None})) if ttls else ()
    return RowState(tuple(row[:width]), newest, None, expires)


def _with_expiry(plan: ReadPlan, row: Sequence[Any], requested_at: int) -> Sequence[Any]:
    """Return a row's values, with the first expiry time instead of their TTLs."""
    width = len(plan.columns)
    shortest = min((ttl for ttl in row[width + plan.times :] if ttl is not None), default=None)
    return (*row[:width], None if shortest is None else requested_at + shortest)
