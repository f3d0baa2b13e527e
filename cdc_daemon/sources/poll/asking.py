"""A poller's statements, prepared once and read page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import PreparedStatement, tuple_factory

from cdc_daemon.cassandra.pace import Pace
from cdc_daemon.cassandra.paging import Answer, Pages
from cdc_daemon.cassandra.query import execute_page, prepare
from cdc_daemon.cassandra.scan import key_reader, select_keys
from cdc_daemon.model.errors import CassandraRefusedError
from cdc_daemon.sources.poll.columns import PolledColumns
from cdc_daemon.sources.poll.row import SeenRow

PAGE = 1000
"""Rows in a page: about a tenth of a megabyte of keys."""

PATIENCE = 60.0
"""Seconds for which the read of a page is retried."""


class Asking:
    """Queries the polled columns of a table, at the daemon's consistency level."""

    def __init__(self, session: Session, columns: PolledColumns) -> None:
        self._session = session
        self._columns = columns
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
        self._prepared: dict[str, PreparedStatement] = {}

    async def rows(self, where: str, values: Sequence[Any]) -> AsyncIterator[Sequence[SeenRow]]:
        """Return the rows for which `where` holds with these values, page by page.

        A page that Cassandra does not return in time is requested again with fewer rows, as a turn can only be repeated
        as a whole. Raises `CassandraUnavailableError` when there was no answer for `PATIENCE` seconds, and
        `CassandraRefusedError`.
        """
        columns = self._columns
        query = select_keys(columns.plan.table, columns.others, where=where)
        width = 1 + len(columns.plan.key_columns)
        try:
            if query not in self._prepared:
                self._prepared[query] = await prepare(self._session, query)
            read = key_reader(columns.table, columns.plan.table, self._prepared[query])
            ask = partial(self._ask, self._prepared[query], values)
            # The poller sets the pace.
            async for page, _ in Pages(ask, page_rows=PAGE, pace=Pace(), patience=PATIENCE):
                yield [columns.row(key, row[width:]) for row in page if (key := read(row)) is not None]
        except CassandraRefusedError:
            self._prepared.clear()
            raise

    async def _ask(self, prepared: PreparedStatement, values: Sequence[Any], state: bytes | None, size: int) -> Answer:
        statement = prepared.bind(values)
        statement.fetch_size = size
        return await execute_page(self._session, statement, paging_state=state, execution_profile=self._profile)
