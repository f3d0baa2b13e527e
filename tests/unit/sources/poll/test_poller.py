"""The turns of a poller, with a simulated table and index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import CassandraUnavailableError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.sources.poll.poller import MOST_REMEMBERED, Poller
from cdc_daemon.sources.poll.rows import PolledRow

TABLE = TableName("shop", "orders")
SECOND = 1_000_000


def row(name: str, moment: int | None, written: int | None = None) -> PolledRow:
    return PolledRow(Key(TABLE, name.encode(), ()), moment, written)


@dataclass
class World:
    """A table, the versions of its documents, a clock, and the submitted rows."""

    now: int = 10_000 * SECOND
    rows: list[PolledRow] = field(default_factory=list)
    versions: dict[Key, int] = field(default_factory=dict)
    saved: dict[str, int] = field(default_factory=dict)
    submitted: list[list[bytes]] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    open_receipts: list[Receipt] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    told: list[tuple[int, int, int]] = field(default_factory=list)
    reached: list[int] = field(default_factory=list)
    intervals: list[float] = field(default_factory=list)
    untold: list[int] = field(default_factory=list)
    hold: bool = False
    broken: bool = False

    async def pages(self, since: int, ranges: Sequence[TokenRange] | None = None) -> AsyncIterator[Sequence[PolledRow]]:
        self.asked.append(since)
        assert ranges is None
        for at in range(0, len(self.rows), 2):
            yield self.rows[at : at + 2]
        if self.broken:
            raise CassandraUnavailableError("gone")

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        self.submitted.append([signal.partition_key for signal in signals])
        self.signals += signals
        if self.hold:
            receipt.hold()
            self.open_receipts.append(receipt)
        for signal in signals:
            self.versions[Key.of(signal)] = self.now

    async def behind(self, rows: Sequence[PolledRow], *, margin: int) -> list[PolledRow]:
        return [each for each in rows if self.versions.get(each.key, 0) <= each.changed + margin]

    def load(self, table: str) -> int | None:
        return self.saved.get(table)

    def save(self, table: str, moment: int) -> None:
        self.saved[table] = moment

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        assert table == TABLE
        self.told.append((submitted, known, fresh))

    def watermark(self, table: TableName, moment: int) -> None:
        assert table == TABLE
        assert moment <= self.now
        self.reached.append(moment)

    def planned(self, table: TableName, interval: float) -> None:
        assert table == TABLE
        self.intervals.append(interval)

    def untimed(self, table: TableName, rows: int) -> None:
        assert table == TABLE
        self.untold.append(rows)

    def poller(self, *, most_remembered: int = MOST_REMEMBERED, **options: Any) -> Poller:
        settings = PollSettings.model_validate(
            {"table": "shop.orders", "strategy": "scan", "column": "changed", "rate": 1_000_000, **options}
        )
        return Poller(
            settings,
            source=self,
            all_rows=self,
            sink=self,
            documents=self,
            watermarks=self,
            observer=self,
            now=lambda: self.now,
            most_remembered=most_remembered,
        )

    def handed_on(self) -> list[bytes]:
        return [key for page in self.submitted for key in page]


@pytest.fixture
def world() -> World:
    return World()


async def test_the_first_turn_hands_on_every_row(world: World) -> None:
    world.rows = [row("old", 5), row("none", None), row("new", world.now - 2 * SECOND)]
    await world.poller().poll()
    assert world.handed_on() == [b"old", b"none", b"new"]
    assert world.saved == {"shop.orders": world.now - 5 * SECOND}
    assert {signal.written for signal in world.signals} == {0}


async def test_from_now_on_means_that_old_rows_are_left(world: World) -> None:
    world.rows = [row("old", world.now - 400 * SECOND), row("new", world.now - 2 * SECOND, world.now - 2 * SECOND)]
    await world.poller(start="now").poll()
    assert world.handed_on() == [b"new"]
    assert world.signals[0].written == world.now - 2 * SECOND
    assert world.signals[0].since == world.now - 2 * SECOND


async def test_a_turn_begins_before_the_watermark_and_repeats_nothing(world: World) -> None:
    poller = world.poller()
    world.rows = [row("a", world.now - 10 * SECOND)]
    await poller.poll()
    world.now += 30 * SECOND
    world.rows.append(row("late", world.now - 100 * SECOND))
    await poller.poll()
    assert world.asked == [0, world.now - 30 * SECOND - 305 * SECOND]
    assert world.handed_on() == [b"a", b"late"]
    assert world.told[-1] == (1, 1, 0)


async def test_a_row_changed_again_is_handed_on_again(world: World) -> None:
    poller = world.poller()
    world.rows = [row("a", world.now)]
    await poller.poll()
    world.now += SECOND
    world.rows = [row("a", world.now)]
    await poller.poll()
    assert world.handed_on() == [b"a", b"a"]


async def test_rows_whose_documents_were_read_later_need_nothing(world: World) -> None:
    changed = world.now - 600 * SECOND
    world.rows = [row("shown", changed), row("just", changed), row("missing", changed)]
    world.versions = {world.rows[0].key: changed + 306 * SECOND, world.rows[1].key: changed + 304 * SECOND}
    await world.poller().poll()
    assert world.handed_on() == [b"just", b"missing"]


async def test_a_document_read_between_a_moment_and_its_appearance_does_not_hide_the_change(world: World) -> None:
    """The writer's clock is 100 s behind, and changes the row twice within that."""
    poller = world.poller(start="now")
    world.rows = [row("a", world.now - 100 * SECOND, world.now - 100 * SECOND)]
    await poller.poll()
    world.now += 30 * SECOND
    world.rows = [row("a", world.now - 100 * SECOND, world.now - 100 * SECOND)]
    await poller.poll()
    assert world.handed_on() == [b"a", b"a"]


async def test_more_changes_than_are_remembered_are_not_read_in_each_turn(world: World) -> None:
    poller = world.poller(most_remembered=3)
    world.rows = [row(name, world.now - 60 * SECOND) for name in "abcd"]
    with capture_logs() as logs:
        await poller.poll()
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["poll.memory_full"]
    world.now += 30 * SECOND
    await poller.poll()
    assert world.handed_on() == [b"a", b"b", b"c", b"d"]
    assert world.told[-2:] == [(0, 1, 1), (0, 2, 0)]


async def test_a_row_met_within_the_lag_of_its_change_is_read_once_more_after_it(world: World) -> None:
    """The first read may have been between the statements that together make one change."""
    poller = world.poller(start="now", every="1s")
    world.rows = [row("young", world.now - 2 * SECOND), row("old", world.now - 6 * SECOND)]
    for _ in range(10):
        await poller.poll()
        world.now += SECOND
    assert world.submitted == [[b"young", b"old"], [b"young"]]


@pytest.mark.parametrize("ahead", [3600, 250_000_000_000])
async def test_a_moment_ahead_of_the_clock_is_seen_at_once_and_not_in_each_turn(world: World, ahead: int) -> None:
    """Nor does it keep others from being seen."""
    poller = world.poller(start="now")
    world.rows = [row("ahead", world.now + ahead * SECOND)]
    await poller.poll()
    await poller.poll()
    assert world.handed_on() == [b"ahead"]
    assert world.signals[0].since == world.now
    for _ in range(5):
        world.now += 30 * SECOND
        await poller.poll()
    assert world.handed_on() == [b"ahead", b"ahead"]
    world.rows.append(row("later", world.now - 10 * SECOND))
    await poller.poll()
    assert world.handed_on()[2:] == [b"later"]


async def test_the_watermark_waits_for_what_was_handed_on(world: World) -> None:
    world.hold = True
    world.rows = [row("a", world.now)]
    turn = asyncio.create_task(world.poller().poll())
    while not world.open_receipts:  # noqa: ASYNC110 -- what is waited for has no event of its own
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert not turn.done()
    assert world.saved == {}
    world.open_receipts[0].release()
    await turn
    assert world.saved


async def test_a_turn_that_breaks_off_leaves_the_watermark_and_is_repeated(world: World) -> None:
    poller = world.poller()
    world.rows = [row("a", world.now)]
    world.broken = True
    with pytest.raises(CassandraUnavailableError):
        await poller.poll()
    assert world.saved == {}
    world.broken = False
    world.versions.clear()
    await poller.poll()
    assert world.handed_on() == [b"a", b"a"]


async def test_a_watermark_ahead_of_the_clock_loses_nothing(world: World) -> None:
    world.saved = {"shop.orders": world.now + 86_400 * SECOND}
    world.rows = [row("a", world.now - SECOND)]
    await world.poller().poll()
    assert world.handed_on() == [b"a"]
    assert world.saved == {"shop.orders": world.now - 5 * SECOND}


async def test_rows_that_tell_nothing_are_left_after_the_first_turn_and_counted(world: World) -> None:
    poller = world.poller()
    world.rows = [row("none", None)]
    await poller.poll()
    with capture_logs() as logs:
        await poller.poll()
    assert world.handed_on() == [b"none"]
    assert world.untold == [1, 1]
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["poll.rows_untimed"]


async def test_a_row_without_a_moment_goes_by_its_write_time(world: World) -> None:
    poller = world.poller(start="now")
    world.rows = [row("old", None, world.now - 900 * SECOND), row("new", None, world.now - 10 * SECOND)]
    with capture_logs() as logs:
        await poller.poll()
    assert world.handed_on() == [b"new"]
    assert world.untold == [0]
    assert [(each["event"], each["rows"]) for each in logs if "hint" in each] == [("poll.rows_without_moment", 2)]


async def test_a_turn_tells_first_how_far_the_table_was_seen(world: World) -> None:
    world.saved["shop.orders"] = world.now - 900 * SECOND
    world.broken = True
    with pytest.raises(CassandraUnavailableError):
        await world.poller(every="10m").poll()
    assert world.reached == [world.now - 900 * SECOND]
    assert world.intervals == [600]
    world.broken = False
    await world.poller().poll()
    assert world.reached[-1] == world.now - 5 * SECOND


async def test_a_watermark_of_a_clock_that_was_ahead_is_not_told(world: World) -> None:
    world.saved["shop.orders"] = world.now + 900 * SECOND
    await world.poller().poll()
    assert set(world.reached) == {world.now - 5 * SECOND}
