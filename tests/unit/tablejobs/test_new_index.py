"""When an index that is built takes the live one's place: never while it lacks a change that it has refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cdc_daemon.cassandra.ring import LARGEST
from cdc_daemon.model.errors import IndexSwapError
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.search.index_swap import BEHIND, AliasIndices, Phase, direct, marker
from cdc_daemon.search.indices import IndexDefinition
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import CHECK, DOCUMENTS, ROWS, JobRange, RangeJob
from cdc_daemon.tablejobs.findings import Mismatch, MismatchCounts, MismatchKind
from cdc_daemon.tablejobs.new_index import MOST_CHECKS, NewIndex
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun

ALIAS, OLD, NEW = "user", "user-000001", "user-000002"


class World:
    """Two indices of an alias, and what becomes of each comparison."""

    def __init__(self) -> None:
        self.live, self.built = OLD, False
        self.behind: set[str] = set()
        self.compared: list[tuple[str, str]] = []
        self.at_comparison: Callable[[], None] = lambda: None
        self.at_swap: Callable[[], None] = lambda: None
        self.left = 0

    async def indices(self, alias: str) -> AliasIndices:
        assert alias == ALIAS
        names: dict[str, dict[str, Any]] = {each: {direct(each): {}} for each in (OLD, NEW)}
        for each in self.behind:
            names[each][marker(ALIAS, BEHIND)] = {}
        if self.live == NEW:
            return AliasIndices(ALIAS, NEW, other=OLD, phase=Phase.KEPT, aliases=names)
        return AliasIndices(ALIAS, OLD, other=NEW if self.built else None, phase=Phase.BUILDING, aliases=names)

    async def free_name(self, definition: IndexDefinition, live: str) -> str:
        assert (definition.alias, live) == (ALIAS, OLD)
        return NEW

    async def create(self, definition: IndexDefinition, pair: AliasIndices) -> None:
        assert (definition.index, pair.live) == (NEW, OLD)
        self.built = True

    async def drift(self, definition: IndexDefinition, index: str) -> list[Any]:
        assert definition.index == index
        return []

    async def wait_seen(self) -> None:
        return

    async def complete(self, definition: IndexDefinition, index: str) -> None:
        assert (definition.alias, index) == (ALIAS, NEW)

    async def unmark_behind(self, alias: str, index: str) -> None:
        assert alias == ALIAS
        self.behind.discard(index)

    async def exchange(self, pair: AliasIndices) -> None:
        assert not pair.behind
        self.live = NEW
        self.at_swap()

    async def work(self, run: JobRun, part: JobRange) -> None:
        await run.move(part, part.last, 1, done=True)

    async def finish(self, run: JobRun) -> None:
        assert run.request.new_index

    async def compare(
        self,
        run: JobRun,
        part: JobRange,
        *,
        repair: bool,
        index: str | None = None,
        is_dead_letter: Callable[[Key], bool],
    ) -> None:
        assert (repair, index) == (True, NEW)
        assert not is_dead_letter(Key(TableName("k", "user"), b"a", ()))
        self.compared.append((self.live, part.side))
        counts = MismatchCounts("user")
        if part.side == CHECK:
            self.at_comparison()
            counts.add_mismatches(Mismatch(MismatchKind.MISSING, str(number), None) for number in range(self.left))
        await run.move(part, part.last, part.rows, done=True, found=counts)

    def new_index(self) -> NewIndex:
        return NewIndex(
            self,
            self,
            cast("SwapSteps", self),
            definitions=lambda _: IndexDefinition(ALIAS, OLD, {}, {}),
            is_dead=lambda _key, _alias: False,
            refused={},
        )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    ranges = [("user", 0, 100, ROWS), ("user", 0, 100, CHECK), ("user", 0, LARGEST, DOCUMENTS)]
    store.range_jobs.add(RangeJob(id="job", kind="backfill"), ranges, limit=1)
    yield store
    store.close()


async def build(world: World, store: Store) -> dict[str, Any]:
    """Work on the job as after a start of the daemon, and return what it has found."""
    job = store.range_jobs.get("job")
    assert job is not None
    request = JobRequest(kind="backfill", types=("user",), new_index=True)
    run = JobRun(job, request, store.range_jobs, store.range_jobs.progress("job"))
    new_index = world.new_index()
    for part in store.range_jobs.open_ranges("job"):
        await new_index.work(run, part)
    await new_index.finish(run)
    return run.found


ONCE = [(OLD, CHECK), (OLD, DOCUMENTS)]


async def test_one_that_takes_everything_is_compared_once(store: Store) -> None:
    world = World()
    found = await build(world, store)
    assert (world.live, world.compared, found["new_index"]["user"]["swapped"]) == (NEW, ONCE, True)


async def test_one_that_has_refused_a_change_after_its_comparison_is_compared_again(store: Store) -> None:
    world = World()

    def refuse_once() -> None:
        if world.compared == ONCE[:1]:
            world.behind.add(NEW)

    world.at_comparison = refuse_once
    await build(world, store)
    assert (world.live, world.compared, world.behind) == (NEW, ONCE * 2, set())


async def test_one_that_refuses_changes_again_and_again_is_given_up(store: Store) -> None:
    world = World()
    world.at_comparison = lambda: world.behind.add(NEW)
    with pytest.raises(IndexSwapError, match="takes every change"):
        await build(world, store)
    assert (world.live, world.compared) == (OLD, ONCE * MOST_CHECKS)


async def test_one_that_is_not_equal_is_given_up(store: Store) -> None:
    world = World()
    world.left = 2
    with pytest.raises(IndexSwapError, match="found 2 documents that differ"):
        await build(world, store)
    assert (world.live, world.compared) == (OLD, ONCE * MOST_CHECKS)


async def test_a_mark_that_was_removed_before_a_crash_is_not_forgotten(store: Store) -> None:
    world = World()

    def crash() -> None:
        if len(world.compared) > len(ONCE):
            raise asyncio.CancelledError
        world.behind.add(NEW)

    world.at_comparison = crash
    with pytest.raises(asyncio.CancelledError):
        await build(world, store)
    assert (world.live, world.behind) == (OLD, set())
    world.at_comparison = lambda: None
    world.compared.clear()
    await build(world, store)
    assert (world.live, world.compared) == (NEW, ONCE)


@pytest.mark.parametrize("killed", [False, True])
async def test_what_is_refused_around_the_swap_is_settled_once_more(store: Store, killed: bool) -> None:
    world = World()

    def refuse() -> None:
        world.behind.add(NEW)
        if killed:
            raise asyncio.CancelledError

    world.at_swap = refuse
    if killed:
        with pytest.raises(asyncio.CancelledError):
            await build(world, store)
    await build(world, store)
    assert (world.live, world.behind) == (NEW, set())
    assert world.compared == [*ONCE, (NEW, CHECK), (NEW, DOCUMENTS)]
