from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.model.receipt import AcknowledgementLine


@given(order=st.permutations(range(8)))
def test_the_line_moves_only_over_receipts_that_are_done(order: list[int]) -> None:
    async def check() -> None:
        line: AcknowledgementLine[int] = AcknowledgementLine(-1)
        receipts = [await line.open(position) for position in range(8)]
        done: set[int] = set()
        for position in order:
            receipts[position].release()
            done.add(position)
            contiguous = next((at for at in range(8) if at not in done), 8) - 1
            assert line.acknowledged == contiguous

    asyncio.run(check())


async def test_a_receipt_is_done_when_all_that_was_held_is_released() -> None:
    line: AcknowledgementLine[str] = AcknowledgementLine("start")
    receipt = await line.open("end")
    receipt.hold()
    receipt.release()
    assert [receipt.done, line.acknowledged] == [False, "start"]
    receipt.release()
    assert [receipt.done, line.acknowledged] == [True, "end"]


async def test_open_waits_while_too_many_are_open() -> None:
    line: AcknowledgementLine[int] = AcknowledgementLine(0, limit=2)
    first = await line.open(1)
    await line.open(2)
    third = asyncio.create_task(line.open(3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not third.done()
    first.release()
    assert not (await asyncio.wait_for(third, 1)).done


async def test_waiting_for_all_but_the_newest() -> None:
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    first = await line.open(1)
    await line.open(2)
    waiting = asyncio.create_task(line.wait_empty(but=1))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.release()
    await asyncio.wait_for(waiting, 1)


async def test_waiting_ends_when_the_line_moves() -> None:
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    receipt = await line.open(7)
    moved = asyncio.create_task(line.wait_moved(0))
    empty = asyncio.create_task(line.wait_empty())
    await asyncio.sleep(0)
    assert not moved.done()
    receipt.release()
    assert await asyncio.wait_for(moved, 1) == 7
    await asyncio.wait_for(empty, 1)
