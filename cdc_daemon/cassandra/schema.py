"""The live schema: tables, their read plans, their replication factors, and their earlier generations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from cassandra.cluster import Session

from cdc_daemon.cassandra.dialect import CASSANDRA, Dialect, detect
from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.cassandra.schema_rows import Rows, SchemaReader, remembered_schema, table_definitions
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.model.errors import CassandraRefusedError, CdcError, StoreError, TableDroppedError
from cdc_daemon.model.signal import TableName
from cdc_daemon.store.table_history import TableDefinition

log = structlog.get_logger(__name__)

WATCH_INTERVAL = 2.0
"""Seconds between two checks of the schema's version. A table that is created, written and dropped in between is
never seen; its mutations become dead letters."""

UNVERSIONED_INTERVAL = 30.0
"""Seconds between two reads of the schema of a database whose schema version is a constant."""


class History(Protocol):
    """Generations of tables seen earlier. Its methods block and raise `StoreError`."""

    def load(self) -> Sequence[TableDefinition]:
        """Return all generations, oldest first."""
        ...

    def record(self, current: Iterable[TableDefinition]) -> int:
        """Record the current state of all tables; return the number of new generations."""
        ...


class SchemaSource:
    """Reads `system_schema` and keeps every generation seen, across restarts if there is a `history`.

    A segment may hold mutations written before an ALTER or a DROP, so `get` and `current` keep older
    generations. `table` and `plan` use the current schema.
    """

    def __init__(self, session: Session, *, history: History | None = None) -> None:
        self._session = session
        self._reader = SchemaReader(session)
        self._history = history
        self._loaded = history is None
        self._version: UUID | None = None
        self._definitions: list[TableDefinition] | None = None
        self._unrecorded = False
        self._generations: dict[TableName, str] = {}
        self._live = Schema()
        self._schema = Schema()
        self._replication: dict[str, int] = {}
        self._plans: dict[TableName, ReadPlan] = {}
        self._expiring: set[TableName] = set()
        self._default_ttls: dict[TableName, int] = {}
        self._loading = asyncio.Lock()
        self._untimed: frozenset[TableName] = frozenset()
        self._read_at = 0.0
        self.dialect: Dialect = CASSANDRA
        """What the database can do, as of the last refresh."""

    def get(self, table_id: bytes, /) -> TableMetadata | None:
        """Return the table with this id (16 bytes), of any generation, or None if it was never seen."""
        return self._schema.get(table_id)

    @property
    def current(self) -> Schema:
        """All known tables, including earlier generations."""
        return self._schema

    async def refresh(self) -> None:
        """Reload the schema. Raises `CassandraUnavailableError`."""
        async with self._loading:
            await self._load()
            version, rows = await self._reader.rows()
            self.dialect = detect(self._reader.release(), {row["keyspace_name"] for row in rows["keyspaces"]})
            if self.dialect.write_times_by_table:
                self._untimed = await self._reader.tables_without_write_times(rows["tables"])
            await self._take(rows)
            self._version = version
            self._read_at = asyncio.get_running_loop().time()
            self._replication = {row["keyspace_name"]: _factor(row["replication"]) for row in rows["keyspaces"]}
            self._default_ttls = {
                TableName(row["keyspace_name"], row["table_name"]): row.get("default_time_to_live") or 0
                for row in rows["tables"]
            }
            self._plans.clear()

    async def agreed(self) -> bool:
        """Return whether all nodes that are up have the same schema. Raises `CassandraUnavailableError`."""
        return await self._reader.agreed()

    async def watch(self, interval: float = WATCH_INTERVAL) -> None:
        """Poll the schema's version every `interval` seconds and refresh after a change, until cancelled.

        It records a table's definition before it is dropped. Failures are retried at the next check. If the version is
        a constant, the schema is read every `UNVERSIONED_INTERVAL` seconds.
        """
        while True:
            await asyncio.sleep(interval)
            try:
                if self._unrecorded or self._is_due() or await self._reader.version() != self._version:
                    await self.refresh()
            except CdcError as error:
                log.debug("schema.not_looked_at", error=str(error))

    def _is_due(self) -> bool:
        age = asyncio.get_running_loop().time() - self._read_at
        return not self.dialect.versioned and age >= UNVERSIONED_INTERVAL

    def table(self, name: TableName) -> TableMetadata:
        """Return a table by its name. Raises `CassandraRefusedError` when there is none."""
        found = self._live.find(name.keyspace, name.table)
        if found is None:
            raise CassandraRefusedError(
                "there is no such table", hint="create it, or take its mapping out", table=str(name)
            )
        return found

    async def look_again(self, name: TableName) -> None:
        """Reload the schema because Cassandra refused a query of a table.

        Raises `TableDroppedError` if the table is missing on all nodes that are up, and
        `CassandraUnavailableError`.
        """
        await self.refresh()
        if self._live.find(name.keyspace, name.table) is None and await self.agreed():
            raise TableDroppedError(
                "the table was dropped", hint="create it again, or take its mapping out", table=str(name)
            )

    def known(self, name: TableName) -> TableMetadata:
        """Return a table by its name, or its last definition if it was dropped. Raises `CassandraRefusedError`."""
        found = self._live.find(*name) or self._schema.find(*name)
        return self.table(name) if found is None else found

    def generation(self, name: TableName) -> str | None:
        """Return a string that changes with every change of the table; None if there is no such table."""
        return self._generations.get(name)

    def plan(self, name: TableName) -> ReadPlan:
        """Return the read plan of a table. Raises `CassandraRefusedError` if there is no such table."""
        plan = self._plans.get(name)
        if plan is None:
            plan = ReadPlan(
                self.table(name),
                newest_of_collections=self.newest_of_collections,
                with_ttls=self.tracks(name),
                dialect=self.dialect,
                timed=name not in self._untimed,
            )
            self._plans[name] = plan
        return plan

    def tracks(self, name: TableName) -> bool:
        """Return whether rows of a table are read with the remaining TTLs of their values."""
        return name in self._expiring or self._default_ttls.get(name, 0) > 0

    def expect_ttl(self, names: Iterable[TableName]) -> None:
        """Read rows of these tables with the remaining TTLs of their values from now on."""
        for name in names:
            self._expiring.add(name)
            self._plans.pop(name, None)

    def replication_factor(self, keyspace: str) -> int:
        """Return the highest replication factor of all datacenters."""
        return self._replication.get(keyspace, 1)

    @property
    def newest_of_collections(self) -> bool:
        """Whether all nodes can return the newest write time, and the shortest TTL, of a collection's cells."""
        releases = [host.release_version for host in self._session.cluster.metadata.all_hosts()]
        return all(release is not None and int(release.split(".")[0]) >= 5 for release in releases)

    async def _load(self) -> None:
        """Load the generations that an earlier process has recorded."""
        if self._loaded or self._history is None:
            return
        try:
            generations = await asyncio.to_thread(self._history.load)
        except StoreError as error:
            log.warning("schema.history_not_loaded", error=str(error), hint=error.hint)
            return
        self._loaded = True
        older = remembered_schema(generations)
        self._schema = self._schema.merged(older)
        log.info("schema.history_loaded", generations=len(generations), tables=len(older))

    async def _take(self, rows: Rows) -> None:
        definitions = list(table_definitions(rows))
        if definitions != self._definitions:
            fresh = Schema.from_rows(**rows)
            for problem in fresh.problems:
                log.warning("schema.table_not_understood", error=str(problem))
            self._live = fresh
            self._schema = fresh.merged(self._schema)
            self._definitions = definitions
            self._generations = {
                TableName(each.keyspace, each.name): f"{each.table_id.hex()} {each.definition}" for each in definitions
            }
            self._unrecorded = True
        if self._unrecorded:
            await self._record(definitions)

    async def _record(self, definitions: Sequence[TableDefinition]) -> None:
        if self._history is not None:
            try:
                new = await asyncio.to_thread(self._history.record, definitions)
            except StoreError as error:
                log.warning("schema.history_not_kept", error=str(error), hint=error.hint)
                return
            if new:
                log.info("schema.history_kept", new_generations=new)
        self._unrecorded = False


def _factor(replication: dict[str, str]) -> int:
    """Return the largest replication factor listed; `3/1` is three replicas, one of them transient."""
    factors = [value.split("/")[0] for name, value in replication.items() if name != "class"]
    return max((int(value) for value in factors if value.isdigit()), default=1)
