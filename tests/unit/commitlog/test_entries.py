from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.entries import OVERHEAD, read_entries
from cdc_daemon.commitlog.section import Section
from cdc_daemon.model.errors import CommitLogError, DamagedSegmentError
from tests.unit.commitlog.writer import entry

START = 1000
PAYLOADS = st.lists(st.binary(min_size=10, max_size=200), min_size=1, max_size=8)


def section(data: bytes, resume: int = START) -> Section:
    return Section(data, START, START + len(data), resume)


def read(data: bytes, from_position: int = 0) -> tuple[list[tuple[bytes, int]], list[CommitLogError]]:
    problems: list[CommitLogError] = []
    found = list(read_entries(section(data), segment="s", problems=problems, from_position=from_position))
    return found, problems


@given(PAYLOADS)
def test_round_trip_with_end_positions(payloads: list[bytes]) -> None:
    found, problems = read(b"".join(map(entry, payloads)))
    assert [payload for payload, _ in found] == payloads
    ends = []
    end = START
    for payload in payloads:
        end += len(payload) + OVERHEAD
        ends.append(end)
    assert [end for _, end in found] == ends
    assert not problems


@given(PAYLOADS, st.data())
def test_starts_at_the_given_position(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(entry, payloads))
    skipped = data.draw(st.integers(0, len(payloads)))
    position = START + sum(len(payload) + OVERHEAD for payload in payloads[:skipped])
    found, problems = read(whole, position)
    assert [payload for payload, _ in found] == payloads[skipped:]
    assert not problems


@given(PAYLOADS, st.data())
def test_a_flipped_byte_costs_its_entry_or_the_rest_never_more(payloads: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(map(entry, payloads)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    hit = offset = 0
    while offset + len(payloads[hit]) + OVERHEAD <= at:
        offset += len(payloads[hit]) + OVERHEAD
        hit += 1
    found, problems = read(bytes(whole))
    in_head = at - offset < 8
    assert [payload for payload, _ in found] == payloads[:hit] + ([] if in_head else payloads[hit + 1 :])
    (problem,) = problems
    assert isinstance(problem, DamagedSegmentError)
    assert problem.where["position"] == START + offset
    assert problem.where["segment"] == "s"
    assert problem.data == bytes(whole[offset:] if in_head else whole[offset : offset + len(payloads[hit]) + OVERHEAD])


@given(PAYLOADS, st.data())
def test_a_section_cut_short_is_damage(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(entry, payloads))
    length = data.draw(st.integers(0, len(whole) - 1))
    found, problems = read(whole[:length])
    assert [payload for payload, _ in found] == payloads[: len(found)]
    complete = START + sum(len(payload) + OVERHEAD for payload, _ in found)
    if complete == START + length:
        assert not problems
    else:
        (problem,) = problems
        assert problem.where["position"] == complete
        assert problem.data == whole[complete - START : length]


def test_zeros_among_what_is_covered_are_damage() -> None:
    good = entry(b"a good mutation")
    found, (problem,) = read(good + bytes(4096))
    assert len(found) == 1
    assert "found zeros" in problem.message
    assert problem.where["position"] == START + len(good)


def test_a_size_too_small_for_a_mutation_is_damage() -> None:
    found, (problem,) = read(entry(b"tiny") + entry(b"a good mutation"))
    assert not found
    assert "found 4" in problem.message


@given(st.binary(max_size=300))
def test_any_bytes_are_entries_or_damage(data: bytes) -> None:
    found, problems = read(data)
    assert found or problems or not data


def test_an_empty_section_holds_nothing() -> None:
    assert read(b"") == ([], [])
