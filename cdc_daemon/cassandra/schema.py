"""The live schema: what tables are, how they are read, how often each row is stored."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import SimpleStatement, dict_factory

from cdc_daemon.cassandra.plan import ReadPlan
from cdc_daemon.cassandra.query import execute
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.errors import CassandraRefusedError
from cdc_daemon.pipeline.signal import TableName

log = structlog.get_logger(__name__)

_SELECTED = {
    "keyspaces": "*",
    "tables": "*",
    "columns": "*",
    "types": "*",
    # As milliseconds: tables of the server's own have dropped columns with times beyond the driver's years.
    "dropped_columns": "keyspace_name, table_name, column_name, kind, type, "
    "blobAsBigint(timestampAsBlob(dropped_time)) AS dropped_time",
    "views": "*",
}


class SchemaSource:
    """Reads `system_schema` and remembers every generation seen since the start.

    A segment may hold mutations written before an ALTER or a DROP, so older generations stay known.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=dict_factory)
        self._schema = Schema()
        self._replication: dict[str, int] = {}
        self._plans: dict[TableName, ReadPlan] = {}
        self._loading = asyncio.Lock()

    def get(self, table_id: bytes, /) -> TableMetadata | None:
        """Return the table of this id (16 bytes), of whatever generation, or None when it was never seen."""
        return self._schema.get(table_id)

    @property
    def current(self) -> Schema:
        """All tables known."""
        return self._schema

    async def refresh(self) -> None:
        """Read the schema anew. Raises `CassandraUnavailableError`."""
        async with self._loading:
            rows = await asyncio.gather(*(self._rows(table) for table in _SELECTED))
            found = dict(zip(_SELECTED, rows, strict=True))
            fresh = Schema.from_rows(**found)
            for problem in fresh.problems:
                log.warning("schema.table_not_understood", error=str(problem))
            self._schema = fresh.merged(self._schema)
            self._replication = {row["keyspace_name"]: _factor(row["replication"]) for row in found["keyspaces"]}
            self._plans.clear()

    def table(self, name: TableName) -> TableMetadata:
        """Return a table by its name. Raises `CassandraRefusedError` when there is none."""
        found = self._schema.find(name.keyspace, name.table)
        if found is None:
            raise CassandraRefusedError(
                "there is no such table", hint="create it, or take its mapping out", table=str(name)
            )
        return found

    def plan(self, name: TableName) -> ReadPlan:
        """Return how a table is read. Raises `CassandraRefusedError` when there is none."""
        plan = self._plans.get(name)
        if plan is None:
            plan = ReadPlan(self.table(name), newest_of_collections=self._newest_of_collections())
            self._plans[name] = plan
        return plan

    def replication_factor(self, keyspace: str) -> int:
        """Return how many replicas the datacenter with the most has of each row."""
        return self._replication.get(keyspace, 1)

    def _newest_of_collections(self) -> bool:
        releases = [host.release_version for host in self._session.cluster.metadata.all_hosts()]
        return all(release is not None and int(release.split(".")[0]) >= 5 for release in releases)

    async def _rows(self, table: str) -> list[dict[str, Any]]:
        statement = SimpleStatement(f"SELECT {_SELECTED[table]} FROM system_schema.{table}")  # noqa: S608 -- constants
        return await execute(self._session, statement, execution_profile=self._profile)


def _factor(replication: dict[str, str]) -> int:
    """Return the largest replication factor named; `3/1` is three replicas of which one is transient."""
    factors = [value.split("/")[0] for name, value in replication.items() if name != "class"]
    return max((int(value) for value in factors if value.isdigit()), default=1)
