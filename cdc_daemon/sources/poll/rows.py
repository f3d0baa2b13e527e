"""Polled rows: which columns are selected to detect their changes, and how they are read page by page."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.metadata import Murmur3Token
from cassandra.query import PreparedStatement, tuple_factory

from cdc_daemon.cassandra.paging import PageResult, Pages, ScanThrottle
from cdc_daemon.cassandra.query import execute_page, prepare
from cdc_daemon.cassandra.read_plan import ReadPlan, quote
from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.cassandra.scan import key_reader, select_keys
from cdc_daemon.commitlog.table import Column, TableMetadata
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import CassandraRefusedError, ConfigError
from cdc_daemon.model.signal import Key
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.sources.poll.timestamps import TimestampColumn

PAGE = 1000
"""Rows in a page: about a tenth of a megabyte of keys."""

PATIENCE = 60.0
"""Seconds for which the read of a page is retried."""


class PolledRow(NamedTuple):
    """A row's key and the times of its last change, in microseconds since epoch.

    `timestamp` is the last moment that the value of its timestamp column covers, `write_time` the latest write time of
    its columns. Each is None if the row has none.
    """

    key: Key
    timestamp: int | None
    write_time: int | None

    @property
    def changed(self) -> int:
        """The latest of the row's times, which counts as the time of its last change; 0 if it has none."""
        return max(self.timestamp or 0, self.write_time or 0)


class RowSource(Protocol):
    """Rows that may have changed since a given time."""

    def pages(self, since: int, ranges: Sequence[TokenRange] | None = None) -> AsyncIterator[Sequence[PolledRow]]:
        """Return, page by page, every row changed at `since` or later (microseconds since epoch), and maybe others.

        With `ranges`, only rows with these tokens. Raises `CassandraUnavailableError` and `CassandraRefusedError`.
        """
        ...


def in_ranges(page: Sequence[PolledRow], ranges: Sequence[TokenRange] | None) -> Sequence[PolledRow]:
    """Return the rows whose tokens are in sorted ranges; all rows without ranges."""
    if ranges is None:
        return page
    ends = [each.last for each in ranges]
    found = []
    for row in page:
        token = Murmur3Token.hash_fn(row.key.partition_key)
        at = bisect_left(ends, token)
        if at < len(ranges) and token in ranges[at]:
            found.append(row)
    return found


class PolledColumns:
    """The columns of a polled table that are selected: its key, its timestamp column, and write times.

    A row is dated by its timestamp column and the write time of that column. A row whose timestamp column is null or
    invalid is dated by the write times of all its columns; so is every row if no timestamp column is declared.
    An index does not find rows without a value, so nothing more is read for the rows that it finds.

    Raises `ConfigError` if the column does not exist or its type is no timestamp, and if no column is declared
    for a table without write times.
    """

    def __init__(self, plan: ReadPlan, settings: PollSettings) -> None:
        self.plan = plan
        self.table = settings.table
        self.timestamp: TimestampColumn | None = None
        others = list(plan.write_times)
        self._dated_by = 0
        if settings.column is not None:
            column = find_column(plan.table, settings.column, settings)
            self.timestamp = TimestampColumn(column, settings, plan.dialect)
            regular = column.kind == "regular" and plan.timed
            own = [f"WRITETIME({quote(column.name)})"] if regular else []
            instead = [time for time in others if time not in own] if regular and settings.strategy != "index" else []
            others = [self.timestamp.expression, *own, *instead]
            self._dated_by = 1 + len(own)
        elif not plan.timed:
            raise ConfigError(
                f"expected a column with the time of a row's last change, as {plan.dialect.name} has no write times "
                f"for this table",
                hint="set column in poll, or turn on client-side timestamps for the table",
                table=str(settings.table),
            )
        self.others = tuple(others)
        """The expressions that are selected in addition to the key."""

    def row(self, key: Key, values: Sequence[Any]) -> PolledRow:
        """Return a row, given its key and the values of `others`."""
        timestamp = None if self.timestamp is None else self.timestamp.latest(values[0])
        if self.timestamp is None:
            times = values
        elif timestamp is None:
            times = values[1:]
        else:
            times = values[1 : self._dated_by]
        return PolledRow(key, timestamp, max((time for time in times if time is not None), default=None))


def find_column(table: TableMetadata, name: str, settings: PollSettings) -> Column:
    """Return a key or regular column by its name. Raises `ConfigError` if there is none."""
    columns = {column.name: column for column in (*table.partition_key, *table.clustering, *table.regular)}
    if name not in columns:
        static = any(column.name == name for column in table.static)
        raise ConfigError(
            f"expected a column of each row, found {name}, which is static"
            if static
            else f"expected a column of {settings.table}, found {name!r}",
            hint=nearest_hint(name, columns),
            table=str(settings.table),
        )
    return columns[name]


class PagedQueries:
    """Queries the polled columns of a table page by page, at the daemon's consistency level.

    Each statement is prepared once.
    """

    def __init__(self, session: Session, columns: PolledColumns) -> None:
        self._session = session
        self._columns = columns
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
        self._prepared: dict[str, PreparedStatement] = {}

    async def rows(self, where: str, values: Sequence[Any]) -> AsyncIterator[Sequence[PolledRow]]:
        """Return the rows that match a WHERE clause with these values, page by page.

        A page that Cassandra does not return in time is requested again with fewer rows, as a turn can only be repeated
        as a whole. Raises `CassandraUnavailableError` when there was no answer for `PATIENCE` seconds, and
        `CassandraRefusedError`.
        """
        columns = self._columns
        query = select_keys(columns.plan.table, columns.others, where=where, dialect=columns.plan.dialect)
        width = 1 + len(columns.plan.key_columns)
        try:
            if query not in self._prepared:
                self._prepared[query] = await prepare(self._session, query)
            read = key_reader(columns.table, columns.plan.table, self._prepared[query], columns.plan.dialect)
            ask = partial(self._fetch, self._prepared[query], values)
            # The poller limits the rate, so there is no pace here.
            async for page, _ in Pages(ask, page_rows=PAGE, pace=ScanThrottle(), patience=PATIENCE):
                yield [columns.row(key, row[width:]) for row in page if (key := read(row)) is not None]
        except CassandraRefusedError:
            self._prepared.clear()
            raise

    async def _fetch(
        self, prepared: PreparedStatement, values: Sequence[Any], state: bytes | None, size: int
    ) -> PageResult:
        statement = prepared.bind(values)
        statement.fetch_size = size
        return await execute_page(self._session, statement, paging_state=state, execution_profile=self._profile)
