"""Polls a table in turns: submits the changes since the watermark to the pipeline, then moves the watermark."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

import structlog

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.gate import Sink
from cdc_daemon.sources.poll.division import SLICES, PollDivision, ranges_of
from cdc_daemon.sources.poll.rows import PolledRow, RowSource

log = structlog.get_logger(__name__)

OPEN_PAGES = 8
"""Maximum pages that are submitted to the pipeline and not yet written."""

_LOG_INTERVAL = 3600.0
"""Seconds until a warning about changes that the poller cannot detect is repeated."""

MOST_REMEMBERED = 200_000
"""Rows that a poller remembers by default: about fifty megabytes."""

_NOTHING = (-1, -1, 0)
"""Represents a row that is not remembered."""


class WatermarkStore(Protocol):
    """Stores watermarks durably; its methods block for the commit."""

    def load(self, table: str) -> int | None:
        """Return a table's watermark in microseconds since epoch, or None."""
        ...

    def save(self, table: str, moment: int) -> None:
        """Record a table's watermark."""
        ...


class StaleDocuments(Protocol):
    """Finds rows whose documents may be out of date."""

    async def behind(self, rows: Sequence[PolledRow], *, margin: int) -> list[PolledRow]:
        """Return the rows with a document that may not show the last change, `margin` (µs) after it."""
        ...


class PollObserver(Protocol):
    """Observes a poller."""

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        """Count rows by outcome: submitted, known from an earlier turn, or with fresh documents."""
        ...

    def planned(self, table: TableName, interval: float) -> None:
        """Record the interval at which the table is polled, in seconds."""
        ...

    def watermark(self, table: TableName, moment: int) -> None:
        """Record the table's watermark, in microseconds since epoch."""
        ...

    def untimed(self, table: TableName, rows: int) -> None:
        """Record how many rows of a turn had neither a timestamp nor a write time."""
        ...


class RecentRows:
    """The rows that recent turns wrote, with their timestamps and write times, so that no turn rewrites unchanged rows.

    Only the latest `limit` rows are remembered. `complete` is false if there were more.

    A read less than `lag` microseconds after a change may not show the whole change, so the row must be read once more.
    If a row's timestamp is ahead of the clock, the time at which the row was first seen replaces it.
    """

    def __init__(self, limit: int = MOST_REMEMBERED, *, lag: int = 0) -> None:
        self.complete = True
        self._limit = limit
        self._lag = lag
        self._seen: dict[Key, tuple[int | None, int | None, int]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def knows(self, row: PolledRow, now: int) -> bool:
        """Return whether the row was written in this state, and needs no second read at `now`."""
        timestamp, write_time, read_again_at = self._seen.get(row.key, _NOTHING)
        unchanged = (timestamp, write_time) == (row.timestamp, row.write_time)
        return unchanged and (read_again_at == 0 or now < read_again_at)

    def remember(self, rows: Iterable[PolledRow], now: int) -> None:
        """Remember rows that are written from reads that began `now` or later (microseconds since epoch)."""
        for row in rows:
            timestamp, write_time, read_again_at = self._seen.pop(row.key, _NOTHING)
            if (timestamp, write_time) != (row.timestamp, row.write_time):
                read_again_at = min(row.changed, now) + self._lag
            self._seen[row.key] = (row.timestamp, row.write_time, read_again_at if read_again_at > now else 0)
        self.complete = len(self._seen) < self._limit
        while len(self._seen) > self._limit:
            del self._seen[next(iter(self._seen))]

    def forget_before(self, moment: int) -> None:
        """Remove rows that changed before `moment` (microseconds since epoch): they are no longer queried."""
        old = [
            key
            for key, (timestamp, write_time, _) in self._seen.items()
            if max(timestamp or 0, write_time or 0) < moment
        ]
        for key in old:
            del self._seen[key]


class Poller:
    """Polls one table.

    A turn queries every row that changed after the watermark less `overlap`. The overlap is necessary because a change
    may become visible up to `overlap` after its timestamp, if the writer's clock or the write is slow. Rows that an
    earlier turn wrote in the same state are skipped. So are rows whose documents were read long enough after the
    change. All other rows are read and written like every change.

    A document certainly shows a change only if its row was read more than `overlap` plus `lag` after the change. A row
    that is found less than `lag` after its change is read at once, and once more in a later turn, when a slow write is
    complete. If more rows change within the overlap than can be remembered, a read `lag` after the change is
    sufficient. Otherwise each turn would read all of them again.

    When everything is written, the watermark moves to `lag` before the beginning of the turn. So an interrupted turn is
    repeated as a whole. If polling starts with every row, the first turn queries `all_rows` instead of `source`. `now`
    returns microseconds since epoch, and at most `most_remembered` rows are remembered. With a `division`, several
    daemons poll the table, each its slices of the ring.
    """

    def __init__(
        self,
        settings: PollSettings,
        *,
        source: RowSource,
        all_rows: RowSource,
        sink: Sink,
        documents: StaleDocuments,
        watermarks: WatermarkStore,
        observer: PollObserver,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        most_remembered: int = MOST_REMEMBERED,
        division: PollDivision | None = None,
    ) -> None:
        self._division = division
        self._settings = settings
        self._source = source
        self._all_rows = all_rows
        self._sink = sink
        self._documents = documents
        self._watermarks = watermarks
        self._observer = observer
        self._now = now
        self._most_remembered = most_remembered
        self._name = str(settings.table)
        self._lag = int(settings.lag * 1e6)
        self._overlap = int(settings.overlap * 1e6)
        self._recent = RecentRows(most_remembered, lag=self._lag)
        observer.planned(settings.table, settings.every)

    async def poll(self) -> None:
        """Run one turn. Raises as reading rows and checking documents does; no change is lost then."""
        if self._division is None:
            await self._poll_all()
        else:
            await self._poll_slices(self._division)

    async def _poll_slices(self, division: PollDivision) -> None:
        """Run one turn of the slices that are this daemon's at present.

        Slices that no daemon has polled are read in full, the others from the earliest of their watermarks on.
        """
        reached = self._now() - self._lag
        mine, moments = await division.take(self._name)
        if not mine:
            if len(moments) == SLICES:  # others poll the table, or this daemon is paused
                self._observer.watermark(self._settings.table, min(*moments.values(), reached))
            return
        new = [number for number in mine if number not in moments]
        if new and self._settings.start == "now":
            await division.reached(self._name, new, reached)
            moments, new = {**moments, **dict.fromkeys(new, reached)}, []
        known = [number for number in mine if number in moments]
        rows = 0
        if known:
            watermark = min(moments[number] for number in known)
            self._observer.watermark(self._settings.table, min(watermark, reached))
            since = max(min(watermark, reached) - self._overlap, 0)
            rows += await self._turn(since, first=False, ranges=ranges_of(known))
            await division.reached(self._name, known, reached)
        if new:
            log.info("poll.first_turn", table=self._name, slices=len(new), hint="every row of them is read once")
            rows += await self._turn(0, first=True, ranges=ranges_of(new))
            await division.reached(self._name, new, reached)
        self._recent.forget_before(reached - self._overlap)
        self._observer.watermark(self._settings.table, reached)
        log.debug("poll.turn_ended", table=self._name, rows=rows, slices=len(mine))

    async def _poll_all(self) -> None:
        reached = self._now() - self._lag
        watermark = await asyncio.to_thread(self._watermarks.load, self._name)
        if watermark is None and self._settings.start == "now":
            watermark = reached
            await asyncio.to_thread(self._watermarks.save, self._name, watermark)
        first = watermark is None
        if watermark is not None:
            # Reported before the turn, because the turn may take long or fail.
            self._observer.watermark(self._settings.table, min(watermark, reached))
        # A watermark from a clock that was ahead does not cover later changes.
        since = 0 if watermark is None else max(min(watermark, reached) - self._overlap, 0)
        if first:
            log.info("poll.first_turn", table=self._name, hint="every row of the table is read once")
        rows = await self._turn(since, first=first)
        await asyncio.to_thread(self._watermarks.save, self._name, reached)
        self._recent.forget_before(reached - self._overlap)
        self._observer.watermark(self._settings.table, reached)
        (log.info if first else log.debug)("poll.turn_ended", table=self._name, rows=rows)

    async def _turn(self, since: int, *, first: bool, ranges: Sequence[TokenRange] | None = None) -> int:
        line: AcknowledgementLine[int] = AcknowledgementLine(0, limit=OPEN_PAGES)
        count = without_timestamp = untimed = 0
        written: deque[PolledRow] = deque(maxlen=self._most_remembered)
        began = self._now()
        keep_after = began - self._lag - self._overlap
        margin = self._lag + (self._overlap if self._recent.complete else 0)
        async for page in self._paced(self._all_rows if first else self._source, since, ranges):
            count += len(page)
            without_timestamp += sum(row.timestamp is None for row in page)
            untimed += sum(row.changed <= 0 for row in page)
            changed = [row for row in page if first or row.changed >= since]
            unknown = [row for row in changed if not self._recent.knows(row, began)]
            behind = await self._documents.behind(unknown, margin=margin)
            if behind:
                receipt = await line.open(count)
                try:
                    await self._sink.submit([_signal(row, began, first=first) for row in behind], receipt)
                finally:
                    receipt.release()
            written.extend(row for row in unknown if row.changed >= keep_after)
            self._observer.polled(
                self._settings.table,
                submitted=len(behind),
                known=len(changed) - len(unknown),
                fresh=len(unknown) - len(behind),
            )
        await line.wait_empty()
        self._log_undated(without_timestamp, untimed)
        self._recent.remember(written, began)
        if not self._recent.complete:
            log.warning(
                "poll.memory_full",
                table=self._name,
                rows=self._most_remembered,
                hint="changes that become visible later than poll.lag may be missed; shorten poll.overlap",
                every=_LOG_INTERVAL,
                every_key=self._name,
            )
        return count

    def _log_undated(self, without_timestamp: int, untimed: int) -> None:
        self._observer.untimed(self._settings.table, untimed)
        if untimed:
            log.warning(
                "poll.rows_untimed",
                table=self._name,
                rows=untimed,
                hint="these rows have neither a timestamp nor a write time; only a reconcile finds their changes",
                every=_LOG_INTERVAL,
                every_key=self._name,
            )
        if self._settings.column is not None and without_timestamp > untimed:
            log.info(
                "poll.rows_without_moment",
                table=self._name,
                column=self._settings.column,
                rows=without_timestamp - untimed,
                hint="the column is null or invalid in these rows; the write times of their columns are used instead",
                every=_LOG_INTERVAL,
                every_key=self._name,
            )

    async def _paced(
        self, source: RowSource, since: int, ranges: Sequence[TokenRange] | None
    ) -> AsyncIterator[Sequence[PolledRow]]:
        """Return pages no faster than the declared rate."""
        began = time.monotonic()
        rows_yielded = 0
        async for page in source.pages(since, ranges):
            yield page
            rows_yielded += len(page)
            ahead = rows_yielded / self._settings.rate - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)


def _signal(row: PolledRow, now: int, *, first: bool) -> Signal:
    """Return the signal of a changed row.

    It has no time of change in a first turn, which reads every row. A timestamp ahead of the clock is replaced by
    `now`.
    """
    return Signal(
        row.key.table,
        row.key.partition_key,
        Scope.ROW,
        row.key.clustering or (),
        written=0 if first else row.write_time or 0,
        since=0 if first else min(row.changed, now),
    )
