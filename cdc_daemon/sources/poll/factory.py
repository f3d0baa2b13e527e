"""Pollers built from the configuration, checked against the live schema."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import structlog
from cassandra.cluster import Session

from cdc_daemon.cassandra.query import execute, prepare
from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.cassandra.ring import Ring, TokenRange
from cdc_daemon.cassandra.scan import TokenScan
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import CassandraRefusedError, ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.pipeline.gate import Sink
from cdc_daemon.sources.poll.division import PollDivision
from cdc_daemon.sources.poll.poller import Poller, PollObserver, StaleDocuments, WatermarkStore
from cdc_daemon.sources.poll.rows import PagedQueries, PolledColumns, PolledRow, RowSource
from cdc_daemon.sources.poll.strategies import BucketRows, IndexedRows, ScannedRows, check_index

log = structlog.get_logger(__name__)

_INDICES = "SELECT options FROM system_schema.indexes WHERE keyspace_name = ? AND table_name = ?"


def check_polled_tables(polled: Iterable[PollSettings], shown: Iterable[TableName]) -> None:
    """Raise `ConfigError` for a table that no document shows: polling it would have no effect."""
    names = {str(table) for table in shown}
    for settings in polled:
        if str(settings.table) not in names:
            raise ConfigError(
                f"expected a table that a mapping shows in poll, found {settings.table}",
                hint=nearest_hint(str(settings.table), names),
            )


class CurrentTableRows:
    """The rows of a table that may be altered, dropped or re-created while it is polled.

    The row source is rebuilt by `make` when the table has changed. `plan` returns how the table is read, the same
    object while the table is unchanged.
    """

    def __init__(self, plan: Callable[[], ReadPlan], make: Callable[[ReadPlan], Awaitable[RowSource]]) -> None:
        self._plan = plan
        self._make = make
        self._made: tuple[ReadPlan, RowSource] | None = None

    async def source(self) -> RowSource:
        """Return the row source.

        Raises `ConfigError` if the table cannot be polled as declared, `CassandraUnavailableError`, and
        `CassandraRefusedError` where there is no such table.
        """
        plan = self._plan()
        if self._made is None or self._made[0] is not plan:
            self._made = plan, await self._make(plan)
        return self._made[1]

    async def pages(self, since: int, ranges: Sequence[TokenRange] | None = None) -> AsyncIterator[Sequence[PolledRow]]:
        """Return the rows of the current table. Also raises as `source` does."""
        source = await self.source()
        async for page in source.pages(since, ranges):
            yield page


class PollerFactory:
    """Builds the pollers of a daemon, with everything that they share."""

    def __init__(
        self,
        session: Session,
        schema: SchemaSource,
        *,
        sink: Sink,
        documents: StaleDocuments,
        watermarks: WatermarkStore,
        observer: PollObserver,
        division: PollDivision | None = None,
    ) -> None:
        self._division = division
        self._session = session
        self._schema = schema
        self._sink = sink
        self._documents = documents
        self._watermarks = watermarks
        self._observer = observer

    async def make(self, settings: PollSettings) -> Poller:
        """Return the poller of one table. While the table is missing, only its own turns fail.

        Raises `ConfigError` if the table cannot be polled as declared, and `CassandraUnavailableError`.
        """
        plan = partial(self._schema.plan, settings.table)
        source = CurrentTableRows(plan, partial(open_rows, self._session, self._schema, settings))
        try:
            await source.source()
        except CassandraRefusedError as error:
            log.warning("poll.table_missing", table=str(settings.table), error=error)
        return Poller(
            settings,
            source=source,
            all_rows=CurrentTableRows(plan, self._all_rows(settings)),
            sink=self._sink,
            documents=self._documents,
            watermarks=self._watermarks,
            observer=self._observer,
            division=self._division,
        )

    def _all_rows(self, settings: PollSettings) -> Callable[[ReadPlan], Awaitable[RowSource]]:
        async def scan(plan: ReadPlan) -> RowSource:
            return _scanned(self._session, self._schema, settings, plan)

        return scan


async def open_rows(session: Session, schema: SchemaSource, settings: PollSettings, plan: ReadPlan) -> RowSource:
    """Return the row source for a table's strategy.

    Raises `ConfigError` if the table cannot be polled as declared, and `CassandraUnavailableError`.
    """
    columns = PolledColumns(plan, settings)
    if settings.strategy == "bucket":
        return BucketRows(PagedQueries(session, columns), columns, settings, now=_now)
    if settings.strategy == "index":
        ordered = check_index(columns, await _indices(session, settings.table))
        return IndexedRows(PagedQueries(session, columns), columns, ordered=ordered, now=_now)
    return _scanned(session, schema, settings, plan)


def _scanned(session: Session, schema: SchemaSource, settings: PollSettings, plan: ReadPlan) -> RowSource:
    return ScannedRows(TokenScan(session, schema), PolledColumns(plan, settings), Ring(session))


async def _indices(session: Session, table: TableName) -> Sequence[tuple[str | None, str]]:
    try:
        statement = await prepare(session, _INDICES)
    except CassandraRefusedError:
        return []  # Amazon Keyspaces has no indices, and no table of them
    rows: list[Any] = await execute(session, statement.bind(table))
    return [(row.options.get("class_name"), row.options.get("target", "")) for row in rows]


def _now() -> int:
    return time.time_ns() // 1000
