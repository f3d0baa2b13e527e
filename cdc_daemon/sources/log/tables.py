"""Which tables of the schema are wanted, and when to refresh the schema for an unknown one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from cdc_daemon.commitlog.keys import KeyBatch
from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.model.errors import DamagedSegmentError
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log.ports import NamedTables, SchemaProvider

log = structlog.get_logger(__name__)

PATIENCE = 60.0
"""Seconds to wait for an unknown table while nodes disagree: live nodes agree within seconds."""

_PAUSE = 1.0

_REMEMBERED = 10_000
"""Most remembered unknowns; beyond that all are forgotten, which costs one more refresh each."""


class WantedTables:
    """The ids of a schema's mapped tables, for one generation of the schema.

    Several ids may share one name: a table that was dropped and created again. If its primary key has changed since,
    earlier ids are not included, as the keys in their changes name no row of the new table.
    """

    def __init__(self, schema: NamedTables, mapped: frozenset[TableName]) -> None:
        self._schema = schema
        self._mapped = mapped
        self._known: dict[bytes, bool] = {}

    def __contains__(self, table_id: object) -> bool:
        assert isinstance(table_id, bytes)
        wanted = self._known.get(table_id)
        if wanted is None:
            table = self._schema.get(table_id)
            if table is None:
                return False  # not cached: a later schema may have the table
            now = self._schema.find(table.keyspace, table.name)
            wanted = TableName(table.keyspace, table.name) in self._mapped
            wanted = self._known[table_id] = wanted and (now is None or table.has_key_of(now))
        return wanted


class KnownTables:
    """The known schema, its wanted tables, and the unknowns for which it was already refreshed.

    A new table or column is in the log before the daemon's schema has it. So each unknown table id, and each reason why
    mutations cannot be read, triggers one refresh of the schema. What remains unknown after that is never understood,
    with one exception: an unknown table while nodes disagree about the schema. The queried node may be behind, so the
    schema is refreshed until the nodes agree, for at most `patience` seconds of one disagreement. The limit exists
    because old segments may hold very many dropped tables.
    """

    def __init__(
        self,
        provider: SchemaProvider,
        mapped: frozenset[TableName],
        *,
        patience: float = PATIENCE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._patience = patience
        self._now = now
        self._disagreed: float | None = None
        self._mapped = mapped
        self._tried: set[bytes | str] = set()
        self._schema = provider.current
        self.wanted = WantedTables(self._schema, mapped)

    @property
    def schema(self) -> SchemaView:
        """The currently known schema."""
        current = self._provider.current
        if current is not self._schema:
            self._schema = current
            self.wanted = WantedTables(current, self._mapped)
        return current

    def unresolved(self, portion: KeyBatch) -> set[bytes | str]:
        """Return what a newer schema may resolve: unknown table ids and errors, except those tried before."""
        found: set[bytes | str] = set(portion.unknown)
        found.update(problem.message for problem in portion.problems if not isinstance(problem, DamagedSegmentError))
        return found - self._tried

    async def resolve(self, unresolved: set[bytes | str]) -> None:
        """Refresh the schema for these unknowns. Raises what the provider raises."""
        tables = [each for each in unresolved if isinstance(each, bytes)]
        await self._provider.refresh()
        while not self._knows(tables) and await self._is_behind():
            log.info("tail.table_awaited", table_id=tables[0].hex(), every=PATIENCE)
            await asyncio.sleep(_PAUSE)
            await self._provider.refresh()
        if len(self._tried) > _REMEMBERED:
            self._tried.clear()
        self._tried |= unresolved

    def _knows(self, tables: Sequence[bytes]) -> bool:
        return all(self._provider.current.get(table) is not None for table in tables)

    async def _is_behind(self) -> bool:
        """Return whether to wait longer for an unknown table."""
        if await self._provider.agreed():
            if self._disagreed is None:
                return False
            # The fetched schema may be older than the agreement.
            self._disagreed = None
            await self._provider.refresh()
            return False
        now = self._now()
        if self._disagreed is None:
            self._disagreed = now
        return now < self._disagreed + self._patience
