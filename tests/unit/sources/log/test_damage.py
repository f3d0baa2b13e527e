"""Damaged bytes are reported, stored and skipped; the tail waits for a write in progress to end."""

from __future__ import annotations

import os

import pytest
from structlog.testing import capture_logs

from cdc_daemon.commitlog.keystore import Keystore
from cdc_daemon.model.errors import DamagedSegmentError, MutationError, UnsupportedSegmentError
from cdc_daemon.sources.log.folder import SegmentBuffer
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.store.reconcile_requests import ReconcileReason
from tests.segments import LATECOMERS, USERS, CommitLogWriter, row, update, user
from tests.unit.commitlog.samples import DATA
from tests.unit.commitlog.writer import header, mutation
from tests.unit.sources.log.conftest import MakeHarness


async def test_a_damaged_entry_is_kept_and_its_neighbours_are_read(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"), user("b"), user("c"))
    first.write_at(first.entry_ends[1] - 5, b"\xff")
    node.advance()
    whole = first.link.read_bytes()
    harness = make_harness()
    with capture_logs() as logged:
        harness.start()
        await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.sink.keys == ["a", "c"]
    [damage] = harness.damages
    assert isinstance(damage, DamagedSegmentError)
    assert damage.where["position"] == first.entry_ends[0]
    [letter] = harness.store.letters
    assert letter.kind == "segment"
    assert (letter.segment_id, letter.position) == (first.id, first.entry_ends[0])
    assert letter.payload == whole[first.entry_ends[0] : first.entry_ends[1]]
    [request] = harness.requested.requests
    assert (request.reason, request.segment_id) == (ReconcileReason.DAMAGE, first.id)
    assert (request.from_position, request.to_position) == (first.entry_ends[0], first.entry_ends[1])
    assert (harness.state / "quarantine" / first.name).read_bytes() == whole
    (said,) = [event for event in logged if event["event"] == "tail.segment_damaged"]
    assert said["hint"] == letter.detail["hint"] == Quarantine(harness.state).advice


async def test_the_quarantined_copy_is_of_the_whole_segment_even_after_a_restart(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"), user("b"))
    first.write_at(first.entry_ends[0] - 5, b"\xff")
    first.sync()
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["b"])
    await harness.until(lambda: harness.store.saved["commitlog"][1] > 0)
    await harness.stop()
    assert first.link.exists()
    node.write(user("c"))
    node.advance()
    whole = first.link.read_bytes()
    again = make_harness()
    again.store = harness.store
    again.start()
    await again.until(lambda: again.observer.releases == [first.id])
    assert (again.state / "quarantine" / first.name).read_bytes() == whole
    assert len(again.store.letters) == 1


async def test_a_segment_that_cannot_be_quarantined_is_not_released(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"), user("b"))
    first.write_at(first.entry_ends[0] - 5, b"\xff")
    node.advance()
    harness = make_harness()
    harness.state.mkdir()
    (harness.state / "quarantine").write_text("in the way")
    harness.start()
    await harness.settle(2)
    assert harness.sink.keys == [], "what is lost is kept before anything behind it is handed over"
    (harness.state / "quarantine").unlink()
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.sink.keys == ["b"]


async def test_an_entry_that_is_not_durable_yet_is_waited_for(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("a"), user("b"), user("c"))
    place = node.current.entry_ends[1] - 5
    right = node.current.link.read_bytes()[place : place + 1]
    node.current.write_at(place, b"\xff")
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    await harness.settle()
    node.current.write_at(place, right)
    await harness.until(lambda: harness.sink.keys == ["a", "b", "c"])
    assert harness.damages == []


async def test_a_marker_that_is_half_written_is_waited_for(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("a"))
    place = node.current.marker + 4
    node.current.mark()
    right = node.current.link.read_bytes()[place : place + 4]
    node.current.write_at(place, b"\0\0\0\0")
    node.write(user("b"))
    node.current.mark()
    await harness.settle()
    node.current.write_at(place, right)
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    assert harness.damages == []


async def test_behind_a_bad_marker_the_next_good_one_is_found(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    first = node.current
    node.write(user("a"))
    first.mark()
    bad = first.marker
    node.write(user("b"))
    first.mark()
    node.write(user("c"))
    first.mark()
    first.write_at(bad + 4, b"\xde\xad\xbe\xef")
    node.advance()
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.sink.keys == ["a", "b", "c"], "the entries between have their own checksums"
    [damage] = harness.damages
    assert damage.where["position"] == bad
    assert (harness.state / "quarantine" / first.name).exists()


async def test_markers_that_end_before_what_is_durable_are_damage(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"))
    first.mark()
    bad = first.marker
    node.write(user("b"))
    node.advance()
    first.write_at(bad, bytes(8))
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.sink.keys == ["a", "b"], "what stands where the chain ends is read by its own checksums"
    [damage] = harness.damages
    assert f"expected sync markers up to {first.marker}, found their end at {bad}" in damage.message
    assert damage.data is not None
    assert len(damage.data) == first.marker - bad


@pytest.mark.parametrize("cut", [0, 1, 8, 20])
async def test_a_file_cut_short_is_damage_and_no_crash(
    node: CommitLogWriter, make_harness: MakeHarness, cut: int
) -> None:
    first = node.current
    node.write(user("a"))
    first.mark()
    node.write(user("b"), user("c"))
    node.advance()
    os.truncate(first.link, first.entry_ends[1] + cut)
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.sink.keys == ["a", "b"], "an entry before the cut is whole"
    assert len(harness.damages) == 1
    [request] = harness.requested.requests
    assert (request.reason, request.to_position) == (ReconcileReason.DAMAGE, None)


async def test_a_file_truncated_while_it_is_read_is_no_crash(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    node.write(user("b"))
    node.current.mark()
    os.truncate(node.current.path, 10)
    await harness.settle()
    node.prepared.add(user("c"))
    node.prepared.mark()
    await harness.until(lambda: "c" in harness.sink.keys)


async def test_a_mutation_that_no_schema_explains_is_kept(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    unreadable = b"\x01" + USERS.id + b"\x01k" + b"\x10" + b"\0\0\0" + b"\x01\x04nope" + b"\x01\x24\x00\x01"
    node.write(user("a"), unreadable, user("b"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a", "b"])
    [letter] = harness.store.letters
    assert (letter.kind, letter.payload) == ("mutation", unreadable)
    assert isinstance(harness.damages[0], MutationError)
    [request] = harness.requested.requests
    begin = node.current.entry_ends[0]
    assert (request.from_position, request.to_position) == (begin, node.current.entry_ends[1])
    assert harness.provider.refreshed == 1, "a newer schema might have explained it"
    assert not (harness.state / "quarantine").exists(), "its bytes are in the dead letter"


async def test_an_unknown_table_does_not_hide_its_neighbours(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start()
    node.write(mutation(update(LATECOMERS, "k", row()), update(USERS, "k", row())))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["k"])
    assert harness.observer.passed == {"unknown_table": 1}


@pytest.mark.parametrize("version", [5, 99])
async def test_a_segment_of_another_version_is_reported_and_kept(
    node: CommitLogWriter, make_harness: MakeHarness, version: int
) -> None:
    first = node.current
    node.write(user("a"))
    node.advance()
    first.write_at(0, header(version, first.id))
    node.write(user("b"))
    node.current.mark()
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["b"])
    await harness.settle()
    assert first.link.exists()
    [problem] = harness.damages
    assert isinstance(problem, UnsupportedSegmentError)
    [request] = harness.requested.requests
    assert (request.reason, request.segment_id, request.ends) == (ReconcileReason.QUARANTINE, first.id, False)


@pytest.mark.parametrize("late", [False, True])
async def test_a_segment_without_a_key_in_the_keystore_is_reported_and_kept(
    node: CommitLogWriter, make_harness: MakeHarness, *, late: bool
) -> None:
    other = node.prepared
    parameters = {"encCipher": "AES/CBC/PKCS5Padding", "encKeyAlias": "lost", "encIV": "00" * 16}
    encrypted = header(7, other.id, parameters)
    other.write_at(0, bytes(len(encrypted)) if late else encrypted)
    node.write(user("b"))
    node.current.mark()
    harness = make_harness()
    harness.keyring = Keystore((DATA / "keystore" / "keys.jceks").read_bytes(), "secret12")
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["b"])
    other.write_at(0, encrypted)
    await harness.until(lambda: harness.damages)
    node.write(user("c"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["b", "c"])
    assert other.link.exists()
    [problem] = harness.damages
    assert isinstance(problem, UnsupportedSegmentError)
    assert "'lost'" in problem.message
    assert problem.hint
    assert [letter.reason for letter in harness.store.letters] == ["UnsupportedSegmentError"]
    assert [request.reason for request in harness.requested.requests] == [ReconcileReason.QUARANTINE]


async def test_a_durable_segment_without_a_header_is_damage(node: CommitLogWriter, make_harness: MakeHarness) -> None:
    first = node.current
    node.write(user("a"))
    node.advance()
    first.write_at(0, bytes(first.size))
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.damages[0].message == "expected a header, found none"
    assert (harness.state / "quarantine" / first.name).exists()


@pytest.mark.parametrize("lost", [range(20), range(1), range(8, 9), range(14, 20)])
async def test_behind_a_damaged_header_everything_is_read(
    node: CommitLogWriter, make_harness: MakeHarness, lost: range
) -> None:
    first = node.current
    node.write(user("a"), user("b"))
    node.advance()
    whole = bytearray(first.link.read_bytes())
    for place in lost:
        whole[place] = 0 if len(lost) > 1 else whole[place] ^ 0x55
    first.write_at(0, bytes(whole[:20]))
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.observer.releases == [first.id])
    assert harness.sink.keys == ["a", "b"]
    [damage] = harness.damages
    assert isinstance(damage, DamagedSegmentError)
    assert damage.where["position"] == 0
    [request] = harness.requested.requests
    assert (request.reason, request.from_position) == (ReconcileReason.DAMAGE, 0)
    assert (harness.state / "quarantine" / first.name).exists()


async def test_dead_letters_that_cannot_be_kept_hold_everything_back(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    harness = make_harness()
    harness.start()
    node.write(user("a"))
    node.current.mark()
    await harness.until(lambda: harness.sink.keys == ["a"])
    harness.store.broken = True
    node.write(user("b"), user("c"))
    node.current.write_at(node.current.entry_ends[1] - 5, b"\xff")
    node.current.sync()
    await harness.settle(2)
    assert harness.sink.keys == ["a"]
    harness.store.broken = False
    await harness.until(lambda: harness.sink.keys == ["a", "c"])
    assert len(harness.store.letters) == 1


async def test_a_segment_that_may_not_be_read_is_tried_again(
    node: CommitLogWriter, make_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_daemon.sources.log.reader._RETRY", 0.01)
    real = SegmentBuffer.look
    refusals = 2

    def look(self: SegmentBuffer) -> object:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError(5, "Input/output error")
        return real(self)

    monkeypatch.setattr(SegmentBuffer, "look", look)
    node.write(user("a"))
    node.current.mark()
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["a"])
    assert refusals == 0


async def test_reading_continues_behind_damage_reported_before_a_restart(
    node: CommitLogWriter, make_harness: MakeHarness
) -> None:
    first = node.current
    node.write(user("a"))
    first.mark()
    bad = first.marker
    node.write(user("b"))
    first.mark()
    node.write(user("c"))
    first.sync()
    first.write_at(bad + 4, b"\xde\xad\xbe\xef")
    harness = make_harness()
    harness.start()
    await harness.until(lambda: harness.sink.keys == ["a", "b", "c"])
    await harness.stop()
    node.write(user("d"))
    node.advance()
    again = make_harness()
    again.store = harness.store
    again.start()
    await again.until(lambda: again.observer.releases == [first.id])
    assert again.sink.keys == ["d"]
    assert len(again.store.letters) == 1, "told of once"
