"""Parts run together until the last one ends, or until one of them fails."""

from __future__ import annotations

import asyncio

import pytest

from cdc_daemon.app.part import Part, run_together, supervise


class Endless(Part):
    name = "endless"

    def __init__(self) -> None:
        self.cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True


class Failing(Part):
    name = "failing"

    async def run(self) -> None:
        await asyncio.sleep(0)
        raise OSError("the disk is full")


class Idle(Part):
    name = "idle"


class Drained(Part):
    name = "drained"

    def __init__(self) -> None:
        self._end = asyncio.Event()

    async def run(self) -> None:
        await self._end.wait()

    async def drain(self, seconds: float) -> None:  # noqa: ARG002 -- it ends at once
        self._end.set()


async def test_the_others_are_cancelled_when_the_last_part_has_drained() -> None:
    last, other = Drained(), Endless()
    running = asyncio.create_task(supervise(last, [other]))
    await asyncio.sleep(0)
    await other.drain(1.0)
    assert not running.done()
    await last.drain(1.0)
    await running
    assert other.cancelled


async def test_a_part_without_work_of_its_own_ends_nothing() -> None:
    last, idle = Drained(), Idle()
    running = asyncio.create_task(supervise(last, [idle]))
    await asyncio.sleep(0.01)
    assert not running.done()
    assert idle.status() == {}
    idle.measure()
    await last.drain(1.0)
    await running


async def test_a_part_that_fails_ends_all_others_with_its_error() -> None:
    last, other = Endless(), Endless()
    with pytest.raises(ExceptionGroup) as raised:
        await supervise(last, [other, Failing()])
    assert raised.group_contains(OSError, match="the disk is full")
    assert (last.cancelled, other.cancelled) == (True, True)


async def test_loops_of_one_part_fail_together() -> None:
    other = Endless()
    with pytest.raises(ExceptionGroup) as raised:
        await run_together(first=other.run, second=Failing().run)
    assert raised.group_contains(OSError)
    assert other.cancelled
