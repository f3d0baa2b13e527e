"""The application: writes changes at a steady rate, during outages too."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.query import BatchStatement, BatchType

from sandbox.demo.change import STATEMENTS, Change, Changes, Kind
from sandbox.demo.client import write

WRITE_ERRORS = (DriverException, RequestExecutionException, NoHostAvailable)
"""What the driver raises when a write is not acknowledged."""

_IN_FLIGHT = 256
_PAUSE = 0.01
_LARGEST_LAG = 1.0


class Writer:
    """Writes `rate` rows a second until `stop`.

    `written` counts the acknowledged rows by the kind of their change, `failed` the requests that were not
    acknowledged. These may be applied or not; the final comparison accepts both.
    """

    def __init__(self, session: Session, *, rate: int, source: random.Random) -> None:
        self._session = session
        self._rate = rate
        self._changes = Changes(source)
        self._prepared: Mapping[str, Any] = {}
        self._stop = asyncio.Event()
        self.written: Counter[Kind] = Counter()
        self.failed = 0
        self.began = 0.0
        self.ended = 0.0

    @property
    def total(self) -> int:
        """Rows written and acknowledged."""
        return self.written.total()

    def stop(self) -> None:
        """Begin no more writes; `run` returns when those in flight are acknowledged."""
        self._stop.set()

    async def run(self) -> None:
        """Write until `stop`."""
        self._prepared = await asyncio.to_thread(lambda: {cql: self._session.prepare(cql) for cql in STATEMENTS})
        slots = asyncio.Semaphore(_IN_FLIGHT)
        due = self.began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            while not self._stop.is_set():
                now = time.monotonic()
                due = max(due, now - _LARGEST_LAG)  # what a standstill held up is not made up for in one burst
                while due <= now and not self._stop.is_set():
                    change = self._changes.next()
                    due += len(change.rows) / self._rate
                    await slots.acquire()
                    tasks.create_task(self._write(change, slots))
                await asyncio.sleep(_PAUSE)
        self.ended = time.monotonic()

    async def _write(self, change: Change, slots: asyncio.Semaphore) -> None:
        try:
            await write(self._session, *self._statement(change))
            self.written[change.kind] += len(change.rows)
        except WRITE_ERRORS:
            self.failed += 1
        finally:
            slots.release()

    def _statement(self, change: Change) -> tuple[Any, Any]:
        if change.kind not in _BATCHES:
            ((cql, values),) = change.rows
            return self._prepared[cql], values
        batch = BatchStatement(_BATCHES[change.kind])
        for cql, values in change.rows:
            batch.add(self._prepared[cql], values)
        return batch, None


_BATCHES = {Kind.LOGGED_BATCH: BatchType.LOGGED, Kind.UNLOGGED_BATCH: BatchType.UNLOGGED}
