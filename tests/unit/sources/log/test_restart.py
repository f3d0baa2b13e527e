"""After stops, kills and restarts every change was submitted at least once."""

from __future__ import annotations

import asyncio

import pytest

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.model.errors import StoreError
from tests.segments import CommitLogWriter, user
from tests.unit.sources.log.conftest import MakeHarness
from tests.unit.sources.log.harness import fast


async def test_resumes_in_the_midst_of_a_segment_and_of_a_section(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    node.write(*(user(str(number)) for number in range(50)))
    node.current.mark()
    first = make_harness(instant=False, options=fast(portion_mutations=20))
    first.start()
    await first.until(lambda: len(first.sink.keys) == 50)
    first.sink.acknowledge(1)
    await first.until(lambda: "commitlog" in first.store.saved)
    await first.until(lambda: first.store.saved["commitlog"] == (node.current.id, node.current.entry_ends[19]))
    await first.kill()

    second = make_harness(options=fast(portion_mutations=20))
    second.store = first.store
    second.start()
    await second.until(lambda: len(second.sink.keys) >= 30)
    assert second.sink.keys == [str(number) for number in range(20, 50)]


async def test_stop_waits_for_what_is_open_and_saves(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness(instant=False)
    harness.start()
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    stopping = asyncio.create_task(harness.stop())
    await asyncio.sleep(0.02)
    assert not stopping.done()
    node.write(user("b"))
    node.current.mark()
    await asyncio.sleep(0.02)
    harness.sink.acknowledge()
    await stopping
    assert harness.store.saved["commitlog"] == (node.current.id, node.current.entry_ends[0])
    assert harness.sink.keys == ["a"], "nothing is begun after stop"


async def test_stop_gives_up_at_its_deadline(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness(instant=False)
    harness.start()
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    await harness.stop(deadline=0.05)
    assert harness.store.saved.get("commitlog", (0, 0)) <= (node.current.id, 0)


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_stop_in_a_hurry_saves_only_what_is_acknowledged_in_a_moment(
    node: CommitLogWriter, make_harness: MakeHarness, *, acknowledged: bool
) -> None:
    harness = make_harness(instant=False)
    harness.start()
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    stopping = asyncio.create_task(harness.stop(deadline=600))
    await asyncio.sleep(0.02)
    assert harness.tail is not None
    harness.tail.hurry()
    if acknowledged:
        await asyncio.sleep(0.02)
        harness.sink.acknowledge()
    await stopping
    saved = harness.store.saved.get("commitlog", (0, 0))
    assert (saved == (node.current.id, node.current.entry_ends[0])) is acknowledged


async def test_stop_gives_up_on_a_full_pipeline_too(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.sink.room.clear()
    node.write(user("a"))
    node.current.mark()
    harness.start()
    await harness.until(lambda: harness.beats)
    await harness.stop(deadline=0.05)
    assert harness.sink.keys == []
    again = make_harness()
    again.store = harness.store
    again.start()
    await again.until(lambda: again.sink.keys == ["a"])


async def test_stop_waits_for_what_was_handed_over_but_not_for_what_is_held(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(instant=False)
    harness.start()
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    harness.sink.room.clear()
    node.write(user("b"))
    node.current.mark()
    assert harness.tail is not None
    stopping = asyncio.create_task(harness.tail.stop(3600.0, held=True))
    await asyncio.sleep(0.02)
    assert not stopping.done()
    harness.sink.acknowledge()
    await asyncio.wait_for(stopping, 60)
    assert harness.store.saved["commitlog"] == (node.current.id, node.current.entry_ends[0])
    assert harness.sink.keys == ["a"]
    again = make_harness()
    again.store = harness.store
    again.start()
    await again.until(lambda: again.sink.keys == ["b"])


async def test_stop_before_start_ends_at_once(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    assert harness.tail is not None
    await harness.stop()


async def test_stop_saves_although_the_store_fails_just_then(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness(instant=False)
    harness.start()
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    harness.store.broken = True
    harness.sink.acknowledge()
    await harness.stop()
    assert harness.tail is not None
    assert harness.tail.position < Position(node.current.id, node.current.marker)


async def test_a_checkpoint_that_cannot_be_loaded_ends_the_tail(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.store.broken = True
    harness.start()
    with pytest.raises(StoreError):
        await harness.until(lambda: False)


async def test_a_sink_that_breaks_ends_the_tail(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    class BrokenError(Exception):
        pass

    async def submit(signals: object, receipt: object) -> None:
        raise BrokenError

    harness = make_harness()
    harness.sink.submit = submit  # type: ignore[method-assign]
    node.write(user("a"))
    node.current.mark()
    harness.start()
    with pytest.raises(BrokenError):
        await harness.until(lambda: False)


async def test_a_folder_that_does_not_exist_yet_is_waited_for(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    aside = node.cdc_raw.with_name("aside")
    node.cdc_raw.rename(aside)
    harness = make_harness()
    harness.start()
    await harness.settle()
    aside.rename(node.cdc_raw)
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])


async def test_segments_below_the_checkpoint_that_are_not_consumed_are_read(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    """Such a segment was not closed when the daemon stopped, or its link was made late."""
    late = node.current
    node.advance()
    node.write(user("new"))
    node.current.mark()
    harness = make_harness()
    harness.store.saved["commitlog"] = (node.current.id, node.current.entry_ends[0])
    late.closed = False
    late.allocated = late.marker + 8
    late.add(user("late"))
    late.close()
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["late"])
