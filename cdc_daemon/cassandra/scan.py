"""Scans of a table by token ranges, page by page: the keys only, or whole rows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import PreparedStatement, tuple_factory

from cdc_daemon.cassandra.dialect import CASSANDRA, Dialect
from cdc_daemon.cassandra.paging import PageResult, Pages, ScanThrottle
from cdc_daemon.cassandra.query import as_unavailable, execute_page, is_decoding_failure, prepare
from cdc_daemon.cassandra.read_plan import bytes_of, quote, returns_bytes, serialisers
from cdc_daemon.cassandra.ring import SMALLEST, TokenRange
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import CassandraRefusedError, CdcError
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.model.version_clock import HybridClock

PAGE_ROWS = 1000
"""The maximum page size in rows."""

FIRST_ROWS = 50
"""The page size in whole rows for a table with unknown row sizes."""

PAGE_BYTES = 4 * 1024 * 1024
"""The approximate size of a page of whole rows in bytes. Several pages are in memory at once."""

_WEIGHED = 20
"""The number of rows of a page whose size is measured."""


class KeyPage(NamedTuple):
    """Keys of rows in the order of their tokens, and the additional values selected with each.

    This page and the previous ones contain all `covered_rows` rows of the range up to the token `covered`. Rows after
    `covered` are not counted, because their partition may continue in the next page.
    """

    keys: Sequence[Key]
    values: Sequence[tuple[Any, ...]]
    covered: int
    covered_rows: int


class RowPage(NamedTuple):
    """Keys as in a `KeyPage`, and their rows, read after the page was requested.

    `reading` is None if rows must be read by their keys. Its states have no write times.
    """

    keys: Sequence[Key]
    reading: Reading | None
    covered: int
    covered_rows: int


class RowSizes:
    """The number of rows of each table that fit in a page of `PAGE_BYTES`, based on the latest rows."""

    def __init__(self) -> None:
        self._rows: dict[TableName, int] = {}

    def rows(self, table: TableName) -> int:
        """Return the page size for a table in rows."""
        return self._rows.get(table, FIRST_ROWS)

    def note(self, table: TableName, rows: Sequence[tuple[Any, ...]]) -> None:
        """Record the sizes of some rows of a page."""
        if rows:
            self._rows[table] = max(1, int(PAGE_BYTES / (weigh(rows) + 1)))


class TokenScan:
    """Reads token ranges. A page that Cassandra does not return in time is requested again with a smaller size.

    `clock` issues the versions of whole rows, `sizes` gives their page size.
    """

    def __init__(
        self,
        session: Session,
        schema: SchemaSource,
        *,
        clock: HybridClock | None = None,
        page_rows: int = PAGE_ROWS,
        pace: ScanThrottle | None = None,
        sizes: RowSizes | None = None,
    ) -> None:
        self._session = session
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
        self._schema = schema
        self._clock = clock or HybridClock()
        self._page_rows = page_rows
        self._pace = pace or ScanThrottle()
        self._sizes = sizes or RowSizes()

    async def keys(
        self, table: TableName, token_range: TokenRange, *, shown: Sequence[str] = (), patience: float = 60.0
    ) -> AsyncIterator[KeyPage]:
        """Read the keys of all rows of a range, and the expressions `shown` for each.

        Raises `CassandraUnavailableError` after `patience` seconds without an answer, and `CassandraRefusedError`.
        """
        metadata = self._schema.table(table)
        dialect = self._schema.dialect
        where = _in_range(metadata, token_range, dialect)
        statement = await self._prepare(select_keys(metadata, shown, where=where, dialect=dialect))
        read = key_reader(table, metadata, statement, dialect)
        pages = Pages(
            partial(self._fetch, statement, token_range), page_rows=self._page_rows, pace=self._pace, patience=patience
        )
        async for page in _covered(read, metadata, token_range, pages):
            yield page

    async def rows(
        self, table: TableName, token_range: TokenRange, *, patience: float = 60.0
    ) -> AsyncIterator[RowPage]:
        """Read all rows of a range. Raises as `keys` does.

        For tables that are read with TTLs, the pages contain only keys. So do all pages after a row that the driver
        cannot decode.
        """
        covered, covered_rows = token_range.first, 0
        if not self._schema.tracks(table):
            try:
                async for page in self._rows(table, token_range, patience):
                    covered, covered_rows = page.covered, page.covered_rows
                    yield page
            except CdcError:
                raise
            except Exception as error:
                if not is_decoding_failure(error):
                    raise as_unavailable(error) from error
            else:
                return
        async for keys in self.keys(table, TokenRange(covered, token_range.last), patience=patience):
            yield RowPage(keys.keys, None, keys.covered, covered_rows + keys.covered_rows)

    async def _rows(self, table: TableName, token_range: TokenRange, patience: float) -> AsyncIterator[RowPage]:
        metadata = self._schema.table(table)
        columns = self._schema.plan(table).columns
        dialect = self._schema.dialect
        where = _in_range(metadata, token_range, dialect)
        statement = await self._prepare(
            select_keys(metadata, [quote(column) for column in columns], where=where, dialect=dialect)
        )
        read = key_reader(table, metadata, statement, dialect)
        version, began = 0, 0.0

        async def fetch(state: bytes | None, size: int) -> PageResult:
            nonlocal version, began
            version, began = self._clock.next(), time.monotonic()
            return await self._fetch(statement, token_range, state, size)

        limit = min(self._page_rows, self._sizes.rows(table))
        pages = Pages(fetch, page_rows=limit, pace=self._pace, patience=patience)
        async for page in _covered(read, metadata, token_range, pages):
            reading = Reading(version, began, columns, [RowState(values, None) for values in page.values])
            self._sizes.note(table, page.values)
            pages.page_rows = min(self._page_rows, self._sizes.rows(table))
            yield RowPage(page.keys, reading, page.covered, page.covered_rows)

    async def _fetch(
        self, prepared: PreparedStatement, token_range: TokenRange, state: bytes | None, size: int
    ) -> PageResult:
        statement = prepared.bind(token_range)
        statement.fetch_size = size
        return await execute_page(self._session, statement, paging_state=state, execution_profile=self._profile)

    async def _prepare(self, query: str) -> PreparedStatement:
        try:
            return await prepare(self._session, query)
        except CassandraRefusedError:
            await self._schema.refresh()
            raise


async def _covered(
    read: Callable[[Any], Key | None], metadata: TableMetadata, token_range: TokenRange, pages: Pages
) -> AsyncIterator[KeyPage]:
    """Yield the keys of pages of rows, and how far they cover the range."""
    width = 1 + len(metadata.partition_key) + len(metadata.clustering)
    covered = furthest = token_range.first
    rows_read = uncovered = 0
    async for rows, last in pages:
        keys: list[Key] = []
        values: list[tuple[Any, ...]] = []
        covered = token_range.last if last else max(covered, rows[-1][0] - 1) if rows else covered
        if furthest <= covered:
            uncovered = 0
        for row in rows:
            if (key := read(row)) is not None:
                keys.append(key)
                values.append(row[width:])
                uncovered += row[0] > covered
        rows_read += len(keys)
        furthest = rows[-1][0] if rows else furthest
        yield KeyPage(keys, values, covered, rows_read - uncovered)


def select_keys(table: TableMetadata, shown: Sequence[str], *, where: str, dialect: Dialect = CASSANDRA) -> str:
    """Return a statement for rows: the token, the key's columns undecoded, and the expressions `shown`.

    For the keys of a table without clustering columns, it selects distinct partitions.
    """
    columns = [bytes_of(column, dialect) for column in (*table.partition_key, *table.clustering)]
    distinct = "" if table.clustering or shown else "DISTINCT "
    return (
        f"SELECT {distinct}{', '.join([_token(table), *columns, *shown])} "  # noqa: S608 -- names are quoted
        f"FROM {quote(table.keyspace)}.{quote(table.name)} WHERE {where}"
    )


def _in_range(table: TableMetadata, token_range: TokenRange, dialect: Dialect) -> str:
    above = ">=" if dialect.lowest_token and token_range.first == SMALLEST else ">"
    return f"{_token(table)} {above} ? AND {_token(table)} <= ?"


def _token(table: TableMetadata) -> str:
    return f"token({', '.join(quote(column.name) for column in table.partition_key)})"


def key_reader(
    table: TableName, metadata: TableMetadata, prepared: PreparedStatement, dialect: Dialect = CASSANDRA
) -> Callable[[Any], Key | None]:
    """Return a function from a row of `select_keys` to its key; None for a partition with static columns only."""
    columns = (*metadata.partition_key, *metadata.clustering)
    as_bytes = [returns_bytes(column, dialect) or column.type.name == "blob" for column in columns]
    plain = all(as_bytes)
    serialise = [] if plain else serialisers(prepared)
    depth, width = len(metadata.partition_key), len(columns)

    def read(row: Any) -> Key | None:
        parts = row[1 : width + 1]
        if depth < width and parts[depth] is None:
            return None
        if not plain:
            parts = [
                part if exact or part is None else serialise[at](part)
                for at, (exact, part) in enumerate(zip(as_bytes, parts, strict=True), start=1)
            ]
        return Key(table, metadata.join_key(parts[:depth]), tuple(parts[depth:]))

    if plain and width == depth == 1:
        return lambda row: Key(table, row[1], ())
    return read


def weigh(rows: Sequence[tuple[Any, ...]]) -> float:
    """Return the approximate size of a row in bytes, from some rows of a page; 0 without any."""
    weighed = rows[:: len(rows) // _WEIGHED + 1]
    return sum(map(_weight, weighed)) / len(weighed) if weighed else 0.0


def _weight(row: tuple[Any, ...]) -> int:
    """Return the approximate size of a row's values in bytes."""
    return sum(len(value) if isinstance(value, str | bytes) else 16 * _entries(value) for value in row)


def _entries(value: Any) -> int:
    return 1 + len(value) if hasattr(value, "__len__") else 1
