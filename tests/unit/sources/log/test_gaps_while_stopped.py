"""A segment that was deleted between two others while the daemon was down is reported once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.model.errors import StoreError
from cdc_daemon.sources.log.folder import Listing, SegmentFile
from cdc_daemon.sources.log.gaps import Gap, GapReason, Known, find_holes, find_missing
from cdc_daemon.store import Store
from cdc_daemon.store.checkpoints import SeenSegment, SegmentState
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from tests.segments import CommitLogWriter, SegmentWriter, other, user
from tests.unit.sources.log.conftest import MakeHarness

RUN = 1_000_000
"""The first id of a run: the wall clock's milliseconds at its start."""

LATER = RUN + 60_000
"""A moment in that run, a minute after its start."""


def listing(present: dict[int, bool], *, orphans: tuple[int, ...] = (), modified: float = LATER) -> Listing:
    """Return a listing of segments, each with or without an index file."""
    files = [
        SegmentFile(
            id=RUN + each,
            version=7,
            path=Path("x"),
            index_path=Path("y"),
            size=1,
            links=2,
            modified=modified / 1000,
            has_index=has_index,
        )
        for each, has_index in sorted(present.items())
    ]
    return Listing(tuple(files), {RUN + each: Path("z") for each in orphans}, 0)


def seen(**states: str) -> list[SeenSegment]:
    return [SeenSegment(RUN + int(name[1:]), SegmentState(state), LATER) for name, state in states.items()]


def told(gaps: list[Gap]) -> list[tuple[int, int | None, int]]:
    return [
        (gap.after.segment_id - RUN, None if gap.before is None else gap.before - RUN, gap.segments) for gap in gaps
    ]


CDC, PLAIN = True, False


@pytest.mark.parametrize(
    ("present", "newest", "consumed", "expected"),
    [
        pytest.param({1: CDC, 2: CDC, 3: CDC}, 1, (), [], id="none missing"),
        pytest.param({1: CDC, 3: CDC}, 1, (), [(2, 3, 1)], id="one missing"),
        pytest.param({1: CDC, 5: CDC, 6: CDC}, 1, (), [(2, 5, 3)], id="several missing"),
        pytest.param({1: CDC, 3: CDC, 4: CDC, 6: CDC}, 1, (), [(2, 3, 1), (5, 6, 1)], id="two holes"),
        pytest.param({1: CDC, 3: CDC}, 1, (2,), [], id="it was consumed"),
        pytest.param({1: CDC, 3: CDC}, 3, (), [], id="it was accounted for before the absence"),
        pytest.param({1: PLAIN, 3: CDC}, 1, (), [], id="no CDC data before it"),
        pytest.param({1: CDC, 3: PLAIN, 4: CDC}, 1, (), [], id="no CDC data behind it"),
        pytest.param({1: CDC, 3: PLAIN, 4: PLAIN}, 1, (), [(2, 3, 1)], id="the next one is still in use"),
        pytest.param({3: CDC}, 1, (), [], id="nothing before it"),
        pytest.param({1: CDC}, 1, (), [], id="nothing behind it"),
        pytest.param({}, 1, (), [], id="nothing at all"),
        pytest.param({1: CDC, 90_000: CDC, 90_001: PLAIN}, 1, (), [], id="another run of Cassandra"),
        pytest.param({1: CDC, 90_000: CDC, 90_002: CDC}, 1, (), [], id="a hole in a run that began after every write"),
    ],
)
def test_holes_in_the_ids(
    present: dict[int, bool], newest: int, consumed: tuple[int, ...], expected: list[tuple[int, int, int]]
) -> None:
    known = Known(newest=RUN + newest, consumed=[RUN + each for each in consumed])
    gaps = find_holes(listing(present), known)
    assert told(gaps) == expected
    assert all(gap.reason is GapReason.HOLE and not gap.certain for gap in gaps)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"s1": "cdc", "s2": "open"}, [(2, 3, 1)]),
        ({"s1": "cdc", "s2": "plain"}, []),
        ({"s1": "open", "s2": "open"}, []),
    ],
)
def test_what_was_seen_of_a_missing_segment_counts(
    states: dict[str, str], expected: list[tuple[int, int, int]]
) -> None:
    known = Known(seen=seen(**states), newest=RUN + 2)
    assert told(find_holes(listing({1: states["s1"] == "cdc", 3: CDC}), known)) == expected


def test_a_segment_that_was_consumed_held_cdc_data() -> None:
    known = Known(seen=seen(s1="plain"), newest=RUN + 1, consumed=[RUN + 1])
    assert told(find_holes(listing({3: CDC}), known)) == [(2, 3, 1)]


def test_a_segment_that_was_seen_with_cdc_data_is_a_certain_gap() -> None:
    known = Known(seen=seen(s1="cdc", s2="cdc", s3="cdc", s4="cdc", s5="open"), newest=RUN + 5, consumed=[RUN + 4])
    gaps = find_missing(listing({3: CDC, 6: CDC}), known)
    assert told(gaps) == [(1, 3, 2)]
    assert all(gap.certain and gap.reason is GapReason.VANISHED for gap in gaps)
    assert told(find_missing(listing({}), known)) == [(1, None, 3)]
    assert find_missing(listing({3: CDC}, orphans=(1, 2)), known) == [], "an index file tells of it elsewhere"
    assert find_missing(listing({3: CDC}), known._replace(tracked={RUN + 1: True, RUN + 2: True})) == []


def test_a_hole_says_that_it_can_be_without_loss() -> None:
    [gap] = find_holes(listing({1: CDC, 4: CDC}), Known(newest=RUN))
    assert str(gap) == f"2 segments are missing from {RUN + 2}:0 up to segment {RUN + 4}: changes may be lost (hole)"
    assert "can be without loss" in gap.hint


def remove(segment: SegmentWriter) -> None:
    """Delete a segment, as an operator might to free space."""
    segment.link.unlink()
    segment.index.unlink(missing_ok=True)


def filled(node: CommitLogWriter, key: str) -> SegmentWriter:
    """Write to the segment in use, which is then closed."""
    segment = node.current
    node.write(user(key))
    node.advance()
    return segment


async def test_segments_with_cdc_data_that_are_deleted_while_the_daemon_is_stopped_are_gaps_once(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    """Deleted segments that were seen are certain gaps; those that were never seen are possible gaps."""
    harness = make_harness(instant=False)
    first, second = filled(node, "a"), filled(node, "b")
    node.write(user("c"))
    node.current.sync()
    harness.start()
    await harness.until(lambda: len(harness.sink.keys) == 3)
    await harness.until(lambda: harness.seen.segments.get(node.current.id, (0, ""))[1] == SegmentState.CDC)
    await harness.kill()

    filled(node, "d")
    unseen = [filled(node, "e"), filled(node, "f")]
    filled(node, "g")
    remove(second)
    for segment in unseen:
        remove(segment)

    harness.start()
    await harness.until(lambda: len(harness.gaps) == 2)
    certain, possible = harness.gaps
    assert (certain.reason, certain.certain) == (GapReason.VANISHED, True)
    assert certain.after == Position(second.id, 0)
    assert (possible.reason, possible.certain, possible.segments) == (GapReason.HOLE, False, 2)
    assert (possible.after, possible.before) == (Position(unseen[0].id, 0), unseen[1].id + 1)
    assert [request.detail["certain"] for request in harness.requested.requests] == [True, False]
    [letter] = harness.store.letters
    assert letter.segment_id == second.id, "what may be nothing is no dead letter"
    await harness.settle()
    await harness.kill()

    harness.start()
    await harness.settle()
    await harness.stop(deadline=0)
    assert len(harness.gaps) == 2
    assert first.link.exists()


async def test_the_segment_that_was_prepared_when_the_daemon_stopped_is_a_possible_gap(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(instant=False)
    node.write(user("a"))
    node.current.sync()
    harness.start()
    await harness.until(lambda: len(harness.seen.segments) == 2)
    await harness.kill()
    node.advance()
    prepared = filled(node, "b")
    filled(node, "c")
    remove(prepared)
    harness.start()
    await harness.until(lambda: harness.gaps)
    [gap] = harness.gaps
    assert (gap.reason, gap.after, gap.segments) == (GapReason.HOLE, Position(prepared.id, 0), 1)


async def test_segments_without_cdc_data_that_cassandra_deletes_while_the_daemon_is_stopped_are_no_gap(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    """They were seen without CDC data, so no reconcile is requested."""
    harness = make_harness(instant=False)
    filled(node, "a")
    plain = []
    for number in range(3):
        plain.append(node.current)
        node.write(other(str(number)), cdc=False)
        node.advance()
    node.write(user("b"))
    node.current.sync()
    harness.start()
    await harness.until(lambda: len(harness.sink.keys) == 2)
    await harness.until(
        lambda: (
            all(harness.seen.segments[each.id].state is SegmentState.PLAIN for each in plain)
            and harness.seen.segments[node.current.id].state is SegmentState.CDC
        )
    )
    await harness.kill()
    for segment in plain:
        segment.discard()
    harness.start()
    await harness.settle()
    assert harness.gaps == []
    assert harness.requested.requests == []


async def test_restarts_of_cassandra_while_the_daemon_is_stopped_are_no_gap(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(instant=False)
    filled(node, "a")
    node.write(user("b"))
    node.current.sync()
    harness.start()
    await harness.until(lambda: len(harness.seen.segments) == 3)
    await harness.kill()
    node.crash_and_restart()
    node.write(user("c"))
    node.shut_down_and_start()
    node.write(user("d"))
    node.current.sync()
    harness.start()
    await harness.until(lambda: {"a", "b", "c", "d"} <= set(harness.sink.keys))
    await harness.settle()
    assert harness.gaps == []


async def test_an_older_store_that_knows_no_segments_goes_by_its_checkpoint(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness(instant=False)
    first, second = filled(node, "a"), filled(node, "b")
    filled(node, "c")
    harness.store.saved["commitlog"] = (first.id, 0)
    remove(second)
    harness.start()
    await harness.until(lambda: harness.gaps)
    [gap] = harness.gaps
    assert (gap.reason, gap.after) == (GapReason.HOLE, Position(second.id, 0))


async def test_a_new_state_directory_misses_nothing(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    filled(node, "a")
    second = filled(node, "b")
    filled(node, "c")
    remove(second)
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["a", "c"])
    await harness.settle()
    assert harness.gaps == []


async def test_a_store_that_fails_half_way_repeats_no_gap(
    node: CommitLogWriter, make_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = make_harness(instant=False)
    first, second = filled(node, "a"), filled(node, "b")
    filled(node, "c")
    harness.store.saved["commitlog"] = (first.id, 0)
    remove(second)
    record, failures = harness.seen.record, [StoreError("the disk is full")] * 3

    def fail(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        record(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(harness.seen, "record", fail)
    harness.start()
    await harness.until(lambda: harness.seen.segments)
    assert len(harness.gaps) == 1
    assert failures == []


async def test_released_segments_are_not_kept_in_mind(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    released = [filled(node, key) for key in "abc"]
    harness.start()
    await harness.until(lambda: not any(each.link.exists() for each in released))
    await harness.until(lambda: harness.seen.segments.keys() == {node.current.id, node.prepared.id})


def test_known_segments_are_kept_durably(tmp_path: Path) -> None:
    store = Store(tmp_path)
    segments = store.seen_segments
    segments.record([SeenSegment(5, SegmentState.CDC, 10), SeenSegment(6, SegmentState.OPEN, 10)], [])
    segments.record([SeenSegment(5, SegmentState.PLAIN, 9), SeenSegment(6, SegmentState.PLAIN, 12)], [])
    expected = [SeenSegment(5, SegmentState.CDC, 10), SeenSegment(6, SegmentState.PLAIN, 12)]
    assert segments.load() == expected
    store.close()
    store = Store(tmp_path)
    assert store.seen_segments.load() == expected
    store.seen_segments.record([], [5, 6])
    assert store.seen_segments.load() == [SeenSegment(6, SegmentState.PLAIN, 12)], "the newest one stays"
    store.close()


def test_consumed_segments_are_found_from_an_id_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for segment_id in (3, 5, 8):
        store.checkpoints.mark_consumed(segment_id, 1)
    found = store.checkpoints.consumed_since
    assert [found(each) for each in (1, 3, 4, 8, 9)] == [[3, 5, 8], [3, 5, 8], [3, 5, 8], [5, 8], [8]]
    store.close()


def test_a_certain_gap_at_the_same_place_makes_a_possible_one_certain(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for certain in (False, True):
        request = ReconcileRequest(reason=ReconcileReason.GAP, segment_id=5, detail={"certain": certain})
        store.reconcile_requests.add([request])
        [kept] = store.reconcile_requests.open()
        assert kept.possible is not certain
        assert str(kept).startswith("gap" if certain else "possible gap")
    store.close()
