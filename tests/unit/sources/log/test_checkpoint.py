from __future__ import annotations

import asyncio

from cdc_daemon.commitlog.descriptor import START, Position
from cdc_daemon.sources.log.checkpoint import CheckpointKeeper, Reached
from tests.unit.sources.log.harness import MemoryStore, Recorder


def make(store: MemoryStore, observer: Recorder, *, limit: int = 100) -> CheckpointKeeper:
    return CheckpointKeeper(store, source="log", start=START, observer=observer, interval=0.0, limit=limit)


async def test_what_is_saved_never_passes_what_is_open() -> None:
    store, observer = MemoryStore(), Recorder()
    keeper = make(store, observer)
    first = await keeper.open(Position(7, 10))
    second = await keeper.open(Position(7, 20))
    second.release()
    await keeper.save()
    assert store.saved == {}
    first.release()
    await keeper.save()
    assert store.saved == {"log": (7, 20)}
    assert keeper.saved == Reached(2, Position(7, 20))
    assert observer.positions == [Position(7, 20)]
    assert keeper.open_receipts == 0


async def test_it_saves_by_itself_and_goes_on_after_failures() -> None:
    store, observer = MemoryStore(), Recorder()
    saved = asyncio.Event()
    observer.saved = lambda position: saved.set()  # type: ignore[method-assign]  # noqa: ARG005
    keeper = make(store, observer)
    running = asyncio.create_task(keeper.run())
    receipt = await keeper.open(Position(7, 10))
    store.broken = True
    receipt.release()
    await asyncio.sleep(0.02)
    assert store.saved == {}
    store.broken = False
    await saved.wait()
    assert store.saved == {"log": (7, 10)}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_opening_waits_while_too_many_are_open() -> None:
    keeper = make(MemoryStore(), Recorder(), limit=1)
    first = await keeper.open(Position(7, 10))
    opening = asyncio.create_task(keeper.open(Position(7, 20)))
    await asyncio.sleep(0.01)
    assert not opening.done()
    first.release()
    (await opening).release()
    assert keeper.acknowledged == Reached(2, Position(7, 20))
    await keeper.wait_empty()
