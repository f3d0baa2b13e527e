"""The heartbeat: a row that the daemon writes to Cassandra and then replicates like any other row.

The lag and the last acknowledgement time of its table in the metrics show the true end-to-end freshness, even while
nobody else writes.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import structlog
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from cdc_daemon.cassandra.node import find_node
from cdc_daemon.cassandra.query import execute, prepare
from cdc_daemon.config import CassandraSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_MOST_TRIES = 10_000


class HeartbeatWriter:
    """Writes one row of the table. This node is a replica of the row's key, so the row appears in this node's log.

    `name` distinguishes the rows of different daemons.
    """

    def __init__(
        self, session: Session, settings: CassandraSettings, table: TableName, *, name: str, metrics: Metrics
    ) -> None:
        self._session = session
        self._settings = settings
        self._table = table
        self._name = name
        self._written = metrics.heartbeat_written_timestamp_seconds.labels(*table)
        self._prepared: PreparedStatement | None = None

    async def beat(self) -> None:
        """Write the row. Raises `CassandraUnavailableError` and `CassandraRefusedError`."""
        if self._prepared is None:
            update = f'UPDATE {_quoted(self._table)} SET "at" = ? WHERE "node" = ?'  # noqa: S608 -- a quoted name
            self._prepared = await prepare(self._session, update)
            self._prepared.consistency_level = ConsistencyLevel.name_to_value[self._settings.consistency]
        now = time.time()
        key = local_key(self._session, self._table.keyspace, self._name, self._settings.contact_points)
        await execute(self._session, self._prepared.bind((datetime.fromtimestamp(now, UTC), key)))
        self._written.set(now)
        log.debug("heartbeat.written", table=str(self._table), node=key)


def local_key(session: Session, keyspace: str, name: str, contact_points: tuple[str, ...]) -> str:
    """Return the name, with a number appended if needed, so that the node beside the daemon is a replica of the key.

    Return the plain name where no number achieves that, as in a keyspace not replicated to this datacenter.
    """
    node: Any = find_node(session, contact_points)
    metadata = session.cluster.metadata
    for number in range(_MOST_TRIES):
        key = f"{name}-{number}" if number else name
        if node in metadata.get_replicas(keyspace, key.encode()):
            return key
    return name


def _quoted(table: TableName) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table)
