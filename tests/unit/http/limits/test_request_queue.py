"""The request queue and the body memory alone: which request runs next, which is refused, and its Retry-After."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_http.limits.body_memory import BodyMemory
from cdc_http.limits.request_queue import RequestQueue
from cdc_http.responses import RequestError


class Work:
    """Requests that run until a test ends them."""

    def __init__(self, queue: RequestQueue) -> None:
        self.queue = queue
        self.began: list[str] = []
        self.refused: list[tuple[str, int, str | None]] = []
        self.most: dict[str, int] = {}
        self._ends: dict[str, list[asyncio.Event]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: dict[asyncio.Task[None], asyncio.Event] = {}

    async def ask(self, *shares: str) -> Sequence[asyncio.Task[None]]:
        """Begin a request of each caller, in this order."""
        tasks = []
        for share in shares:
            left = asyncio.Event()
            tasks.append(asyncio.create_task(self._work(share, left)))
            self._leaving[tasks[-1]] = left
            await self.settle()
        self._tasks += tasks
        return tasks

    async def end(self, share: str) -> None:
        """End the oldest request of a caller that is worked on."""
        self._ends[share].pop(0).set()
        await self.settle()

    async def leave(self, task: asyncio.Task[None]) -> None:
        self._leaving[task].set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def working(self, share: str) -> int:
        return len(self._ends.get(share, ()))

    async def _work(self, share: str, left: asyncio.Event) -> None:
        async def leaving() -> None:
            await left.wait()

        end = asyncio.Event()
        try:
            async with self.queue.slot(share, leaving):
                self.began.append(share)
                ends = self._ends.setdefault(share, [])
                ends.append(end)
                self.most[share] = max(self.most.get(share, 0), len(ends))
                try:
                    await end.wait()
                finally:
                    if end in ends:
                        ends.remove(end)
        except RequestError as problem:
            self.refused.append((share, problem.status, problem.headers.get("retry-after")))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def working(
    places: int, *, max_waiting: int = 100, max_wait: float = 60, clock: Clock | None = None
) -> AsyncIterator[Work]:
    work = Work(RequestQueue(places, max_waiting=max_waiting, max_wait=max_wait, clock=clock or Clock()))
    try:
        yield work
    finally:
        await work.stop()
    assert work.queue.waiting == 0


async def test_one_caller_leaves_places_for_others() -> None:
    async with working(4) as work:
        await work.ask(*["greedy"] * 10)
        assert work.began == ["greedy"] * 3
        await work.ask("polite")
        assert work.began[3:] == ["polite"]


@pytest.mark.parametrize(("places", "most"), [(1, 1), (2, 2), (3, 3), (4, 3), (32, 24)])
async def test_three_quarters_of_the_places_are_the_most_of_one(places: int, most: int) -> None:
    async with working(places) as work:
        await work.ask(*["one"] * (places + 5))
        assert work.working("one") == most


async def test_callers_take_turns() -> None:
    async with working(1) as work:
        await work.ask("a", "a", "a", "a", "b", "b", "c")
        for _ in range(6):
            await work.end(work.began[-1])
        assert work.began == ["a", "a", "b", "c", "a", "b", "a"]


async def test_a_free_place_goes_to_who_has_the_fewest() -> None:
    async with working(4) as work:
        await work.ask("a", "a", "a", "b", "a", "b", "b")
        assert work.began == ["a", "a", "a", "b"]
        await work.end("a")
        assert work.began[4:] == ["b"]
        await work.end("b")
        assert work.began[5:] == ["b"]


async def test_light_callers_do_not_starve_a_heavy_one() -> None:
    async with working(1) as work:
        await work.ask("first", "heavy", "heavy")
        for at in range(5):
            await work.ask(f"light{at}")
        for _ in range(7):
            await work.end(work.began[-1])
            await work.ask(f"more{len(work.began)}")
        assert work.began.count("heavy") == 2


async def test_the_newest_of_who_waits_most_is_refused() -> None:
    async with working(1, max_waiting=4) as work:
        await work.ask("greedy", "greedy", "greedy", "greedy", "greedy")
        assert not work.refused
        await work.ask("polite")
        assert work.refused == [("greedy", 429, "1")]
        await work.ask("greedy")
        assert [share for share, _, _ in work.refused] == ["greedy", "greedy"]
        await work.end("greedy")
        await work.end("greedy")
        assert "polite" in work.began


async def test_nobody_waits_longer_than_the_deadline() -> None:
    async with working(1, max_wait=0.01) as work:
        tasks = await work.ask("a", "b")
        await tasks[1]
        assert work.refused == [("b", 429, "1")]
        await work.end("a")
        await work.ask("b")
        assert work.began == ["a", "b"]


async def test_who_leaves_is_not_waited_for() -> None:
    async with working(1) as work:
        _, waiting, _ = await work.ask("a", "b", "c")
        await work.leave(waiting)
        assert work.refused == [("b", 400, None)]
        await work.end("a")
        assert work.began == ["a", "c"]


async def test_a_place_that_a_cancelled_request_was_given_goes_on() -> None:
    async with working(1) as work:
        first, second, _ = await work.ask("a", "b", "c")
        first.cancel()
        second.cancel()
        await work.settle()
        assert work.began == ["a", "c"]
        await work.end("c")
        await work.ask("d")
        assert work.began[-1] == "d"


async def test_a_refused_caller_is_told_a_time_that_fits_the_queue() -> None:
    clock = Clock()
    async with working(4, clock=clock) as work:
        assert work.queue.retry_after("a") == 1
        for _ in range(50):
            (task,) = await work.ask("a")
            clock.now += 2
            await work.end("a")
            await task
        # Ten at two seconds each, three at once; and one that comes after them.
        await work.ask(*["a"] * 12)
        assert work.queue.retry_after("a") == 7
        # Another caller waits for none of them, and has half of the places.
        assert work.queue.retry_after("b") == 1
        # What is at work for longer than the mean tells more than the mean.
        clock.now += 20
        assert work.queue.retry_after("a") == 60
        assert work.queue.retry_after("b") == 10


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "end", "leave", "cancel"]), st.sampled_from("abc"), st.integers(0, 50))),
    st.integers(1, 5),
    st.integers(0, 5),
)
def test_places_are_neither_lost_nor_given_twice(
    steps: list[tuple[str, str, int]], places: int, max_waiting: int
) -> None:
    async def play() -> None:
        tasks: list[asyncio.Task[None]] = []
        async with working(places, max_waiting=max_waiting) as work:
            for action, share, at in steps:
                if action == "ask":
                    tasks += await work.ask(share)
                elif action == "end" and work.working(share):
                    await work.end(share)
                elif action == "leave" and tasks:
                    await work.leave(tasks[at % len(tasks)])
                elif action == "cancel" and tasks:
                    tasks[at % len(tasks)].cancel()
                    await work.settle()
                assert sum(work.working(each) for each in "abc") <= places
                assert work.queue.waiting <= max_waiting
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            began = len(work.began)
            await work.ask(*(f"new{each}" for each in range(places)))
            assert len(work.began) == began + places

    asyncio.run(play())


def bodies(most: int = 100) -> BodyMemory:
    return BodyMemory(most, lambda _share: 7)


async def test_who_holds_the_most_bytes_loses_its_newest_body() -> None:
    room = bodies()
    lost: list[str] = []
    refusals: list[RequestError] = []

    async def hold(share: str, size: int, name: str) -> None:
        try:
            async with room.lease(share) as lease:
                lease.add(size)
                await asyncio.Event().wait()
        except RequestError as problem:
            refusals.append(problem)
            lost.append(name)

    tasks = []
    for name, (share, size) in {"g1": ("g", 40), "g2": ("g", 40), "p1": ("p", 20), "p2": ("p", 10)}.items():
        tasks.append(asyncio.create_task(hold(share, size, name)))
        await asyncio.sleep(0.01)
    assert lost == ["g2"]
    tasks.append(asyncio.create_task(hold("g", 31, "g3")))
    await asyncio.sleep(0.01)
    assert lost == ["g2", "g3"]
    assert [(each.status, each.headers["retry-after"]) for each in refusals] == [(429, "7")] * 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with room.lease("a") as lease:
        lease.add(100)


async def test_a_body_whose_work_has_begun_is_not_lost() -> None:
    room = bodies()
    async with room.lease("a") as first:
        first.add(60)
        first.end()
        async with room.lease("a") as second:
            second.add(60)
        await asyncio.sleep(0.01)


async def test_a_body_that_was_about_to_be_lost_when_its_work_began() -> None:
    room = bodies()
    async with room.lease("a") as first:
        first.add(60)
        first.lose()
        first.end()
        await asyncio.sleep(0.01)


async def test_a_time_out_of_the_block_itself_is_passed_on() -> None:
    with pytest.raises(TimeoutError):
        async with bodies().lease("a"), asyncio.timeout(0):
            await asyncio.Event().wait()
