"""The pending work: one entry for each key, however often the key changes, and at most one of them in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from cdc_daemon.model.document_operation import DocumentOutcome
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.ports import Flow, Watch
from cdc_daemon.pipeline.races import Doubts, Partition
from cdc_daemon.pipeline.ready_queue import Lane, ReadyQueue

_LOOK_AGAIN = 0.02
"""Seconds between two checks of what is in flight."""


class Coalescer:
    """Holds one pending entry for each key and hands entries out in order of arrival.

    A key that changes while it is in flight gets one new entry. That entry is handed out after the flight has ended,
    because its read has to begin after the change. `limit` bounds the entries pending and in flight; `submit`
    waits while the limit is reached. Entries are handed out by lanes: watched entries are urgent, and entries that
    can wait are in the background. Entries that wait for an alias in trouble are parked: they are not handed out
    until a new signal for their key arrives, or until `unpark`.
    """

    def __init__(self, *, limit: int = 50_000) -> None:
        self._limit = limit
        self._pending: dict[Key, Entry] = {}
        self._rows = ReadyQueue()
        self._partitions_ready = ReadyQueue()
        self._in_flight: set[Key] = set()
        self._delayed: dict[Key, asyncio.TimerHandle] = {}
        self._parked: set[Key] = set()
        self._partitions: dict[tuple[TableName, bytes], Partition] = {}
        self._doubts = Doubts()
        self._room = asyncio.Event()
        self._room.set()
        self._taken = 0
        self._coalesced = 0
        self._settled_rows = 0
        self._settled_partitions = 0
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._pending) + len(self._in_flight)

    def __contains__(self, key: object) -> bool:
        """Return whether a key is pending or in flight."""
        return key in self._pending or key in self._in_flight

    @property
    def in_flight(self) -> int:
        """Return the number of entries that are being read or written now."""
        return len(self._in_flight)

    @property
    def is_crowded(self) -> bool:
        """Return whether entries parked for aliases in trouble use so much of the limit that all others soon block."""
        return len(self._parked) > self._limit // 4

    @property
    def flow(self) -> Flow:
        """Return the counts of the signals so far, by result."""
        return Flow(self._taken, self._coalesced, self._settled_rows, self._settled_partitions, self._forgotten)

    async def submit(self, signals: Sequence[Signal], receipt: Receipt, *, background: bool = False) -> None:
        """Add signals; wait while the pipeline is full. The receipt is held for each entry that the signals join."""
        for signal in signals:
            while not self._room.is_set():
                await self._room.wait()
            self.add(signal, receipt, background=background)

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Add signals that can wait for all others; wait while the pipeline is full."""
        await self.submit(signals, receipt, background=True)

    async def submit_rows(self, keys: Sequence[Key], reading: Reading, receipt: Receipt) -> None:
        """Add rows that were already read, aligned with the keys, in the background lane.

        The result is the same as if each row were signalled and read in its turn: a row is read again if a change since
        the reading is known. ServerWaits while the pipeline is full.
        """
        for at, key in enumerate(keys):
            while not self._room.is_set():
                await self._room.wait()
            self._taken += 1
            entry = self._pending.get(key)
            if entry is not None:
                self._coalesced += 1
                entry.hold(receipt)
                self._bring_back(entry)
                continue
            entry = Entry(key)
            entry.background = True
            if key not in self._in_flight:
                entry.prefetched = (reading, at)
            entry.hold(receipt)
            self._enter(entry)

    def add(
        self, signal: Signal, receipt: Receipt | None, watches: Iterable[Watch] = (), *, background: bool = False
    ) -> Entry:
        """Add one signal at once, past the limit: for watched keys, and for work that frees more than it takes.

        With watches the key becomes urgent, even if it is already pending or waits for a retry. With `background` it
        waits for all others, unless it is already pending for another reason.
        Returns the entry that the signal joined.
        """
        key = Key.of(signal)
        self._taken += 1
        entry = self._pending.get(key)
        if entry is None:
            entry = Entry(key)
            entry.background = background
            entry.add(signal, receipt, watches)
            self._enter(entry)
            return entry
        self._coalesced += 1
        promoted = entry.background and not background
        entry.background = entry.background and background
        entry.add(signal, receipt, watches)
        if key.clustering is None:
            self._note_removal(entry)
        delay = self._delayed.pop(key, None) if entry.watches else None
        if delay is not None:
            delay.cancel()
            self._make_ready(entry)
        elif entry.queue is not None and (entry.watches or promoted):
            self._make_ready(entry)
        self._bring_back(entry)
        return entry

    def unacknowledged(self) -> list[Entry]:
        """Return the pending entries of known changes that hold receipts, including those that wait for a retry."""
        return [
            entry
            for key, entry in self._pending.items()
            if entry.receipts and (not entry.background or key in self._parked)
        ]

    def parked(self) -> list[Entry]:
        """Return the entries that wait for an alias in trouble; all of them hold receipts."""
        return [self._pending[key] for key in self._parked]

    def withdraw(self, keys: Iterable[Key]) -> None:
        """Remove the pending keys that nobody needs any more, because their watch was closed."""
        for key in keys:
            entry = self._pending.get(key)
            if entry is None or entry.wanted:
                continue
            del self._pending[key]
            self._forgotten += 1
            self._parked.discard(key)
            ReadyQueue.remove(entry)
            delay = self._delayed.pop(key, None)
            if delay is not None:
                delay.cancel()
            self._leave_partition(entry)
        self._set_room()

    async def take_rows(self, limit: int, lanes: Sequence[Lane] = (Lane.USUAL,)) -> list[Entry]:
        """Wait for pending rows; hand out up to `limit` of the first of these lanes that has some, oldest first.

        Rows of two lanes are never handed out together: a change would be written only when the hundreds of rows in
        the background are that were read with it.
        """
        await self._rows.wait(lanes)
        taken: list[Entry] = []
        lane = self._rows.first(lanes)
        while len(taken) < limit and (entry := self._rows.take(lane)) is not None:
            del self._pending[entry.key]
            self._in_flight.add(entry.key)
            if entry.key.clustering:
                self._partitions[entry.key[:2]].take_off(entry)
            taken.append(entry)
        self._doubts.judge(taken)
        return taken

    async def take_partition(self, lanes: Sequence[Lane] = (Lane.USUAL,)) -> Entry:
        """Wait for a pending partition for which no row read before its arrival is in flight."""
        while True:
            await self._partitions_ready.wait(lanes)
            entry = self._partitions_ready.take(lanes)
            if entry is not None:
                del self._pending[entry.key]
                self._in_flight.add(entry.key)
                return entry

    def settle(self, entry: Entry, documents: Sequence[DocumentOutcome] = ()) -> None:
        """End an entry's flight as done: release its receipts and notify its watches."""
        if entry.key.clustering is None:
            self._settled_partitions += 1
            if entry.prefixes:
                self._doubts.doubt_partition(*entry.key[:2], entry.removed)
        else:
            self._settled_rows += 1
        self._land(entry)
        entry.settle(documents)

    def retry(self, entry: Entry, delay: float) -> None:
        """End an entry's flight without a result: it is handed out again after `delay` seconds.

        Signals that arrived for the key in the meantime are merged into it. An entry that nobody needs is removed.
        """
        entry.attempts += 1
        if self._take_back(entry):
            loop = asyncio.get_running_loop()
            self._delayed[entry.key] = loop.call_later(delay, self._end_delay, entry.key)

    def park(self, entry: Entry, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome] = ()) -> None:
        """End an entry's flight without a result, because aliases take no writes; notify callers that can retry.

        `documents` are those that were settled under other aliases. An entry that no receipt holds is removed.
        """
        entry.refuse(troubles, documents)
        if self._take_back(entry):
            self._parked.add(entry.key)

    def unpark(self) -> None:
        """Hand out all entries that wait for an alias in trouble, because an alias may take writes again."""
        for entry in self.parked():
            self._bring_back(entry)

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        """Wait until each row of a table that was read, or is being read, has landed, for at most `seconds`."""
        self._doubts.doubt_table(table)
        flying = {key for key in self._in_flight if key.table == table}
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # This runs once per truncation; an event would cost time at every landing.
                while flying := flying & self._in_flight:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_AGAIN)

    def close(self) -> None:
        """Cancel the running delays; pending entries stay unacknowledged."""
        for handle in self._delayed.values():
            handle.cancel()
        self._delayed.clear()

    def abandon(self) -> None:
        """Count all that is pending as forgotten, after `close`: a new coalescer gets these changes again."""
        self._forgotten += len(self)
        self._pending.clear()
        self._in_flight.clear()

    def _take_back(self, entry: Entry) -> bool:
        """End an entry's flight without result; return whether it is now a pending entry of its own."""
        entry.prefetched = None
        newer = self._pending.get(entry.key)
        if newer is not None:
            newer.merge(entry)
            self._coalesced += 1
        elif not entry.wanted:
            self._forgotten += 1
        if newer is not None or not entry.wanted:
            self._land(entry)
            return False
        self._in_flight.discard(entry.key)
        self._pending[entry.key] = entry
        self._leave_partition_flight(entry)
        return True

    def _bring_back(self, entry: Entry) -> None:
        """Hand an entry out again if it is parked."""
        if entry.key in self._parked:
            self._parked.remove(entry.key)
            self._make_ready(entry)

    def _end_delay(self, key: Key) -> None:
        del self._delayed[key]
        self._make_ready(self._pending[key])

    def _enter(self, entry: Entry) -> None:
        key = entry.key
        self._pending[key] = entry
        if key.clustering != ():
            partition = self._partitions.get(key[:2])
            if partition is None:
                partition = self._partitions[key[:2]] = Partition()
            partition.rows += 1
        if key.clustering is None:
            self._note_removal(entry)
        if key not in self._in_flight:
            self._make_ready(entry)
        self._set_room()

    def _note_removal(self, entry: Entry) -> None:
        partition = self._partitions[entry.key[:2]]
        partition.note_removal(entry.removed)
        if partition.before and entry.queue is not None:
            ReadyQueue.remove(entry)
            partition.waiting = entry

    def _make_ready(self, entry: Entry) -> None:
        if entry.key.clustering is not None:
            self._rows.put(entry)
            return
        partition = self._partitions[entry.key[:2]]
        if partition.before:
            partition.waiting = entry
        else:
            self._partitions_ready.put(entry)

    def _land(self, entry: Entry) -> None:
        self._in_flight.discard(entry.key)
        self._leave_partition_flight(entry)
        self._leave_partition(entry)
        newer = self._pending.get(entry.key)
        if newer is not None:
            self._make_ready(newer)
        self._set_room()

    def _leave_partition(self, entry: Entry) -> None:
        if entry.key.clustering == ():
            return
        partition = self._partitions[entry.key[:2]]
        if partition.waiting is entry:
            partition.waiting = None
        partition.rows -= 1
        if not partition.rows:
            del self._partitions[entry.key[:2]]

    def _leave_partition_flight(self, entry: Entry) -> None:
        if not entry.key.clustering:
            return
        removal = self._partitions[entry.key[:2]].land(entry)
        if removal is not None:
            self._partitions_ready.put(removal)

    def _set_room(self) -> None:
        if len(self._pending) + len(self._in_flight) >= self._limit:
            self._room.clear()
        elif not self._room.is_set():
            self._room.set()
