"""One table's turns: the changes since the watermark go to the pipeline, then the watermark moves."""

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
"""Pages handed to the pipeline and not yet written; the next one is not requested while there are more."""

_SAID_AGAIN = 3600.0
"""Seconds after which changes that a poller cannot detect are logged again."""


class WatermarkStore(Protocol):
    """Stores watermarks durably; its methods block for the commit."""

    def load(self, table: str) -> int | None:
        """Return a table's watermark in microseconds since epoch, or None."""
        ...

    def save(self, table: str, moment: int) -> None:
        """Record a table's watermark."""
        ...


class Versions(Protocol):
    """The versions of documents."""

    async def behind(self, rows: Sequence[SeenRow], *, margin: int) -> list[SeenRow]:
        """Return the rows with documents that may not show the last change."""
        ...


class PollObserver(Protocol):
    """Observes a poller."""

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        """Count rows: handed on, seen in an earlier turn, or already shown by a later read."""
        ...

    def planned(self, table: TableName, interval: float) -> None:
        """Record the interval at which the table is polled, in seconds."""
        ...

    def watermark(self, table: TableName, moment: int) -> None:
        """Record the table's watermark, in microseconds since epoch."""
        ...

    def untimed(self, table: TableName, rows: int) -> None:
        """Record how many rows of a turn had no timestamp."""
        ...


class Poller:
    """Polls one table.

    A turn queries every row changed since `overlap` before the watermark. Rows that an earlier turn saw in the same
    state, and rows with documents that were read when the change must have been there, need nothing; the others are
    read and written like every change. A change may appear `overlap` after its moment, by a slow clock or a slow
    write. So a document shows it for certain only if it was read more than `overlap` and `lag` after it. A row found
    within `lag` of its change is read at once, and once more in a later turn, when all of a slow write is there. Only
    where more rows change within the overlap than are remembered, a read `lag` after the change is trusted: otherwise
    each turn would read them all again.

    Then, and only then, the watermark moves, to `lag` before the turn's beginning: an interrupted turn is repeated as a
    whole. `whole` is queried instead of `source` the first time, where polling begins with every row. `now` returns
    the time in microseconds since epoch, and `most_seen` rows are remembered.
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
        """Run one turn. Raises what reading rows and checking documents raises; nothing is lost by it."""
        reached = self._now() - self._lag
        watermark = await asyncio.to_thread(self._watermarks.load, self._name)
        if watermark is None and self._settings.start == "now":
            watermark = reached
            await asyncio.to_thread(self._watermarks.save, self._name, watermark)
        first = watermark is None
        if watermark is not None:
            # Reported before the turn: a turn that takes long, or fails from the start, would report it late.
            self._observer.watermark(self._settings.table, min(watermark, reached))
        # A watermark from a clock that was ahead does not cover later changes.
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
    """Return the signal of a changed row. In a first turn every row is read, changed or not, so its signal has no lag.

    A moment ahead of the clock gives no lag either.
    """
    return Signal(
        row.key.table,
        row.key.partition_key,
        Scope.ROW,
        row.key.clustering or (),
        written=0 if first else row.written or 0,
        since=0 if first else min(row.changed, now),
    )
