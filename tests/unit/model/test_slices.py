"""Work in slices: one for each round of the loop, in order, and every task gets its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cdc_daemon.model.slices import FEW, SLICE, in_slices, turn
from tests.unit.model.rounds import Rounds


async def test_each_item_once_and_in_order() -> None:
    for count in (0, 1, FEW, FEW + 1, SLICE, SLICE + 1, 3 * SLICE):
        seen: list[tuple[int, Sequence[int]]] = []
        await in_slices(range(count), lambda start, part, seen=seen: seen.append((start, part)))  # type: ignore[misc]
        assert [item for _, part in seen for item in part] == list(range(count))
        assert [start for start, _ in seen] == [part[0] if part else 0 for _, part in seen]
        assert all(len(part) <= SLICE for _, part in seen)
        assert seen, "also for nothing"


async def test_one_slice_a_round_however_many_have_work() -> None:
    order: list[int] = []
    with Rounds() as rounds:

        def work(name: int, part: Sequence[int]) -> None:
            order.append(name)
            rounds.count(len(part))

        await asyncio.gather(
            *(in_slices(range(5 * SLICE), lambda _, part, n=n: work(n, part)) for n in range(20))  # type: ignore[misc]
        )
    assert rounds.most == SLICE
    assert order == list(range(20)) * 5, "they take turns"


async def test_a_failure_and_a_cancellation_leave_the_turn_to_others() -> None:
    def fail(start: int, _part: Sequence[int]) -> None:
        if start:
            raise ValueError(start)

    with pytest.raises(ValueError, match=str(SLICE)):
        await in_slices(range(5 * SLICE), fail)
    async with asyncio.timeout(10):
        holding = asyncio.Event()

        async def hold() -> None:
            async with turn():
                holding.set()
                await asyncio.Event().wait()

        holder = asyncio.create_task(hold())
        await holding.wait()
        waiter = asyncio.create_task(in_slices(range(SLICE), lambda *_: None))
        await asyncio.sleep(0)
        waiter.cancel()
        holder.cancel()
        await asyncio.gather(waiter, holder, return_exceptions=True)
        await in_slices(range(SLICE), lambda *_: None)


def test_each_loop_has_turns_of_its_own() -> None:
    for _ in range(2):
        asyncio.run(test_one_slice_a_round_however_many_have_work())
