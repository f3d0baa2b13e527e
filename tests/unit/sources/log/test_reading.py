"""Mutations in segments arrive as signals, in order, however the segment grows."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.model.signal import Scope, Signal
from tests.segments import (
    EVENTS,
    EVENTS_NAME,
    LATECOMERS,
    OTHERS,
    SCHEMA,
    USERS,
    USERS_NAME,
    WRITTEN,
    CommitLogWriter,
    other,
    row,
    update,
    user,
)
from tests.unit.commitlog.writer import mutation
from tests.unit.sources.log.conftest import MakeHarness
from tests.unit.sources.log.harness import fast


async def test_follows_a_segment_marker_by_marker(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("a"))
    await harness.settle()
    assert harness.sink.keys == [], "an entry without a marker behind it may still be half written"
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    node.write(user("b"), user("c"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a", "b", "c"])
    assert not node.current.index.exists(), "all this was read ahead of the index file"
    assert harness.sink.signals[0] == Signal(USERS_NAME, b"a", Scope.ROW, written=WRITTEN)


async def test_reads_what_was_there_before_it_started(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    keys = [f"user-{number}" for number in range(2000)]
    node.write(*(user(key) for key in keys))
    node.current.sync()
    assert len(node.segments) > 5
    harness = make_harness()
    harness.start()
    await harness.until(lambda: len(harness.sink.keys) >= len(keys))
    assert harness.sink.keys == keys


async def test_reads_segments_in_the_order_of_their_ids(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("first"))
    node.advance()
    node.write(user("second"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["first", "second"])


async def test_an_older_segment_that_still_grows_is_read_beside_the_newer_one(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    """A writer that saw the old segment may still use it after the new one has a marker."""
    harness = make_harness()
    harness.start()
    old, new = node.current, node.prepared
    old.add(user("old-1"))
    old.mark()
    new.add(user("new-1"))
    new.mark()
    await harness.until(lambda: set(harness.sink.keys) == {"old-1", "new-1"})
    old.add(user("old-2"))
    old.mark()
    old.close()
    await harness.until(lambda: "old-2" in harness.sink.keys)


async def test_a_segment_at_rest_is_taken_up_again_when_its_index_file_appears(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    old, new = node.current, node.prepared
    old.add(other("x"), cdc=False)
    old.mark()
    new.add(user("new"))
    new.sync()
    await harness.until(lambda: harness.sink.keys == ["new"])
    await harness.settle()
    old.add(user("late"))
    old.close()
    await harness.until(lambda: harness.sink.keys == ["new", "late"])


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENOENT])
async def test_a_segment_that_cannot_be_opened_is_tried_again_and_holds_up_no_other(
    node: CommitLogWriter, make_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    first = node.current
    node.write(user("a"))
    node.advance()
    node.write(user("b"))
    node.current.sync()
    shut, tries, real = {first.link}, Counter[Path](), os.open

    def open_file(path: Path, flags: int, mode: int = 0o777) -> int:
        tries[path] += 1
        if path in shut:
            raise OSError(code, os.strerror(code), str(path))
        return real(path, flags, mode)

    monkeypatch.setattr("cdc_daemon.sources.log.folder.os.open", open_file)
    monkeypatch.setattr("cdc_daemon.sources.log.reader._RETRY", 0.05)
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["b"] and tries[first.link] > 2)
    shut.clear()
    await harness.until(lambda: harness.sink.keys == ["b", "a"])
    await harness.until(lambda: first.id in harness.observer.releases)
    assert (harness.gaps, harness.damages) == ([], [])


async def test_without_follow_markers_reads_up_to_the_index_files_offset(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(options=fast(follow_markers=False))
    harness.start()
    node.write(user("a"))
    node.current.sync()
    await harness.until(lambda: harness.sink.keys == ["a"])
    node.write(user("b"))
    node.current.mark()
    await harness.settle()
    assert harness.sink.keys == ["a"]
    node.current.sync()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])


async def test_an_index_file_that_is_being_rewritten_is_read_again(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(options=fast(follow_markers=False))
    harness.start()
    node.write(user("a"))
    node.current.sync()
    await harness.until(lambda: harness.sink.keys == ["a"])
    node.current.index.write_text("")
    await harness.settle()
    node.write(user("b"))
    node.current.mark()
    node.current.index.write_text(str(node.current.marker)[:1])
    await harness.settle()
    assert harness.sink.keys == ["a"]
    node.current.sync()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])


async def test_tables_without_mapping_make_no_signals_and_are_counted(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    node.write(mutation(update(OTHERS, "k", row()), update(USERS, "k", row())), other("x"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["k"])
    assert harness.observer.passed == {"unmapped": 2}
    assert harness.observer.reads == {(USERS_NAME, "row"): 1}


async def test_a_table_created_a_moment_ago_is_asked_for_once(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.provider.news = Schema([*SCHEMA, LATECOMERS])
    harness.provider.failures = 1
    harness.start()
    node.write(user("a"), mutation(update(LATECOMERS, "new", row())), user("b"))
    node.current.mark()
    await harness.until(lambda: len(harness.sink.keys) >= 3)
    assert harness.sink.keys == ["a", "new", "b"]
    assert harness.provider.refreshed == 2, "once in vain, once with success"


async def test_a_mutation_of_a_table_that_stays_unknown_is_set_aside_with_its_bytes(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    node.write(mutation(update(LATECOMERS, "x", row())), user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    node.write(mutation(update(LATECOMERS, "y", row())), user("b"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    assert harness.provider.refreshed == 1
    assert harness.observer.passed == {"unknown_table": 2}
    (letter,) = harness.store.letters
    assert (letter.reason, letter.payload) == ("UnknownTableError", mutation(update(LATECOMERS, "x", row())))
    assert (letter.detail["table_id"], letter.table_id, letter.count) == (*[LATECOMERS.id.hex()] * 2, 2)
    assert harness.observer.unknown_tables == 1


async def test_neighbours_of_an_unknown_table_s_update_in_one_mutation_go_on(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    both = mutation(update(LATECOMERS, "same", row()), update(USERS, "same", row()))
    node.write(both)
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["same"])
    assert [letter.payload for letter in harness.store.letters] == [both]


async def test_each_unknown_table_has_one_letter_that_counts_its_mutations(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(options=fast(portion_mutations=3))
    harness.start()
    other = replace(LATECOMERS, id=bytes(range(16)))
    node.write(*(mutation(update(LATECOMERS, f"x{number}", row())) for number in range(10)), user("a"))
    node.write(*(mutation(update(other, f"y{number}", row())) for number in range(5)), user("b"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    letters = harness.store.letters
    assert [(each.table_id, each.count) for each in letters] == [(LATECOMERS.id.hex(), 10), (other.id.hex(), 5)]
    assert letters[0].payload == mutation(update(LATECOMERS, "x0", row()))
    assert harness.observer.unknown_tables == 2
    assert harness.observer.passed == {"unknown_table": 15}


async def test_mutations_of_an_unknown_table_that_are_read_again_count_once(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    node.write(*(mutation(update(LATECOMERS, f"x{number}", row())) for number in range(10)), user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    await harness.kill()
    harness.store.saved.clear()
    harness.store.ends.clear()
    harness.start()
    node.write(mutation(update(LATECOMERS, "y", row())), user("b"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys[-1:] == ["b"])
    (letter,) = harness.store.letters
    assert letter.count == 11
    assert harness.observer.unknown_tables == 1


async def test_a_column_added_a_moment_ago_is_asked_for(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    old_events = replace(EVENTS, regular=())
    harness.provider.current = Schema([USERS, old_events])
    harness.provider.news = SCHEMA
    harness.start()
    node.write(mutation(update(EVENTS, "k", row(1, 2))))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["k"])
    assert harness.store.letters == []
    assert harness.sink.signals[0].table == EVENTS_NAME


async def test_reading_waits_while_the_pipeline_is_full(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness(instant=False, options=fast(portion_mutations=10, open_portions=4))
    node.write(*(user(str(number)) for number in range(100)))
    node.current.mark()
    harness.start()
    await harness.until(lambda: len(harness.sink.keys) == 40)
    assert harness.tail is not None
    backlog = harness.tail.backlog()
    assert backlog.segments == 1
    assert backlog.oldest is not None
    assert backlog.oldest.id == node.current.id
    await asyncio.sleep(0.05)
    assert len(harness.sink.keys) == 40
    harness.sink.acknowledge(1)
    await harness.until(lambda: len(harness.sink.keys) == 50)
    harness.sink.instant = True
    harness.sink.acknowledge()
    await harness.until(lambda: len(harness.sink.keys) == 100)
    await harness.until(lambda: harness.tail is not None and harness.tail.backlog().size == 0)


async def test_it_beats_while_the_pipeline_takes_nothing(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.sink.room.clear()
    node.write(user("a"))
    node.current.mark()
    harness.start()
    await harness.until(lambda: harness.beats >= 3)
    before = harness.beats
    await harness.until(lambda: harness.beats > before)
    harness.sink.room.set()
    await harness.until(lambda: harness.sink.keys == ["a"])
