"""Segments of Cassandra 3.11: read while they are in the commit-log folder, and released in cdc_raw only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.sources.log.lifecycle import is_closed
from cdc_daemon.store.checkpoints import SegmentState
from tests.segments import CommitLogWriter, MovedSegmentWriter, SegmentWriter, other, user
from tests.unit.sources.log.conftest import MakeHarness
from tests.unit.sources.log.harness import Harness, fast


@pytest.fixture
def node(tmp_path: Path) -> CommitLogWriter:
    """A node with Cassandra 3.11."""
    return CommitLogWriter(tmp_path, make_segment=MovedSegmentWriter)


@pytest.fixture
def daemon(make_harness: MakeHarness, node: CommitLogWriter) -> Harness:
    return follow(make_harness(), node)


def follow(harness: Harness, node: CommitLogWriter) -> Harness:
    harness.commitlog = node.storage
    return harness


def age(segment: SegmentWriter) -> None:
    """Set the file's time to a moment within its run, as the wall clock would: ids are milliseconds."""
    path = segment.path if segment.path.exists() else segment.link
    os.utime(path, (segment.id / 1000 + 60, segment.id / 1000 + 60))


def folder(node: CommitLogWriter) -> CdcFolder:
    return CdcFolder(node.cdc_raw, commitlog=node.storage)


def test_active_segments_are_listed_and_not_closed(node: CommitLogWriter) -> None:
    first = node.current
    node.write(user("a"))
    first.mark()
    node.advance()
    listing = folder(node).look()
    assert [(file.id, file.active) for file in listing.segments] == [(each.id, True) for each in node.segments]
    assert not any(is_closed(file, newer_begun=True) for file in listing.segments)
    assert listing.moves_segments
    assert listing.total_bytes == listing.active_bytes == 3 * node.size
    first.discard()
    listing = folder(node).look()
    assert [(file.id, file.active) for file in listing.segments] == [
        (each.id, each is not first) for each in node.segments
    ]
    assert is_closed(listing.segments[0], newer_begun=False)
    assert (listing.total_bytes, listing.active_bytes) == (3 * node.size, 2 * node.size)


def test_a_segment_that_moves_during_the_listing_counts_as_active_until_the_next(
    node: CommitLogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.write(user("a"))
    node.advance()
    first, scandir = node.segments[0], os.scandir

    def scan(path: Path) -> os._ScandirIterator[str]:
        if path == node.cdc_raw and first.path.exists():
            first.discard()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    [file, *_] = folder(node).look().segments
    assert (file.id, file.active, file.path) == (first.id, True, first.link)
    [file, *_] = folder(node).look().segments
    assert (file.id, file.active, file.path) == (first.id, False, first.link)


def test_segments_of_later_releases_are_not_read_in_the_commit_log_folder(tmp_path: Path) -> None:
    node = CommitLogWriter(tmp_path)
    assert folder(node).look() == CdcFolder(node.cdc_raw).look()


def test_a_segment_of_an_earlier_run_counts_as_replayed(node: CommitLogWriter) -> None:
    first = node.current
    node.write(user("a"))
    node.advance()
    first.discard()
    age(first)
    assert not folder(node).look().segments[0].replayed
    node.crash_and_restart()
    found = {file.id: file.replayed for file in folder(node).look().segments}
    assert [found[segment.id] for segment in node.segments] == [True, True, True, False, False]


async def test_a_row_is_seen_while_its_segment_is_active(daemon: Harness, node: CommitLogWriter) -> None:
    daemon.start()
    node.write(user("a"), other("x"), user("b"))
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b"])
    assert node.current.path.exists()
    await daemon.stop()
    assert not daemon.observer.releases


async def test_a_move_loses_and_repeats_nothing(daemon: Harness, node: CommitLogWriter) -> None:
    daemon.start()
    first = node.current
    node.write(user("a"))
    first.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a"])
    node.write(user("b"))
    node.advance(close=False)
    node.write(user("c"))
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "c"])
    age(first)
    first.discard()
    await daemon.until(lambda: daemon.observer.releases == [first.id])
    assert daemon.sink.keys == ["a", "c", "b"]
    assert not first.link.exists()
    assert not daemon.gaps


async def test_a_late_entry_in_a_resting_segment_is_seen_before_the_move(
    daemon: Harness, node: CommitLogWriter
) -> None:
    daemon.start()
    first = node.current
    node.write(user("a"))
    first.mark()
    node.advance(close=False)
    node.write(user("c"))
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "c"])
    await daemon.settle()
    first.add(user("late"))
    first.close()
    await daemon.until(lambda: daemon.sink.keys == ["a", "c", "late"])


async def test_nothing_is_deleted_in_the_commit_log_folder(daemon: Harness, node: CommitLogWriter) -> None:
    daemon.start()
    for key in "abc":
        node.write(user(key))
        node.advance()
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b", "c"])
    await daemon.settle()
    assert all(segment.path.exists() for segment in node.segments)
    assert not daemon.observer.releases


async def test_a_segment_without_cdc_data_disappears_without_a_gap(daemon: Harness, node: CommitLogWriter) -> None:
    daemon.start()
    for key in "ab":
        node.write(user(key))
        node.advance()
        node.write(other("x"), cdc=False)
        node.advance()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b"])
    for segment in node.segments[:4]:
        age(segment)
        segment.discard()
    await daemon.until(lambda: len(daemon.observer.releases) == 2)
    await daemon.until(lambda: not daemon.tail or daemon.observer.folder[0] == 2)
    await daemon.stop()
    assert not daemon.gaps
    assert not daemon.requested.requests


async def test_segments_that_disappear_while_the_daemon_is_down_are_no_gap(
    daemon: Harness, node: CommitLogWriter
) -> None:
    daemon.start()
    for key in "ab":
        node.write(user(key))
        node.advance()
        node.write(other("x"), cdc=False)
        node.advance()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b"])
    await daemon.kill()
    for segment in node.segments[:4]:
        age(segment)
        segment.discard()
    node.write(other("y"), cdc=False)
    node.advance()
    node.segments[4].discard()
    node.write(user("c"))
    node.current.mark()
    daemon.start()
    await daemon.until(lambda: "c" in daemon.sink.keys)
    await daemon.until(lambda: len(daemon.observer.releases) == 2)
    assert not daemon.gaps


async def test_an_unread_segment_with_cdc_data_that_somebody_deletes_is_a_certain_gap(
    make_harness: MakeHarness, node: CommitLogWriter
) -> None:
    daemon = follow(make_harness(instant=False), node)
    daemon.start()
    node.write(user("a"))
    first = node.current
    first.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a"])
    await daemon.until(lambda: daemon.seen.segments[first.id].state is SegmentState.CDC)
    await daemon.kill()
    node.advance()
    age(first)
    first.discard()
    first.link.unlink()
    daemon.start()
    await daemon.until(lambda: daemon.gaps)
    [gap] = daemon.gaps
    assert gap.certain


async def test_a_restart_does_not_repeat_resting_segments(daemon: Harness, node: CommitLogWriter) -> None:
    daemon.start()
    for key in "abcd":
        node.write(user(key))
        node.advance()
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b", "c", "d"])
    read = (node.segments[3].id, node.segments[3].entry_ends[-1])
    await daemon.until(lambda: len(daemon.store.ends) == 3 and max(daemon.store.saved.values()) >= read)
    await daemon.kill()
    daemon.start()
    node.write(user("e"))
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b", "c", "d", "e"])
    for segment in node.segments[:4]:
        age(segment)
        segment.discard()
    await daemon.until(lambda: len(daemon.observer.releases) == 4)
    assert daemon.sink.keys == ["a", "b", "c", "d", "e"]


async def test_unacknowledged_segments_are_not_noted_as_read(make_harness: MakeHarness, node: CommitLogWriter) -> None:
    daemon = follow(make_harness(instant=False), node)
    daemon.start()
    for key in "ab":
        node.write(user(key))
        node.advance()
    node.write(user("c"))
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b", "c"])
    await daemon.settle()
    assert not daemon.store.ends
    await daemon.kill()
    daemon.start()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b", "c"] * 2)


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
async def test_after_a_crash_of_cassandra_what_was_read_is_read_again(
    daemon: Harness, node: CommitLogWriter, *, down: bool
) -> None:
    """The documents may show writes that the crash has lost, so their rows must be read again."""
    daemon.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    node.write(user("b"))
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a", "b"])
    await daemon.until(lambda: first.id in daemon.store.ends)
    if down:
        await daemon.kill()
    node.crash_and_restart()
    node.write(user("c"))
    node.current.mark()
    if down:
        daemon.start()
    await daemon.until(lambda: len(daemon.observer.releases) == 3)
    assert sorted(daemon.sink.keys) == ["a", "a", "b", "b", "c"]
    assert not daemon.gaps
    assert not daemon.damages


async def test_segments_wait_for_their_acknowledgement_in_cdc_raw(
    make_harness: MakeHarness, node: CommitLogWriter
) -> None:
    daemon = follow(make_harness(instant=False), node)
    daemon.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    age(first)
    first.discard()
    await daemon.until(lambda: daemon.sink.keys == ["a"])
    await daemon.settle()
    assert first.link.exists()
    daemon.sink.acknowledge()
    await daemon.until(lambda: not first.link.exists())


async def test_with_release_off_nothing_is_deleted(make_harness: MakeHarness, node: CommitLogWriter) -> None:
    daemon = follow(make_harness(options=fast(release=False)), node)
    daemon.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    age(first)
    first.discard()
    await daemon.until(lambda: first.id in daemon.store.ends)
    await daemon.settle()
    assert first.link.exists()
    assert daemon.sink.keys == ["a"]


async def test_without_markers_a_segment_is_read_when_it_has_moved(
    make_harness: MakeHarness, node: CommitLogWriter
) -> None:
    daemon = follow(make_harness(options=fast(follow_markers=False)), node)
    daemon.start()
    first = node.current
    node.write(user("a"))
    node.advance()
    await daemon.settle()
    assert not daemon.sink.keys
    age(first)
    first.discard()
    await daemon.until(lambda: daemon.sink.keys == ["a"])


async def test_an_upgrade_to_a_release_that_links_segments_is_followed(
    daemon: Harness, node: CommitLogWriter, tmp_path: Path
) -> None:
    daemon.start()
    node.write(user("a"))
    node.current.mark()
    await daemon.until(lambda: daemon.sink.keys == ["a"])
    node.shut_down_and_start()
    for segment in node.segments[-2:]:
        segment.path.unlink()
    newer = CommitLogWriter(tmp_path, first_id=node.segments[-1].id + 1_000_000)
    newer.write(user("b"))
    newer.current.sync()
    await daemon.until(lambda: "b" in daemon.sink.keys)
    assert not daemon.gaps
    assert newer.current.link.exists()


async def test_a_commit_log_folder_that_is_missing_is_waited_for(daemon: Harness, node: CommitLogWriter) -> None:
    hidden = node.storage.with_name("hidden")
    node.write(user("a"))
    node.current.mark()
    shutil.move(node.storage, hidden)
    daemon.start()
    await daemon.settle()
    assert not daemon.sink.keys
    shutil.move(hidden, node.storage)
    await daemon.until(lambda: daemon.sink.keys == ["a"])
