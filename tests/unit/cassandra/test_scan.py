"""How a scan goes on when Cassandra is slow: smaller pages, pauses, a rate."""

from __future__ import annotations

import pytest

from cdc_daemon.cassandra.paging import LONGEST_PAUSE, SMALLEST_PAGE, PageResult, Pages, ScanThrottle
from cdc_daemon.model.errors import CassandraUnavailableError


class SlowTable:
    """Ten thousand rows, of which pages above a size never come."""

    def __init__(self, *, rows: int = 1000, largest: int) -> None:
        self.rows = rows
        self.largest = largest
        self.sizes: list[int] = []

    async def ask(self, state: bytes | None, size: int) -> PageResult:
        self.sizes.append(size)
        if size > self.largest:
            raise CassandraUnavailableError("timed out")
        start = int(state or b"0")
        end = min(self.rows, start + size)
        return [(token,) for token in range(start, end)], str(end).encode() if end < self.rows else None


async def read(table: SlowTable, *, patience: float = 60.0) -> list[int]:
    pages = Pages(table.ask, page_rows=400, pace=ScanThrottle(), patience=patience)
    return [row[0] async for rows, _ in pages for row in rows]


async def test_pages_that_do_not_come_are_asked_for_again_smaller() -> None:
    table = SlowTable(largest=150)
    assert await read(table) == list(range(1000))
    assert table.sizes[:3] == [400, 200, 100]
    assert max(table.sizes[3:]) > 100, "they grow again"


async def test_it_gives_up_after_its_patience() -> None:
    table = SlowTable(largest=0)
    with pytest.raises(CassandraUnavailableError):
        await read(table, patience=0.2)
    assert min(table.sizes) >= SMALLEST_PAGE


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def pace(self, rate: float | None = None) -> ScanThrottle:
        return ScanThrottle(rate, clock=lambda: self.now, sleep=self.sleep)


async def test_a_rate_is_kept() -> None:
    time = Time()
    pace = time.pace(100)
    for _ in range(11):
        await pace.take(50)
    assert time.now == pytest.approx(5.0)


async def test_it_slows_down_while_cassandra_is_slow_and_recovers() -> None:
    time = Time()
    pace = time.pace()
    for _ in range(5):
        await pace.after_page(0.02)
    assert time.slept == []
    for _ in range(6):
        await pace.after_page(0.5)
    assert time.slept[0] == 0.5
    assert max(time.slept) == LONGEST_PAUSE
    for _ in range(10):
        await pace.after_page(0.02)
    assert pace.pause == 0.0


async def test_what_is_slow_for_long_is_the_usual() -> None:
    time = Time()
    pace = time.pace()
    await pace.after_page(0.1)
    for _ in range(200):
        await pace.after_page(0.5)
    assert pace.pause == 0.0
