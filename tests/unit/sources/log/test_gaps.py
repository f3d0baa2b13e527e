"""Gaps in the log are found, and nothing else is reported as a gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.commitlog.descriptor import START, Position
from cdc_daemon.sources.log.folder import Listing, SegmentFile
from cdc_daemon.sources.log.gaps import GapReason, gap_at_start
from cdc_daemon.store.reconcile_requests import ReconcileReason
from tests.segments import CommitLogWriter, other, user
from tests.unit.sources.log.conftest import MakeHarness
from tests.unit.sources.log.harness import fast


def listing(*present: int, orphans: tuple[int, ...] = ()) -> Listing:
    return Listing(
        tuple(
            SegmentFile(id=segment_id, version=7, path=Path("x"), index_path=Path("y"), size=1, links=2, modified=0.0)
            for segment_id in present
        ),
        {segment_id: Path("z") for segment_id in orphans},
        0,
    )


@pytest.mark.parametrize(
    ("checkpoint", "present", "consumed", "certain"),
    [
        (START, (7, 8), False, None),
        (Position(7, 100), (7, 8), False, None),
        (Position(7, 0), (7, 8), False, None),
        (Position(7, 100), (8, 9), False, True),
        (Position(7, 100), (), False, True),
        (Position(7, 0), (8, 9), False, False),
        (Position(7, 100), (8, 9), True, None),
        (Position(7, 100), (9,), True, False),
        (Position(7, 100), (), True, False),
    ],
)
def test_what_is_known_after_an_absence(
    checkpoint: Position, present: tuple[int, ...], *, consumed: bool, certain: bool | None
) -> None:
    gap = gap_at_start(checkpoint, listing(*present), consumed=consumed, may_prune=True)
    assert (None if gap is None else gap.certain) == certain
    quiet = gap_at_start(checkpoint, listing(*present), consumed=consumed, may_prune=False)
    assert (quiet is not None) == bool(certain), "a node that never prunes leaves only what is certain"


def test_an_index_file_at_the_checkpoint_is_reported_elsewhere() -> None:
    assert gap_at_start(Position(7, 5), listing(9, orphans=(7,)), consumed=False, may_prune=True) is None


def test_a_gap_says_where_it_is() -> None:
    gap = gap_at_start(Position(7, 5), listing(9, 12), consumed=False, may_prune=True)
    assert gap is not None
    assert str(gap) == "changes from 7:5 up to segment 9 are lost (absent)"


async def test_a_segment_with_cdc_data_that_vanishes_unread_is_a_gap(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    first = node.current
    node.write(user("a"))
    first.sync()
    harness.sink.room.clear()
    node.prepared.add(user("b"))
    node.prepared.sync()
    harness.start()
    await harness.until(lambda: harness.observer.folder[0] == 2)
    await harness.settle(1)
    node.prepared.link.unlink()
    node.prepared.index.unlink()
    await harness.until(lambda: harness.gaps)
    harness.sink.room.set()
    [gap] = harness.gaps
    assert gap.certain
    assert gap.reason is GapReason.VANISHED
    assert gap.after == Position(node.prepared.id, 0)
    [request] = harness.requested.requests
    assert (request.reason, request.segment_id) == (ReconcileReason.GAP, node.prepared.id)
    assert (request.from_position, request.to_segment_id) == (0, gap.before)
    [letter] = harness.store.letters
    assert (letter.kind, letter.reason, letter.segment_id) == ("segment", "gap_vanished", node.prepared.id)


async def test_an_open_segment_that_loses_its_name_is_read_to_its_end(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    """Cassandra prunes and closes it; our descriptor keeps it readable, so nothing is lost."""
    harness = make_harness()
    harness.start()
    first = node.current
    node.write(user("a"))
    first.sync()
    await harness.until(lambda: harness.sink.keys == ["a"])
    first.link.unlink()
    first.index.unlink()
    await harness.settle()
    first.add(user("b"))
    first.mark()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    first.close()
    first.path.unlink()
    await harness.until(lambda: harness.store.ends.get(first.id) == first.marker)
    await harness.until(lambda: not first.index.exists())
    assert harness.gaps == []


async def test_an_index_file_without_its_segment_is_reported_once_as_a_gap(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"))
    node.advance()
    first.link.unlink()
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.gaps)
    [gap] = harness.gaps
    assert gap.reason is GapReason.INDEX_WITHOUT_SEGMENT
    assert (gap.after.segment_id, gap.before, gap.certain) == (first.id, node.current.id, True)
    await harness.until(lambda: not first.index.exists())
    await harness.settle()
    assert len(harness.gaps) == 1


async def test_an_index_file_without_its_segment_is_left_where_nothing_is_deleted(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"))
    node.advance()
    first.link.unlink()
    harness = make_harness(options=fast(release=False))
    harness.start()
    await harness.until(lambda: harness.gaps)
    await harness.settle()
    assert first.index.exists()
    assert len(harness.gaps) == 1


async def test_a_checkpoint_whose_segment_is_gone_is_a_gap(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.store.saved["commitlog"] = (node.current.id - 1, 100)
    harness.start()
    await harness.until(lambda: harness.gaps)
    [gap] = harness.gaps
    assert (gap.reason, gap.certain, gap.before) == (GapReason.ABSENT, True, node.current.id)


async def test_a_checkpoint_before_a_segment_that_came_and_went_is_a_possible_gap(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.store.saved["commitlog"] = (node.current.id - 1, 0)
    harness.start()
    await harness.until(lambda: harness.gaps)
    assert not harness.gaps[0].certain
    assert harness.store.letters == [], "what may be nothing is no dead letter"
    [request] = harness.requested.requests
    assert request.detail["certain"] is False, "but it is compared"


async def test_segments_without_cdc_data_come_and_go_without_a_gap(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    for number in range(5):
        segment = node.current
        node.write(other(str(number)), cdc=False)
        segment.mark()
        await harness.settle(2)
        node.advance()
        segment.discard()
    node.write(user("a"))
    node.current.sync()
    await harness.until(lambda: harness.sink.keys == ["a"])
    assert harness.gaps == []


async def test_a_restart_of_cassandra_is_no_gap(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("a"))
    node.current.sync()
    await harness.until(lambda: harness.sink.keys == ["a"])
    node.write(user("b"))
    node.crash_and_restart()
    node.write(user("c"))
    node.current.mark()
    await harness.until(lambda: "c" in harness.sink.keys)
    await harness.until(lambda: len(list(node.cdc_raw.glob("*.log"))) == 2)
    assert harness.gaps == []
    assert set(harness.sink.keys) == {"a", "c"}, "b had no marker behind it: Cassandra's own replay would not find it"
