"""Several daemons poll one table: each row is handed on once, and a daemon that is gone is replaced."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import pytest
from cassandra.metadata import Murmur3Token

from cdc_daemon.cassandra.ring import LARGEST, SMALLEST, WHOLE_RING, TokenRange, merge
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.peers.members import GONE_SECONDS, Members
from cdc_daemon.sources.poll.division import RANGES, SLICES, PollDivision, ranges_of, slice_of, topic_of
from cdc_daemon.sources.poll.poller import Poller
from cdc_daemon.sources.poll.rows import PolledRow, in_ranges

TABLE = TableName("shop", "orders")
NAME = str(TABLE)
SECOND = 1_000_000
OVERLAP = 400.0
"""Seconds after which a turn does not query a change again."""


def test_the_slices_are_the_ring() -> None:
    assert merge(RANGES) == [WHOLE_RING]
    for number, each in enumerate(RANGES):
        assert slice_of(each.first + 1) == slice_of(each.last) == number
    assert (slice_of(SMALLEST + 1), slice_of(LARGEST)) == (0, SLICES - 1)
    assert ranges_of([3, 4, 9]) == [TokenRange(RANGES[3].first, RANGES[4].last), RANGES[9]]


class Table:
    """A table, its documents, and the daemons that poll it."""

    def __init__(self, *names: str) -> None:
        self.now = 10_000 * SECOND
        self.rows: list[PolledRow] = []
        self.versions: dict[Key, int] = {}
        self.written: Counter[bytes] = Counter()
        self.read: Counter[str] = Counter()
        self.listed: Counter[bytes] = Counter()
        self.daemons = {name: Daemon(self, name) for name in names}
        self.down: set[str] = set()

    def change(self, count: int, prefix: str) -> None:
        for number in range(count):
            self.rows.append(PolledRow(Key(TABLE, f"{prefix}{number}".encode(), ()), self.now, None))

    async def turn(self, *, after: float = 10.0) -> None:
        self.now += int(after * SECOND)
        up = [each for name, each in self.daemons.items() if name not in self.down]
        for each in up:
            await each.members.refresh()
        for each in up:
            await each.poller.poll()


class Daemon:
    """One daemon: what it has stored, and its poller."""

    def __init__(self, table: Table, name: str) -> None:
        self.table = table
        self.name = name
        self.stored: dict[int, int] = {}
        self.whole: int | None = None
        self.watermarks: list[int] = []
        self.start()

    def start(self, **options: Any) -> None:
        table = self.table
        self.members = Members(
            self.name,
            self.ask,
            topics=lambda: [topic_of(NAME)],
            on_answer=lambda answer: self.division.learn(answer["polls"]),
            now=lambda: table.now / 1e6,
        )
        self.division = PollDivision(self.members, self, now=lambda: table.now)
        self.division.load(NAME)
        settings = PollSettings.model_validate(
            {"table": NAME, "strategy": "scan", "column": "changed", "rate": 1_000_000, **options}
        )
        self.poller = Poller(
            settings,
            source=self,
            all_rows=self,
            sink=self,
            documents=self,
            watermarks=self,  # type: ignore[arg-type]  # a divided table is saved by slices
            observer=self,
            now=lambda: table.now,
            division=self.division,
        )

    async def ask(self) -> Iterable[Any]:
        return [
            {"id": name, "topics": [topic_of(NAME)], "polls": each.division.report()}
            for name, each in self.table.daemons.items()
            if name not in self.table.down
        ]

    async def pages(self, since: int, ranges: Sequence[TokenRange] | None = None) -> AsyncIterator[Sequence[PolledRow]]:
        assert ranges
        page = in_ranges([row for row in self.table.rows if row.changed >= since], ranges)
        self.table.read[self.name] += len(page)
        self.table.listed.update(row.key.partition_key for row in page)
        yield page

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        assert isinstance(receipt, Receipt)
        for signal in signals:
            self.table.written[signal.partition_key] += 1
            self.table.versions[Key.of(signal)] = self.table.now

    async def behind(self, rows: Sequence[PolledRow], *, margin: int) -> list[PolledRow]:
        return [each for each in rows if self.table.versions.get(each.key, 0) <= each.changed + margin]

    def load(self, table: str) -> int | None:
        assert table == NAME
        return self.whole

    def load_slices(self, table: str) -> Mapping[int, int]:
        assert table == NAME
        return dict(self.stored)

    def save_slices(self, table: str, moments: Mapping[int, int]) -> None:
        assert table == NAME
        self.stored |= moments

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        pass

    def watermark(self, table: TableName, moment: int) -> None:
        assert table == TABLE
        self.watermarks.append(moment)

    def planned(self, table: TableName, interval: float) -> None:
        pass

    def untimed(self, table: TableName, rows: int) -> None:
        pass


async def test_three_pollers_cost_as_much_as_one() -> None:
    table = Table("a", "b", "c")
    table.change(300, "old")
    await table.turn()
    assert len(table.written) == 300
    assert set(table.written.values()) == {1}
    assert sum(table.read.values()) == 300
    assert min(table.read.values()) > 30


async def test_another_daemon_takes_over_from_one_that_is_gone_and_misses_nothing() -> None:
    table = Table("a", "b", "c")
    table.change(100, "old")
    await table.turn(after=OVERLAP)
    await table.turn()
    table.down.add("b")
    table.change(200, "while it is gone")
    await table.turn(after=GONE_SECONDS / 2)
    assert len(table.written) < 300
    await table.turn(after=GONE_SECONDS)
    assert len(table.written) == 300
    # What the other daemon had polled is not read in full again.
    assert set(table.written.values()) == {1}
    assert {count for name, count in table.listed.items() if name.startswith(b"old")} == {1}


@pytest.mark.parametrize("lost_state", [False, True])
async def test_a_daemon_that_returns_continues_where_the_others_are(lost_state: bool) -> None:
    table = Table("a", "b")
    table.change(100, "old")
    await table.turn(after=OVERLAP)
    table.down.add("b")
    await table.turn(after=2 * GONE_SECONDS)
    table.change(100, "new")
    await table.turn(after=OVERLAP)
    await table.turn(after=OVERLAP)
    if lost_state:
        table.daemons["b"].stored.clear()
    table.daemons["b"].start()
    table.down.clear()
    table.change(100, "newest")
    table.read.clear()
    await table.turn()
    assert len(table.written) == 300
    assert {name: count for name, count in table.written.items() if name.startswith(b"new") and count != 1} == {}
    assert table.read.total() == 100


async def test_a_table_that_one_daemon_has_polled_alone_is_not_read_in_full_again() -> None:
    table = Table("a", "b")
    table.change(100, "old")
    table.now += int(OVERLAP * SECOND)
    table.daemons["a"].whole = table.now
    table.daemons["a"].start()
    await table.turn()
    assert table.read.total() == 0
    table.change(100, "new")
    await table.turn()
    assert set(table.written.values()) == {1}
    assert len(table.written) == 100


async def test_from_now_on_means_that_old_rows_are_left() -> None:
    table = Table("a", "b")
    table.change(50, "old")
    table.now += 4000 * SECOND
    for each in table.daemons.values():
        each.start(start="now")
    await table.turn()
    assert table.written.total() == 0
    table.change(50, "new")
    await table.turn()
    assert len(table.written) == 50


async def test_two_that_do_not_see_each_other_cost_more_and_miss_nothing() -> None:
    table = Table("a", "b")
    await table.turn()
    for name, each in table.daemons.items():

        async def alone(daemon: Daemon = each) -> Iterable[Any]:
            return [{"id": daemon.name, "topics": [], "polls": {}}]

        each.members = Members(name, alone, topics=lambda: [topic_of(NAME)])
        each.division = PollDivision(each.members, each, now=lambda: table.now)
        each.division.load(NAME)
        each.poller._division = each.division
    table.change(100, "new")
    await table.turn()
    assert len(table.written) == 100
    assert table.read.total() >= 200


@pytest.mark.parametrize("report", [None, 7, [], {NAME: None}, {NAME: [1]}, {NAME: ["x"] * SLICES}, {"other": []}])
def test_a_report_of_any_shape_does_no_harm(report: Any) -> None:
    daemon = Table("a").daemons["a"]
    daemon.division.learn(report)
    assert daemon.division.report() == {NAME: [None] * SLICES}


def test_a_watermark_of_a_clock_ahead_is_cut() -> None:
    table = Table("a")
    division = table.daemons["a"].division
    division.learn({NAME: [table.now + 3600 * SECOND] * SLICES})
    assert division.report() == {NAME: [table.now] * SLICES}


async def test_one_daemon_of_a_row() -> None:
    """The token decides, whatever the shape of the key."""
    row = PolledRow(Key(TABLE, b"key", ()), 1, None)
    number = slice_of(Murmur3Token.hash_fn(b"key"))
    assert in_ranges([row], ranges_of([number])) == [row]
    assert in_ranges([row], ranges_of(each for each in range(SLICES) if each != number)) == []
