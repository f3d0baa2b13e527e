"""The order of steps of a refresh, with a real coalescer, gate and store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError, Trouble
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.ready_queue import Lane
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.sources.dependents.finders import DependentFinder
from cdc_daemon.sources.dependents.refresher import AT_ONCE, DependentsRefresher, StoredChangedRows
from cdc_daemon.store import Store
from cdc_daemon.store.dependents import ChangedRow
from tests.unit.pipeline.troubles import BlockedAliases

ALL = (Lane.USUAL, Lane.BACKGROUND)
USER, ORGANISATION = TableName("shop", "user"), TableName("shop", "organisation")


def user(name: str) -> Key:
    return Key(USER, name.encode(), ())


class World:
    """A queue on disk, a coalescer that only the test empties, and an index that the test fills."""

    shown_in = USER

    def __init__(self, store: Store) -> None:
        self.store = store
        self.coalescer = Coalescer()
        self.pages: list[list[Key]] = []
        self.searches: list[tuple[bytes, int]] = []
        self.broken = 0
        self.always_broken: set[bytes] = set()
        self.failures = 0
        self.refreshed_documents = 0
        self.gate = Gate(self.coalescer)
        self.finders: list[DependentFinder] = [self]
        self.troubled = Troubled()
        self.doubted: list[str] = []

    async def find(self, key: Key, *, read_before: int) -> AsyncIterator[Sequence[Key]]:
        self.searches.append((key.partition_key, read_before))
        for page in self.pages:
            yield page
        if key.partition_key in self.always_broken:
            raise ElasticsearchRefusedError("a search that cannot be answered")
        if self.broken:
            self.broken -= 1
            raise ElasticsearchUnavailableError("no answer")

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        await self.coalescer.submit(signals, receipt, background=True)

    def refreshed(self, table: TableName, count: int) -> None:
        assert table == ORGANISATION
        self.refreshed_documents += count

    def failed(self, table: TableName) -> None:
        assert table == ORGANISATION
        self.failures += 1

    def refresher(self) -> DependentsRefresher:
        async def settled() -> None:
            return

        return DependentsRefresher(
            StoredChangedRows(self.store.dependents),
            {ORGANISATION: self.finders},
            flights=self.coalescer,
            sink=self,
            gate=self.gate,
            observer=self,
            rate=1_000_000,
            margin=1000,
            wait_for_others=settled,
            troubled=self.troubled,
            search_failed=self.doubted.append,
        )

    def changed(self, name: str, version: int) -> None:
        self.store.dependents.add([ChangedRow(Key(ORGANISATION, name.encode(), ()), version)])

    async def work(self) -> None:
        refresher = self.refresher()
        while True:
            await refresher.turn()
            await asyncio.sleep(0.005)

    async def settle_rows(self, count: int) -> list[Key]:
        keys: list[Key] = []
        while len(keys) < count:
            for entry in await self.coalescer.take_rows(10, ALL):
                keys.append(entry.key)
                self.coalescer.settle(entry)
        return keys


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    world = World(store)
    task = asyncio.create_task(world.work())
    yield world
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def test_each_document_that_shows_the_row_is_read_again_and_the_row_is_forgotten(world: World) -> None:
    world.pages = [[user("a"), user("b")], [user("c")]]
    world.changed("o1", 5)
    assert await world.settle_rows(3) == [user("a"), user("b"), user("c")]
    await until(lambda: world.store.dependents.count == 0)
    assert world.searches == [(b"o1", 1005)]
    assert world.refreshed_documents == 3


async def test_the_search_waits_for_rows_in_flight(world: World) -> None:
    receipt = Receipt(lambda: None)
    world.coalescer.add(Signal(USER, b"new", Scope.ROW), receipt)
    (flying,) = await world.coalescer.take_rows(1)
    world.changed("o1", 5)
    await asyncio.sleep(0.2)
    assert world.searches == []
    world.coalescer.settle(flying)
    await until(lambda: world.store.dependents.count == 0)
    assert world.searches == [(b"o1", 1005)]


async def test_a_row_that_changes_meanwhile_is_followed_again(world: World) -> None:
    world.pages = [[user("a")]]
    world.changed("o1", 5)
    await until(lambda: len(world.coalescer) == 1)
    world.changed("o1", 9)
    assert await world.settle_rows(2) == [user("a"), user("a")]
    await until(lambda: world.store.dependents.count == 0)
    assert world.searches == [(b"o1", 1005), (b"o1", 1009)]


async def test_a_search_that_breaks_off_is_begun_anew(world: World) -> None:
    world.pages = [[user("a")]]
    world.broken = 1
    world.changed("o1", 5)
    assert await world.settle_rows(2) == [user("a"), user("a")]
    await until(lambda: world.store.dependents.count == 0)
    assert len(world.searches) == 2


@pytest.mark.slow
async def test_rows_whose_search_always_fails_hold_up_no_others(world: World) -> None:
    names = [f"broken-{number}" for number in range(AT_ONCE + 2)]
    world.always_broken = {name.encode() for name in names}
    for name in names:
        world.changed(name, 5)
    await until(lambda: world.failures > len(names) + 1)
    for number in range(30):
        world.changed(f"o{number}", 6)
    await until(lambda: world.store.dependents.count == len(names))
    assert {key for key, _ in world.searches} == {
        *world.always_broken,
        *(f"o{number}".encode() for number in range(30)),
    }
    # What is mended is tried again.
    world.always_broken.clear()
    await until(lambda: world.store.dependents.count == 0)


async def test_a_closed_gate_holds_it(world: World) -> None:
    world.gate.close()
    world.pages = [[user("a")]]
    world.changed("o1", 5)
    await until(lambda: len(world.searches) == 1)
    await asyncio.sleep(0.1)
    assert len(world.coalescer) == 0
    world.gate.open()
    assert await world.settle_rows(1) == [user("a")]


async def test_what_is_waiting_outlives_the_process(store: Store, tmp_path: Path) -> None:
    store.dependents.add(
        [ChangedRow(Key(ORGANISATION, b"o1", ()), 5, 3), ChangedRow(Key(ORGANISATION, b"o2", None), 6)]
    )
    store.dependents.add([ChangedRow(Key(ORGANISATION, b"o1", ()), 7, 2)])
    store.close()
    again = Store(tmp_path)
    assert again.dependents.count == 2
    first, second = again.dependents.oldest(9)
    assert (first.row, first.generation) == (ChangedRow(Key(ORGANISATION, b"o1", ()), 7, 2), 1)
    assert second.row.key == Key(ORGANISATION, b"o2", None)
    assert again.dependents.oldest(9, excluding=[first.id]) == [second]
    again.dependents.done(first._replace(generation=0))
    assert again.dependents.count == 2
    again.dependents.done(first)
    assert again.dependents.count == 1
    again.close()


COURSE = TableName("shop", "course")


class Courses:
    """Finds one course for each organisation."""

    shown_in = COURSE

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.failure: Exception | None = None

    async def find(self, key: Key, *, read_before: int) -> AsyncIterator[Sequence[Key]]:
        assert read_before
        self.asked.append(key.partition_key)
        yield [Key(COURSE, key.partition_key, ())]
        if self.failure is not None:
            raise self.failure


async def test_documents_under_an_alias_in_trouble_delay_no_others(store: Store) -> None:
    """Many changed rows wait for one alias: each is processed once for its documents under other aliases."""
    world, servers, courses = World(store), BlockedAliases("users"), Courses()
    world.troubled = Troubled(servers, {USER: ["users"], COURSE: ["courses"]})
    world.finders.append(courses)
    world.pages = [[user("a")]]
    task = asyncio.create_task(world.work())
    names = [f"o{number}" for number in range(3 * AT_ONCE)]
    for name in names:
        world.changed(name, 5)
    assert {key.partition_key for key in await world.settle_rows(len(names))} == {name.encode() for name in names}
    await asyncio.sleep(0.3)
    assert sorted(courses.asked) == sorted(name.encode() for name in names)
    assert world.searches == []
    assert world.store.dependents.count == len(names)
    world.changed("o1", 6)  # what changes again is worked off again
    assert (await world.settle_rows(1))[0] == Key(COURSE, b"o1", ())

    servers.repair()
    settled: set[Key] = set()
    while world.store.dependents.count:
        settled |= {entry.key for entry in await _take_all(world)}
        await asyncio.sleep(0.01)
    assert user("a") in settled
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _take_all(world: World) -> list[Entry]:
    entries: list[Entry] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            entries = await world.coalescer.take_rows(10, ALL)
    for entry in entries:
        world.coalescer.settle(entry)
    return entries


async def test_rows_that_are_refused_are_passed_over(store: Store) -> None:
    """The alias gets into trouble while its documents are being built."""
    world, servers = World(store), BlockedAliases()
    world.troubled = Troubled(servers, {USER: ["users"]})
    world.pages = [[user("a")]]
    task = asyncio.create_task(world.work())
    world.changed("o1", 5)
    (entry,) = await world.coalescer.take_rows(1, ALL)
    servers.blocked.add("users")
    world.coalescer.park(entry, {"users": Trouble("elasticsearch", "blocked", "users")})
    await asyncio.sleep(0.3)
    assert len(world.coalescer) == 0
    assert world.store.dependents.count == 1
    assert world.failures == 0
    servers.repair()
    await world.settle_rows(1)
    await until(lambda: world.store.dependents.count == 0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_an_alias_that_cannot_be_searched_is_doubted(store: Store) -> None:
    world, courses = World(store), Courses()
    courses.failure = ElasticsearchRefusedError("closed", alias="courses")
    world.finders[:] = [courses, world]
    world.pages = [[user("a")]]
    task = asyncio.create_task(world.work())
    world.changed("o1", 5)
    settled = await world.settle_rows(2)
    assert set(settled) == {Key(COURSE, b"o1", ()), user("a")}
    await until(lambda: bool(world.doubted))
    assert world.doubted[0] == "courses"
    assert world.store.dependents.count == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
