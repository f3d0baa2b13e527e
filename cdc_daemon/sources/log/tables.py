"""Which tables a portion speaks of, and when to ask for the schema once more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.model.errors import DamagedSegmentError
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log.follower import Portion
from cdc_daemon.sources.log.ports import SchemaProvider
from cdc_daemon.sources.log.signals import WantedTables

log = structlog.get_logger(__name__)

PATIENCE = 60.0
"""Seconds for which a table is waited for while nodes disagree: an agreement takes seconds where they are up."""

_PAUSE = 1.0

_REMEMBERED = 10_000
"""Questions remembered; beyond that all are forgotten, which costs one more refresh each."""


class TableKnowledge:
    """The schema at hand, the wanted tables in it, and what it was refreshed for already.

    A table that was created, or a column that was added, a moment ago is in the log before anybody has told us.
    So each table id that is not known, and each way in which mutations cannot be read, is a reason to refresh
    the schema once. What is still not understood after that never will be: but for a table that is not known while
    nodes disagree about the schema. Who was asked may be behind, so it is asked for again until they agree, for at most
    `patience` seconds of one disagreement: old segments may hold very many tables that were dropped.
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
        self._asked: set[bytes | str] = set()
        self._schema = provider.current
        self.wanted = WantedTables(self._schema, mapped)

    @property
    def schema(self) -> SchemaView:
        """The schema as known now."""
        current = self._provider.current
        if current is not self._schema:
            self._schema = current
            self.wanted = WantedTables(current, self._mapped)
        return current

    def questions(self, portion: Portion) -> set[bytes | str]:
        """Return what in a portion may be understood with a newer schema and was not asked for yet."""
        asked: set[bytes | str] = set(portion.unknown)
        asked.update(problem.message for problem in portion.problems if not isinstance(problem, DamagedSegmentError))
        return asked - self._asked

    async def ask(self, questions: set[bytes | str]) -> None:
        """Refresh the schema for the sake of these questions. Raises what the provider raises."""
        tables = [question for question in questions if isinstance(question, bytes)]
        await self._provider.refresh()
        while not self._knows(tables) and await self._is_behind():
            log.info("tail.table_awaited", table_id=tables[0].hex(), every=PATIENCE)
            await asyncio.sleep(_PAUSE)
            await self._provider.refresh()
        if len(self._asked) > _REMEMBERED:
            self._asked.clear()
        self._asked |= questions

    def _knows(self, tables: Sequence[bytes]) -> bool:
        return all(self._provider.current.get(table) is not None for table in tables)

    async def _is_behind(self) -> bool:
        """Tell whether it is worth waiting for a table that is not known."""
        if await self._provider.agreed():
            if self._disagreed is None:
                return False
            # What was fetched may be from before the nodes agreed.
            self._disagreed = None
            await self._provider.refresh()
            return False
        now = self._now()
        if self._disagreed is None:
            self._disagreed = now
        return now < self._disagreed + self._patience
