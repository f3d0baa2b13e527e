"""The workers between the coalescer and the servers, and their start, drain and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CassandraReadError, CdcError, Trouble, alias_of
from cdc_daemon.model.signal import Key, Signal
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.ports import Watch, Writer
from cdc_daemon.pipeline.ready_queue import Lane
from cdc_daemon.pipeline.row_processor import RowProcessor
from cdc_daemon.pipeline.server_waits import RetryPause, ServerWaits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.pipeline.unreadable import UnreadablePartitions

EXPANDERS = 2
"""Partitions expanded in parallel: two, so that a huge one does not block all others."""

URGENT_WORKERS = 2
"""Workers reserved for watched keys: the others may all be busy with full batches."""

USUAL = (Lane.USUAL,)
URGENT = (Lane.URGENT,)
BACKGROUND = (Lane.BACKGROUND,)
USUAL_FIRST = (Lane.USUAL, Lane.BACKGROUND)


class Pipeline:
    """Runs the workers that write the documents of pending keys, and takes requests for keys by name.

    Sources submit their signals to the coalescer.

    `workers` batches of up to `batch` rows are read and written in parallel. A worker takes what is
    pending at once, so an idle pipeline adds no delay, and a busy one fills its batches. Watched keys
    have their own workers, so neither waits for the other's batches. Background keys have one worker of their
    own, and any other idle worker except the first. So a change finds a worker at once, however many keys are in
    the background, and the background makes progress, however many changes there are.
    Keys with documents that wait for an alias that takes no writes are parked; `troubled` reports these aliases.
    `doubt` is called with the alias when Elasticsearch did not answer a request other than a write.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        rows: RowProcessor,
        expansion: Expansion,
        unreadable: UnreadablePartitions,
        writer: Writer,
        server_waits: ServerWaits | None = None,
        troubled: Troubled | None = None,
        doubt: Callable[[str], None] = lambda _: None,
        workers: int = 4,
        batch: int = 500,
    ) -> None:
        self._pause = RetryPause(server_waits or ServerWaits(), doubt)
        self._troubled = troubled or Troubled()
        self._coalescer = coalescer
        self._rows = rows
        self._expansion = expansion
        self._unreadable = unreadable
        self._writer = writer
        self._workers = workers
        self._batch = batch

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        """Submit signals past the pending limit; `watch` is notified when each key is settled.

        Rows are read for it after this call.
        """
        for signal in signals:
            self._coalescer.add(signal, None, (watch,))

    def withdraw(self, keys: Iterable[Key]) -> None:
        """Remove keys that are not settled and have a closed watch, unless someone else needs them."""
        given = list(keys)
        self._coalescer.withdraw(given)
        self._expansion.abandon(given)

    async def run(self) -> None:
        """Run until cancelled; keys that are not settled then stay unacknowledged."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._workers):
                    lanes = USUAL_FIRST if number else USUAL
                    tasks.create_task(self._run_rows(lanes), name=f"rows-{number}")
                for number in range(EXPANDERS):
                    tasks.create_task(self._expand_partitions(USUAL), name=f"partitions-{number}")
                for number in range(URGENT_WORKERS):
                    tasks.create_task(self._run_rows(URGENT), name=f"urgent-rows-{number}")
                tasks.create_task(self._expand_partitions(URGENT), name="urgent-partitions")
                tasks.create_task(self._run_rows(BACKGROUND), name="background-rows")
                tasks.create_task(self._expand_partitions(BACKGROUND), name="background-partitions")
        finally:
            self._coalescer.close()

    async def _run_rows(self, lanes: Sequence[Lane]) -> None:
        await self._rows.run(lanes, limit=self._batch, pause=self._pause)

    async def _expand_partitions(self, lanes: Sequence[Lane]) -> None:
        backoff = Backoff()
        while True:
            await self._writer.wait_available()
            entry = await self._coalescer.take_partition(lanes)
            if (hopeless := self._expansion.hopeless(entry, self._troubled)) is not None:
                self._coalescer.park(entry, hopeless)
                continue
            troubles: dict[str, Trouble] = {}
            try:
                await self._expand(entry, troubles)
                backoff.reset()
            except CdcError as error:
                if troubles := self._troubled.among([alias] if (alias := alias_of(error)) else []):
                    self._coalescer.park(entry, troubles)
                    continue
                entry.delay(Trouble.of(error))
                self._coalescer.retry(entry, Backoff.delay(entry.attempts))
                await self._pause.after(error, backoff)
            except BaseException:
                self._coalescer.retry(entry, 0.0)
                raise

    async def _expand(self, entry: Entry, troubles: dict[str, Trouble]) -> None:
        """Expand a partition and end its flight; if this raises, the caller ends the flight."""
        try:
            done = await self._expansion.expand(entry, troubles)
        except CassandraReadError as error:
            if not await self._unreadable.take(entry, error):
                raise
            return
        if done and troubles:
            still = self._troubled.among(troubles)
            if still:
                self._coalescer.park(entry, still)
            else:
                self._coalescer.retry(entry, 0.0)
        elif done:
            await self._unreadable.note_read(entry)
            self._coalescer.settle(entry)
        else:
            self._coalescer.retry(entry, 0.0)
