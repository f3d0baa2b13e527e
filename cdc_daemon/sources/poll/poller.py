"""One table's turns: what changed since the watermark goes to the pipeline, then the watermark moves."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import structlog

from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.gate import Sink
from cdc_daemon.sources.poll.memory import MOST_SEEN, SeenRows
from cdc_daemon.sources.poll.row import RowSource, SeenRow

log = structlog.get_logger(__name__)

OPEN_PAGES = 8
"""Pages handed to the pipeline and not settled yet; the next is not asked for while there are more."""

_SAID_AGAIN = 3600.0
"""Seconds after which it is said again what a poller cannot see."""


class WatermarkStore(Protocol):
    """Keeps watermarks durably; its methods block for the commit."""

    def load(self, table: str) -> int | None:
        """Return a table's watermark in microseconds since epoch, or None."""
        ...

    def save(self, table: str, moment: int) -> None:
        """Record a table's watermark."""
        ...


class Versions(Protocol):
    """Knows how fresh documents are."""

    async def behind(self, rows: Sequence[SeenRow], *, margin: int) -> list[SeenRow]:
        """Return the rows whose documents may not show the last change."""
        ...


class PollObserver(Protocol):
    """Is told what a poller sees."""

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        """Take note of rows: handed on, seen in an earlier turn, or shown by a later read already."""
        ...

    def planned(self, table: TableName, interval: float) -> None:
        """Take note of how often the table is asked, in seconds."""
        ...

    def watermark(self, table: TableName, moment: int) -> None:
        """Take note of how far the table was seen, in microseconds since epoch."""
        ...

    def untimed(self, table: TableName, rows: int) -> None:
        """Take note of how many rows of a turn told nothing of when they were changed."""
        ...


class Poller:
    """Polls one table.

    A turn asks for every row changed since `overlap` before the watermark. Those that a turn before saw just so, and
    those whose documents were read when the change must have been there, need nothing; the others are read and settled
    like every change. As a change may appear `overlap` after its moment, by a clock that is behind or a slow write, a
    document shows it for certain that was read more than `overlap` and `lag` after it. A row that is met within `lag`
    of its change is read at once, and once more in a later turn, when all of a slow write is there. Only where more
    rows change within the overlap than are remembered, a read `lag` after the change is believed: else each turn would
    read them all again.

    Then, and only then, the watermark moves, to `lag` before the turn's beginning: a turn that is broken off is
    repeated as a whole. `whole` is asked instead of `source` the first time, where that begins with
    every row. `now` tells the time in microseconds since epoch, and `most_seen` rows are remembered.
    """

    def __init__(
        self,
        settings: PollSettings,
        *,
        source: RowSource,
        whole: RowSource,
        sink: Sink,
        versions: Versions,
        watermarks: WatermarkStore,
        observer: PollObserver,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        most_seen: int = MOST_SEEN,
    ) -> None:
        self._settings = settings
        self._source = source
        self._whole = whole
        self._sink = sink
        self._versions = versions
        self._watermarks = watermarks
        self._observer = observer
        self._now = now
        self._most_seen = most_seen
        self._name = str(settings.table)
        self._lag = int(settings.lag * 1e6)
        self._overlap = int(settings.overlap * 1e6)
        self._memory = SeenRows(most_seen, young=self._lag)
        observer.planned(settings.table, settings.every)

    async def poll(self) -> None:
        """Do one turn. Raises what reading rows and looking at documents raises; nothing is lost by it."""
        reached = self._now() - self._lag
        watermark = await asyncio.to_thread(self._watermarks.load, self._name)
        if watermark is None and self._settings.start == "now":
            watermark = reached
            await asyncio.to_thread(self._watermarks.save, self._name, watermark)
        first = watermark is None
        if watermark is not None:
            # Told before the turn: one that takes long, or fails from the start on, is late by this.
            self._observer.watermark(self._settings.table, min(watermark, reached))
        # A watermark from a clock that was ahead says nothing of what happened since.
        since = 0 if watermark is None else max(min(watermark, reached) - self._overlap, 0)
        if first:
            log.info("poll.first_turn", table=self._name, hint="every row of the table is looked at once")
        rows = await self._turn(since, first=first)
        await asyncio.to_thread(self._watermarks.save, self._name, reached)
        self._memory.forget_before(reached - self._overlap)
        self._observer.watermark(self._settings.table, reached)
        (log.info if first else log.debug)("poll.turn_ended", table=self._name, rows=rows)

    async def _turn(self, since: int, *, first: bool) -> int:
        line: AcknowledgementLine[int] = AcknowledgementLine(0, limit=OPEN_PAGES)
        looked_at = without_moment = untimed = 0
        settled: deque[SeenRow] = deque(maxlen=self._most_seen)
        began = self._now()
        keep_after = began - self._lag - self._overlap
        margin = self._lag + (self._overlap if self._memory.complete else 0)
        async for page in self._paced(self._whole if first else self._source, since):
            looked_at += len(page)
            without_moment += sum(row.moment is None for row in page)
            untimed += sum(row.changed <= 0 for row in page)
            changed = [row for row in page if first or row.changed >= since]
            unknown = [row for row in changed if not self._memory.knows(row, began)]
            behind = await self._versions.behind(unknown, margin=margin)
            if behind:
                receipt = await line.open(looked_at)
                try:
                    await self._sink.submit([_signal(row, began, first=first) for row in behind], receipt)
                finally:
                    receipt.release()
            settled.extend(row for row in unknown if row.changed >= keep_after)
            self._observer.polled(
                self._settings.table,
                submitted=len(behind),
                known=len(changed) - len(unknown),
                fresh=len(unknown) - len(behind),
            )
        await line.wait_empty()
        self._say_untimed(without_moment, untimed)
        self._memory.remember(settled, began)
        if not self._memory.complete:
            log.warning(
                "poll.memory_full",
                table=self._name,
                rows=self._most_seen,
                hint="what appears later than poll.lag may be missed; with a shorter poll.overlap fewer are kept",
                every=_SAID_AGAIN,
                every_key=self._name,
            )
        return looked_at

    def _say_untimed(self, without_moment: int, untimed: int) -> None:
        self._observer.untimed(self._settings.table, untimed)
        if untimed:
            log.warning(
                "poll.rows_untimed",
                table=self._name,
                rows=untimed,
                hint="neither a moment nor a write time tells their changes, which only reconcile finds",
                every=_SAID_AGAIN,
                every_key=self._name,
            )
        if self._settings.column is not None and without_moment > untimed:
            log.info(
                "poll.rows_without_moment",
                table=self._name,
                column=self._settings.column,
                rows=without_moment - untimed,
                hint="null, or not of the declared format; they go by the write times of their columns",
                every=_SAID_AGAIN,
                every_key=self._name,
            )

    async def _paced(self, source: RowSource, since: int) -> AsyncIterator[Sequence[SeenRow]]:
        """Return pages no faster than the declared rate."""
        began = time.monotonic()
        passed = 0
        async for page in source.pages(since):
            yield page
            passed += len(page)
            ahead = passed / self._settings.rate - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)


def _signal(row: SeenRow, now: int, *, first: bool) -> Signal:
    """Say that a row changed. In a first turn that is not known: every row is looked at, and says nothing of a lag.

    A moment ahead of the clock says nothing of one either.
    """
    return Signal(
        row.key.table,
        row.key.partition_key,
        Scope.ROW,
        row.key.clustering or (),
        written=0 if first else row.written or 0,
        since=0 if first else min(row.changed, now),
    )
