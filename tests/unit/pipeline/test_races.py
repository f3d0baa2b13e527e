"""Rows that come with their reading: used as they are only while nothing is known to have happened since."""

from __future__ import annotations

import time

import pytest

from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.races import PREFETCH_SECONDS
from cdc_daemon.pipeline.ready_queue import Lane
from cdc_daemon.pipeline.row_batch import ReadRows

TABLE = TableName("k", "t")
LANES = (Lane.BACKGROUND, Lane.USUAL)


def key(number: int) -> Key:
    return Key(TABLE, b"p", (bytes([number]),))


class Scanned:
    """Three rows of one partition, handed over with their reading."""

    def __init__(self, *, age: float = 0.0) -> None:
        self.coalescer = Coalescer()
        self.settled = False
        self.keys = [key(number) for number in range(3)]
        states = [RowState((number,), None) for number in range(3)]
        self.reading = Reading(7, time.monotonic() - age, ("c",), states)

    def _note(self) -> None:
        self.settled = True

    async def submit(self) -> None:
        receipt = Receipt(self._note)
        await self.coalescer.submit_rows(self.keys, self.reading, receipt)
        receipt.release()

    async def prefetched(self) -> list[int]:
        """Take the rows; return those that need no reading."""
        taken: list[Entry] = []
        while len(taken) < len(self.keys):  # each lane has batches of its own
            taken += await self.coalescer.take_rows(10, LANES)
        assert sorted(entry.key for entry in taken) == self.keys
        parts = list(ReadRows.prefetched(taken))
        rows = [state.row[0] for _, reading in parts for state in reading.states if state.row]
        assert rows == [entry.key.clustering[0][0] for several, _ in parts for entry in several]  # type: ignore[index]
        for entry in taken:
            self.coalescer.settle(entry)
        assert self.settled
        return rows


async def test_nobody_reads_again_what_was_read_a_moment_ago() -> None:
    scanned = Scanned()
    await scanned.submit()
    assert await scanned.prefetched() == [0, 1, 2]


async def test_a_signal_lets_its_row_be_read_again() -> None:
    scanned = Scanned()
    await scanned.submit()
    scanned.coalescer.add(Signal(TABLE, b"p", Scope.ROW, (b"\x01",)), None)
    assert sorted(await scanned.prefetched()) == [0, 2]


async def test_a_row_that_is_pending_is_read_at_its_turn() -> None:
    scanned = Scanned()
    scanned.coalescer.add(Signal(TABLE, b"p", Scope.ROW, (b"\x00",)), None, background=True)
    await scanned.submit()
    assert await scanned.prefetched() == [1, 2]


async def test_what_has_waited_long_is_read_again() -> None:
    scanned = Scanned(age=PREFETCH_SECONDS + 0.1)
    await scanned.submit()
    assert await scanned.prefetched() == []


@pytest.mark.parametrize("pending", [False, True], ids=["settled before", "pending"])
async def test_a_removal_of_several_rows_lets_all_be_read_again(pending: bool) -> None:
    """Its documents were looked for in the index, where these rows were not yet."""
    scanned = Scanned()
    if pending:
        await scanned.submit()
    removal = scanned.coalescer.add(Signal(TABLE, b"p", Scope.PARTITION, removed=5), Receipt(lambda: None))
    taken = await scanned.coalescer.take_partition()
    assert taken is removal
    scanned.coalescer.settle(taken)
    if not pending:
        await scanned.submit()
    assert await scanned.prefetched() == []


async def test_a_removal_in_another_partition_is_no_reason() -> None:
    scanned = Scanned()
    scanned.coalescer.add(Signal(TABLE, b"other", Scope.PARTITION, removed=5), Receipt(lambda: None))
    scanned.coalescer.settle(await scanned.coalescer.take_partition())
    await scanned.submit()
    assert await scanned.prefetched() == [0, 1, 2]


async def test_who_waits_for_reads_to_land_waits_for_none_of_these() -> None:
    scanned = Scanned()
    await scanned.submit()
    await scanned.coalescer.wait_landed(TABLE, 1.0)
    assert await scanned.prefetched() == []


async def test_what_is_read_after_all_that_is_used() -> None:
    scanned = Scanned()
    await scanned.coalescer.wait_landed(TABLE, 1.0)
    scanned.reading = scanned.reading._replace(began=time.monotonic() + 1e-6)
    await scanned.submit()
    assert await scanned.prefetched() == [0, 1, 2]


async def test_a_row_that_is_tried_again_is_read_again() -> None:
    scanned = Scanned()
    await scanned.submit()
    for entry in await scanned.coalescer.take_rows(10, LANES):
        scanned.coalescer.retry(entry, 0.0)
    assert await scanned.prefetched() == []
