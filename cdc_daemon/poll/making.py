"""Pollers made of what is declared, checked against the live schema."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from cassandra.cluster import Session

from cdc_daemon.cassandra.query import execute, prepare
from cdc_daemon.cassandra.ring import Ring
from cdc_daemon.cassandra.scan import TokenScan
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.document.nearest import nearest_hint
from cdc_daemon.errors import ConfigError
from cdc_daemon.pipeline.gate import Sink
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.poll.asking import Asking
from cdc_daemon.poll.bucket import BucketRows
from cdc_daemon.poll.columns import PolledColumns
from cdc_daemon.poll.index import IndexedRows, check_index
from cdc_daemon.poll.poller import Poller, PollObserver, Versions, WatermarkStore
from cdc_daemon.poll.row import RowSource
from cdc_daemon.poll.scan import ScannedRows

_INDICES = "SELECT options FROM system_schema.indexes WHERE keyspace_name = ? AND table_name = ?"


def check_polled_tables(polled: Iterable[PollSettings], shown: Iterable[TableName]) -> None:
    """Raise `ConfigError` for a table that no document shows: polling it would be in vain."""
    names = {str(table) for table in shown}
    for settings in polled:
        if str(settings.table) not in names:
            raise ConfigError(
                f"expected a table that a mapping shows in poll, found {settings.table}",
                hint=nearest_hint(str(settings.table), names),
            )


class PollerMaker:
    """Makes the pollers of a daemon, with everything that they share."""

    def __init__(
        self,
        session: Session,
        schema: SchemaSource,
        *,
        sink: Sink,
        versions: Versions,
        watermarks: WatermarkStore,
        observer: PollObserver,
    ) -> None:
        self._session = session
        self._schema = schema
        self._sink = sink
        self._versions = versions
        self._watermarks = watermarks
        self._observer = observer

    async def make(self, settings: PollSettings) -> Poller:
        """Return the poller of one table.

        Raises `ConfigError` where the table cannot be polled as declared, `CassandraUnavailableError`, and
        `CassandraRefusedError` where there is no such table.
        """
        columns = PolledColumns(self._schema.plan(settings.table), settings)
        asking = Asking(self._session, columns)
        whole = ScannedRows(TokenScan(self._session, self._schema), columns, Ring(self._session))
        return Poller(
            settings,
            source=await self._source(settings, asking, columns, whole),
            whole=whole,
            sink=self._sink,
            versions=self._versions,
            watermarks=self._watermarks,
            observer=self._observer,
        )

    async def _source(
        self, settings: PollSettings, asking: Asking, columns: PolledColumns, whole: ScannedRows
    ) -> RowSource:
        if settings.strategy == "bucket":
            return BucketRows(asking, columns, settings, now=_now)
        if settings.strategy == "index":
            ordered = check_index(columns, await self._indices(settings.table))
            return IndexedRows(asking, columns, ordered=ordered, now=_now)
        return whole

    async def _indices(self, table: TableName) -> Sequence[tuple[str | None, str]]:
        statement = await prepare(self._session, _INDICES)
        rows: list[Any] = await execute(self._session, statement.bind(table))
        return [(row.options.get("class_name"), row.options.get("target", "")) for row in rows]


def _now() -> int:
    return time.time_ns() // 1000
