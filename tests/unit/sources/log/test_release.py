"""A segment is deleted when it is finished, read, acknowledged and behind a durable checkpoint; never before."""

from __future__ import annotations

import pytest

from cdc_daemon.commitlog.descriptor import Position
from tests.segments import CommitLogWriter, other, user
from tests.unit.sources.log.conftest import MakeHarness
from tests.unit.sources.log.harness import fast


async def test_a_finished_segment_goes_after_its_acknowledgement(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(instant=False)
    harness.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    await harness.until(lambda: harness.sink.keys == ["a"])
    await harness.settle()
    assert first.link.exists()
    assert first.index.exists()
    harness.sink.acknowledge()
    await harness.until(lambda: not first.link.exists() and not first.index.exists())
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.store.ends[first.id] == first.marker
    assert harness.store.saved["commitlog"] == (node.current.id, 0), "the checkpoint is behind the segment"


async def test_a_segment_that_is_not_complete_stays(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("a"))
    node.current.sync()
    await harness.until(lambda: harness.store.saved.get("commitlog", (0, 0))[1] > 0)
    node.prepared.add(user("b"))
    node.prepared.sync()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    await harness.settle()
    assert node.current.link.exists()


async def test_a_segment_stays_while_the_checkpoint_cannot_be_saved(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(instant=False)
    harness.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    await harness.until(lambda: harness.sink.keys == ["a"])
    harness.store.broken = True
    harness.sink.acknowledge()
    await harness.settle()
    assert first.link.exists()
    harness.store.broken = False
    await harness.until(lambda: not first.link.exists())


async def test_the_second_segment_waits_for_nothing_but_itself(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(instant=False)
    harness.start()
    first, second = node.current, node.prepared
    node.write(user("a"))
    node.advance()
    node.write(user("b"))
    node.advance()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    last = harness.sink.held.pop()
    last.release()
    await harness.settle()
    assert first.link.exists()
    assert second.link.exists(), "acknowledged, but behind a portion that is not"
    harness.sink.acknowledge()
    await harness.until(lambda: not first.link.exists() and not second.link.exists())


async def test_without_release_segments_are_only_recorded_as_consumed(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(options=fast(release=False))
    harness.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    await harness.until(lambda: first.id in harness.store.ends)
    await harness.settle()
    assert first.link.exists()
    assert first.index.exists()
    await harness.stop()
    again = make_harness(options=fast(release=False))
    again.store = harness.store
    again.start()
    node.write(user("b"))
    node.current.mark()
    await again.until(lambda: again.sink.keys == ["b"])


async def test_a_deletion_that_fails_is_tried_again(
    node: CommitLogWriter, make_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 3

    def refuse(log_path: object, index_path: object) -> bool:
        nonlocal failures
        if failures:
            failures -= 1
            raise PermissionError(13, "Permission denied")
        first.link.unlink()
        first.index.unlink()
        return True

    monkeypatch.setattr("cdc_daemon.sources.log.release._delete_files", refuse)
    harness = make_harness()
    harness.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    await harness.until(lambda: not first.link.exists())
    assert failures == 0


async def test_links_without_cdc_data_are_left_to_cassandra(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    first = node.current
    node.write(other("x"), cdc=False)
    node.advance()
    node.write(user("a"))
    node.current.sync()
    await harness.until(lambda: harness.sink.keys == ["a"])
    await harness.settle()
    assert first.link.exists()
    first.discard()
    await harness.settle()
    assert harness.gaps == []
    assert harness.observer.releases == []


async def test_the_prepared_segment_of_a_clean_shutdown_is_removed(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    """Cassandra deletes it from its own folder and leaves the link; it would count as CDC space for ever."""
    harness = make_harness()
    harness.start()
    orphan = node.prepared
    node.write(user("a"))
    node.current.close()
    orphan.close()
    orphan.path.unlink()
    await harness.settle()
    assert orphan.link.exists(), "not while nothing newer has begun"
    node.start()
    node.write(user("b"))
    node.current.mark()
    await harness.until(lambda: not orphan.link.exists())
    assert harness.sink.keys == ["a", "b"]
    assert harness.gaps == []


async def test_a_segment_left_without_completed_by_a_crash_is_released(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    """All its data was flushed, so the replay passed over it and only deleted Cassandra's own name."""
    harness = make_harness()
    harness.start()
    first = node.current
    node.write(user("a"))
    first.sync()
    await harness.until(lambda: harness.sink.keys == ["a"])
    first.path.unlink()
    node.start()
    node.write(user("b"))
    node.current.mark()
    await harness.until(lambda: not first.link.exists())
    assert harness.gaps == []


async def test_a_consumed_segment_that_reappears_is_removed_unread(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    node.write(user("b"))
    node.current.mark()
    await harness.until(lambda: harness.observer.releases == [first.id])
    node.crash_and_restart()
    assert first.link.exists()
    assert first.index.read_text() == f"{first.size}\nCOMPLETED"
    await harness.until(lambda: first.id in harness.observer.releases[1:])
    await harness.until(lambda: harness.sink.keys.count("b") >= 1)
    assert harness.sink.keys.count("a") == 1


async def test_a_segment_that_was_being_read_when_cassandra_crashed_is_read_once_more(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    crashed = node.current
    node.write(user("a"), user("b"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    node.crash_and_restart()
    await harness.until(lambda: harness.observer.releases == [crashed.id])
    assert harness.sink.keys == ["a", "b", "a", "b"]


async def test_a_segment_that_was_in_part_read_before_the_daemon_and_cassandra_crashed_is_read_whole(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    crashed = node.current
    node.write(user("a"), user("b"))
    node.current.mark()
    node.crash_and_restart()
    harness = make_harness()
    harness.store.saved["commitlog"] = (crashed.id, crashed.entry_ends[0])
    harness.start()
    await harness.until(lambda: harness.observer.releases == [crashed.id])
    assert harness.sink.keys == ["b", "a", "b"]


async def test_a_segment_first_read_after_the_crash_is_read_once(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    crashed = node.current
    node.write(user("a"), user("b"))
    node.current.mark()
    node.crash_and_restart()
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.observer.releases == [crashed.id])
    assert harness.sink.keys == ["a", "b"]


async def test_a_reappearing_segment_is_recognised_after_a_restart_too(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    await harness.until(lambda: harness.observer.releases == [first.id])
    await harness.stop()
    node.crash_and_restart()
    again = make_harness()
    again.store = harness.store
    again.start()
    await again.until(lambda: again.observer.releases == [first.id])
    assert again.sink.keys == []


async def test_a_reappearing_segment_with_something_new_is_read_from_there(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"), user("b"), user("c"))
    node.advance()
    harness = make_harness()
    harness.store.ends[first.id] = first.entry_ends[1]
    harness.start()
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.sink.keys == ["c"]


async def test_a_crash_between_remembering_and_deleting_leaves_nothing_behind(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"))
    node.advance()
    harness = make_harness()
    harness.store.ends[first.id] = first.marker
    first.link.unlink()  # the index file is left
    harness.start()
    await harness.until(lambda: not first.index.exists())
    assert harness.gaps == []


async def test_the_checkpoint_names_the_segment_in_use_from_the_start(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    node.write(other("x"), cdc=False)
    node.current.mark()
    await harness.until(lambda: harness.observer.positions)
    await harness.settle()
    assert harness.tail is not None
    assert harness.tail.position == Position(node.current.id, 0), "0: nothing of it is known to be CDC data"
