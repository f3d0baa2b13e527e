"""Works off changed rows: finds the documents that show each, and has them built anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, ElasticsearchUnavailableError, alias_of
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over_each
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.sources.dependents.finding import DependentFinder
from cdc_daemon.store.dependents import ChangedRow, Dependent

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Changed rows worked off side by side, so that one that a million documents show does not hold up the others."""

INTERVAL = 0.2
"""Seconds between two looks into the queue."""

LANDING_SECONDS = 60.0

LONGEST_REST = 30.0
"""Seconds after which a row whose refresh fails again and again is tried once more at the latest."""

LONGEST_HOLD = 1.0
"""Seconds that a refresh which failed keeps its place at most: so a whole queue is not run through while a server is
away."""

MOST_FAILING = 1000
"""Rows whose refresh has failed until no others are begun with: they are kept in memory, and passed over one by one."""

_SAID_AGAIN = 30.0


class Queue(Protocol):
    """The durable queue of changed rows."""

    async def oldest(self, limit: int, *, besides: Sequence[int] = ()) -> Sequence[Dependent]:
        """Return the rows that have waited longest."""
        ...

    async def pass_over(self, dependent: Dependent) -> None:
        """Return a row no more before it changes again, or `bring_back`."""
        ...

    async def bring_back(self) -> None:
        """Return all rows again that were passed over."""
        ...

    async def done(self, dependent: Dependent) -> None:
        """Forget a row, unless it changed again meanwhile."""
        ...


class Flights(Protocol):
    """Knows what is being read or written now."""

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        """Wait until each row of a table that is being read or written now has landed, at most so long."""
        ...


class DependentsObserver(Protocol):
    """Is told what is refreshed."""

    def refreshed(self, table: TableName, count: int) -> None:
        """Take note of documents that were built anew because a row of `table` had changed."""
        ...

    def failed(self, table: TableName) -> None:
        """Take note that the refresh of documents that show a row of `table` failed, and is tried again."""
        ...


@dataclass(slots=True)
class _Failing:
    """A row whose refresh has failed; it rests until a moment of the loop's clock."""

    until: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(last=LONGEST_REST))


class DependentsRefresher:
    """Refreshes, for each changed row in the queue, the documents that show it.

    A document built from a read that began before the change was believed may still be on its way when the row comes
    into the queue, and a search would not find it, or find it and be overtaken: so the search begins when every row in
    flight has landed, and after a refresh. Reads that begin later see the change. A document whose version is above the
    row's was read after the change and needs nothing: a search that was broken off, by an outage or a crash, is begun
    anew and passes over what was done. A row whose refresh fails is tried again after pauses of its own, and of such
    rows no two at once, so that the others go on. `rate` bounds the documents a second, `margin` (µs) is how far
    another daemon's versions may be ahead; `settle_others` waits for what other daemons have in flight, which cannot be
    seen.

    A row that documents under an alias in trouble show, which `troubled` tells, is passed over when its other documents
    are refreshed, until an alias takes writes again. `doubt` is told of an alias that could not be searched.
    """

    def __init__(
        self,
        queue: Queue,
        finders: Mapping[TableName, Sequence[DependentFinder]],
        *,
        flights: Flights,
        sink: BackgroundSink,
        gate: Gate,
        observer: DependentsObserver,
        rate: float,
        margin: int,
        settle_others: Callable[[], Awaitable[None]],
        troubled: Troubled | None = None,
        doubt: Callable[[str], None] = lambda _alias: None,
    ) -> None:
        self._troubled = troubled or Troubled()
        self._doubt = doubt
        self._waited: set[str] | None = None
        self._queue = queue
        self._finders = finders
        self._flights = flights
        self._sink = sink
        self._gate = gate
        self._observer = observer
        self._rate = rate
        self._margin = margin
        self._settle_others = settle_others
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._failing: dict[int, _Failing] = {}
        self._hold = Backoff(last=LONGEST_HOLD)

    async def turn(self) -> None:
        """Work off what waits in the queue, and what comes into it meanwhile. Raises `StoreError`."""
        try:
            while await self._start_more():
                await asyncio.wait(self._under_way.values(), timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
            self._under_way = {}

    async def _start_more(self) -> bool:
        """Begin with as many rows as there is room for; return whether any are under way."""
        await self._follow_troubles()
        self._under_way = {identity: task for identity, task in self._under_way.items() if not task.done()}
        room = AT_ONCE - len(self._under_way)
        if room > 0 and not self._failing.keys() & self._under_way.keys():
            now = asyncio.get_running_loop().time()
            due = [identity for identity, each in self._failing.items() if each.until <= now]
            begun = await self._begin(1, besides=self._failing.keys() - due)
            room -= begun
            if not begun:
                for identity in due:  # they are not in the queue any more
                    del self._failing[identity]
        if room > 0 and len(self._failing) < MOST_FAILING:
            await self._begin(room, besides=self._failing)
        return bool(self._under_way)

    async def _follow_troubles(self) -> None:
        """Take up again what was passed over: at first, and where an alias takes writes again that it waits for."""
        if self._waited is None or (self._waited and self._waited - self._troubled.among(self._waited).keys()):
            self._waited = set()
            await self._queue.bring_back()

    async def _begin(self, room: int, *, besides: Iterable[int]) -> int:
        """Begin with the rows that have waited longest, but for those `besides`; return with how many."""
        waiting = await self._queue.oldest(room, besides=[*{*besides, *self._under_way}])
        for dependent in waiting:
            self._under_way[dependent.id] = asyncio.create_task(self._follow(dependent), name="dependents")
        return len(waiting)

    async def _follow(self, dependent: Dependent) -> None:
        """Refresh a row's dependents, or have it tried again later."""
        table = dependent.row.key.table
        try:
            count, waited = await self._refresh(dependent.row)
            if waited:
                await self._queue.pass_over(dependent)
                self._waited = waited | (self._waited or set())
            else:
                await self._queue.done(dependent)
        except Exception as error:
            failing = self._failing.setdefault(dependent.id, _Failing())
            delay = failing.backoff.next()
            failing.until = asyncio.get_running_loop().time() + delay
            self._observer.failed(table)
            if (alias := alias_of(error)) is not None:
                self._doubt(alias)
            known = isinstance(error, CdcError)
            log.warning(
                "dependents.retry",
                table=str(table),
                error=str(error),
                hint=error.hint if isinstance(error, CdcError) else None,
                exc_info=None if known else error,
                retry_in_seconds=round(delay, 3),
                every=_SAID_AGAIN,
                every_key=str(table),
            )
            await asyncio.sleep(self._hold.next())
            return
        self._failing.pop(dependent.id, None)
        self._hold.reset()
        log.debug("dependents.refreshed", table=str(table), documents=count)

    async def _refresh(self, row: ChangedRow) -> tuple[int, set[str]]:
        """Refresh a row's dependents; return how many, and the aliases in trouble that some of them wait for."""
        finders = self._finders.get(row.key.table, ())
        for table in {finder.shown_in for finder in finders}:
            await self._flights.wait_landed(table, LANDING_SECONDS)
        await self._settle_others()
        count = 0
        waited: set[str] = set()
        failure: CdcError | None = None
        for finder in finders:
            if hopeless := self._troubled.whole_table(finder.shown_in):
                waited |= hopeless.keys()
                continue
            try:
                async for keys in finder.find(row.key, read_before=row.version + self._margin):
                    waited |= await self._signal(keys, row)
                    self._observer.refreshed(row.key.table, len(keys))
                    count += len(keys)
            except (ElasticsearchRefusedError, ElasticsearchUnavailableError) as error:
                troubles = self._troubled.among([alias_of(error) or ""])
                waited |= troubles.keys()
                if not troubles:
                    failure = failure or error
        if failure is not None:
            raise failure
        return count, waited

    async def _signal(self, keys: Sequence[Key], row: ChangedRow) -> set[str]:
        """Have rows read and their documents built, no faster than they are settled, and than the rate.

        Return the aliases in trouble that some wait for.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        signals = [
            Signal(key.table, key.partition_key, Scope.ROW, key.clustering or (), passed_on=True, since=row.since)
            for key in keys
        ]
        await self._gate.wait_open()
        refused = await hand_over_each(self._sink.submit_background, signals)
        share = self._rate / AT_ONCE
        await asyncio.sleep(max(0.0, len(keys) / share - (loop.time() - begun)))
        return {trouble.alias for trouble in refused.values() if trouble.alias is not None}
