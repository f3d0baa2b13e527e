"""The keys of a table by ranges of tokens, page by page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import BoundStatement, PreparedStatement, tuple_factory

from cdc_daemon.cassandra.keys import serialisers
from cdc_daemon.cassandra.pace import Pace
from cdc_daemon.cassandra.plan import quote
from cdc_daemon.cassandra.query import execute_page, prepare
from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.errors import CassandraRefusedError, CassandraUnavailableError
from cdc_daemon.pipeline.backoff import Backoff
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.signal import TableName

log = structlog.get_logger(__name__)

PAGE_ROWS = 1000
"""Rows asked for at once."""

SMALLEST_PAGE = 10
"""Rows below which a page is not made smaller, however long Cassandra takes for it."""

_AS_BLOB = frozenset(
    ("ascii", "bigint", "boolean", "date", "decimal", "double", "float", "inet", "int", "smallint", "text", "time",
     "timestamp", "timeuuid", "tinyint", "uuid", "varint")
)  # fmt: skip
"""Types whose values Cassandra gives out as their bytes (`BytesConversionFcts`, 4.0 to 5.0), exact and undecoded."""

Page = tuple[list[Any], bytes | None]
"""Rows, and the paging state of the next page."""


class KeyPage(NamedTuple):
    """Keys of rows in the order of their tokens.

    `newest` are the write times of the rows, aligned with `keys`, where they were asked for: the newest of their cells
    in microseconds since epoch, None where no cell tells one. `covered` is the token up to which each row of the
    range was in this page or one before it; the last `uncovered` keys so far lie behind it, as their
    partition may go on in the next page.
    """

    keys: Sequence[Key]
    newest: Sequence[int | None]
    covered: int
    uncovered: int = 0


class TokenScan:
    """Reads the keys of ranges of tokens. Pages that Cassandra does not answer in time are asked for again, smaller."""

    def __init__(
        self, session: Session, schema: SchemaSource, *, page_rows: int = PAGE_ROWS, pace: Pace | None = None
    ) -> None:
        self._session = session
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
        self._schema = schema
        self._page_rows = page_rows
        self._pace = pace or Pace()

    async def keys(
        self, table: TableName, token_range: TokenRange, *, times: bool = False, patience: float = 60.0
    ) -> AsyncIterator[KeyPage]:
        """Read the keys of all rows of a range, with `times` their newest write times too.

        Raises `CassandraUnavailableError` when there was no answer for `patience` seconds, and `CassandraRefusedError`.
        """
        metadata = self._schema.table(table)
        select = _Select(metadata, times=times)
        statement = (await self._prepare(select.query)).bind(token_range)
        read = _reader(table, metadata, statement.prepared_statement)
        width = len(metadata.partition_key) + len(metadata.clustering)
        pages = Pages(partial(self._ask, statement), page_rows=self._page_rows, pace=self._pace, patience=patience)
        covered = furthest = token_range.first
        uncovered = 0
        async for rows, last in pages:
            found = [(read(row), row) for row in rows]
            kept = [(key, row) for key, row in found if key is not None]
            covered = token_range.last if last else max(covered, rows[-1][0] - 1) if rows else covered
            newest = [max((each for each in row[width + 1 :] if each is not None), default=None) for _, row in kept]
            uncovered = (uncovered if furthest > covered else 0) + sum(row[0] > covered for _, row in kept)
            furthest = rows[-1][0] if rows else furthest
            yield KeyPage([key for key, _ in kept], newest, covered, uncovered)

    async def _ask(self, statement: BoundStatement, state: bytes | None, size: int) -> Page:
        statement.fetch_size = size
        return await execute_page(self._session, statement, paging_state=state, execution_profile=self._profile)

    async def _prepare(self, query: str) -> PreparedStatement:
        try:
            return await prepare(self._session, query)
        except CassandraRefusedError:
            await self._schema.refresh()
            raise


class _Select:
    """The statement for a range: the token, the key's columns, and write times where they are wanted.

    Of a table without clustering columns whose write times are not wanted, partitions are all that there is.
    """

    def __init__(self, table: TableMetadata, *, times: bool) -> None:
        token = f"token({', '.join(quote(column.name) for column in table.partition_key)})"
        columns = [_bytes_of(column) for column in (*table.partition_key, *table.clustering)]
        shown = [f"WRITETIME({quote(each.name)})" for each in table.regular if times and not each.type.multi_cell]
        distinct = "" if table.clustering or times else "DISTINCT "
        self.query = (
            f"SELECT {distinct}{', '.join([token, *columns, *shown])} "  # noqa: S608 -- names are quoted
            f"FROM {quote(table.keyspace)}.{quote(table.name)} WHERE {token} > ? AND {token} <= ?"
        )


class Pages:
    """The pages that `ask` gives for a paging state and a size, each with whether it is the last one.

    A page that does not come is asked for again, smaller; raised after `patience` seconds.
    """

    def __init__(
        self,
        ask: Callable[[bytes | None, int], Awaitable[Page]],
        *,
        page_rows: int,
        pace: Pace,
        patience: float,
    ) -> None:
        self._ask = ask
        self._page_rows = page_rows
        self._size = page_rows
        self._pace = pace
        self._patience = patience

    async def __aiter__(self) -> AsyncIterator[tuple[list[Any], bool]]:
        state: bytes | None = None
        while True:
            rows, state = await self._page(state)
            yield rows, state is None
            if state is None:
                return

    async def _page(self, state: bytes | None) -> Page:
        backoff = Backoff()
        until = time.monotonic() + self._patience
        while True:
            started = time.monotonic()
            try:
                answer = await self._ask(state, self._size)
            except CassandraUnavailableError as error:
                self._pace.note(time.monotonic() - started)
                if time.monotonic() > until:
                    raise
                self._size = max(SMALLEST_PAGE, self._size // 2)
                delay = max(backoff.next(), self._pace.pause)
                log.info("cassandra.page_again", error=error.message, page_rows=self._size, every=10.0)
                await asyncio.sleep(delay)
                continue
            self._size = min(self._page_rows, self._size + self._size // 4 + 1)
            await self._pace.after_page(time.monotonic() - started)
            return answer


def _bytes_of(column: Column) -> str:
    name = column.type.name
    return f"{name}asblob({quote(column.name)})" if name in _AS_BLOB else quote(column.name)


def _reader(table: TableName, metadata: TableMetadata, prepared: PreparedStatement) -> Callable[[Any], Key | None]:
    """Return what makes the key of a row; none of a partition that has nothing but static columns."""
    columns = (*metadata.partition_key, *metadata.clustering)
    plain = all(column.type.name in _AS_BLOB or column.type.name == "blob" for column in columns)
    serialise = [] if plain else serialisers(prepared)
    depth, width = len(metadata.partition_key), len(columns)

    def read(row: Any) -> Key | None:
        parts = row[1 : width + 1]
        if depth < width and parts[depth] is None:
            return None
        if not plain:
            parts = [
                part if column.type.name in _AS_BLOB else serialise[at](part)
                for at, (column, part) in enumerate(zip(columns, parts, strict=True), start=1)
            ]
        return Key(table, metadata.join_key(parts[:depth]), tuple(parts[depth:]))

    return read
