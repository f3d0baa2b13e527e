from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog import section as section_module
from cdc_daemon.commitlog.descriptor import read_descriptor
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.markers import MARKER_SIZE
from cdc_daemon.commitlog.section import Section, SectionReader
from cdc_daemon.model.errors import CommitLogError, ConfigError, DamagedSegmentError, UnsupportedSegmentError
from tests.unit.commitlog.writer import entry, header, marker, segment

ID = 1795461419810
NAME = f"CommitLog-7-{ID}.log"
KEY = bytes(range(100, 116))
COMPRESSORS = ["LZ4Compressor", "SnappyCompressor", "DeflateCompressor", "ZstdCompressor", "NoopCompressor"]
MUTATIONS = [[b"first mutation", b"second mutation" * 10], [b"third mutation" * 100], [b"the fourth of all"]]
PLAIN = [b"".join(map(entry, each)) for each in MUTATIONS]


class Ring:
    def __init__(self, key: bytes = KEY) -> None:
        self._key = key

    def key(self, alias: str, /) -> bytes:
        if alias != "testing:1":
            raise ConfigError("no such key")
        return self._key


def open_reader(data: bytes, position: int = 0, key: bytes = KEY) -> SectionReader:
    descriptor = read_descriptor(data, segment=NAME)
    assert descriptor is not None
    return SectionReader(data, descriptor, segment=NAME, position=position, keyring=Ring(key))


def drain(reader: SectionReader) -> list[Section]:
    return list(iter(reader.next, None))


def make(kind: str | None, *, sections: int = 3) -> bytes:
    if kind == "encrypted":
        return segment(MUTATIONS[:sections], key=KEY)
    return segment(MUTATIONS[:sections], compression=kind)


def logical_starts(data: bytes) -> list[int]:
    descriptor = read_descriptor(data, segment=NAME)
    assert descriptor is not None
    starts = [descriptor.header_size + MARKER_SIZE]
    for plain in PLAIN:
        starts.append(starts[-1] + len(plain) + MARKER_SIZE)
    return starts


KINDS = [None, "encrypted", *COMPRESSORS]


@pytest.mark.parametrize("kind", KINDS)
def test_sections_come_plain_with_logical_positions(kind: str | None) -> None:
    data = make(kind)
    found = drain(open_reader(data))
    starts = logical_starts(data)
    assert [each.data for each in found] == PLAIN
    assert [each.start for each in found] == starts[:3]
    assert [each.end for each in found] == [start - MARKER_SIZE for start in starts[1:]]
    assert [each.resume for each in found] == starts[:3]


@pytest.mark.parametrize("kind", KINDS)
def test_resumes_in_the_middle_of_a_section(kind: str | None) -> None:
    data = make(kind)
    starts = logical_starts(data)
    position = starts[0] + len(entry(MUTATIONS[0][0]))
    found = drain(open_reader(data, position))
    assert [each.resume for each in found] == [position, *starts[1:3]]
    assert [each.data for each in drain(open_reader(data, starts[2] - MARKER_SIZE))] == PLAIN[2:]
    assert drain(open_reader(data, starts[3])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_growing_file_gives_each_section_once(kind: str | None) -> None:
    whole = make(kind)
    reader = open_reader(whole[: len(make(kind, sections=1))])
    found: list[Section] = []
    for length in range(len(whole) + 1):
        reader.refill(whole[:length])
        found += drain(reader)
    assert [each.data for each in found] == PLAIN


def test_a_mapped_file_shows_later_sections_by_itself() -> None:
    data = bytearray(segment(MUTATIONS[:1], size=4096))
    reader = open_reader(data)  # type: ignore[arg-type]  # grows under the reader, as a map does
    assert [each.data for each in drain(reader)] == PLAIN[:1]
    assert reader.next() is None
    end = reader.position
    data[end : end + MARKER_SIZE + len(PLAIN[1])] = bytes(MARKER_SIZE) + PLAIN[1]
    assert reader.next() is None  # entries past the last marker are none yet
    following = end + MARKER_SIZE + len(PLAIN[1])
    written = marker(ID, end, following)
    data[end : end + 4] = written[:4]
    assert reader.next() is None  # the marker's two ints are not written at once
    data[end + 4 : end + 8] = written[4:]
    assert [each.data for each in drain(reader)] == PLAIN[1:2]
    assert reader.position == following
    assert not reader.finished


def test_finished_when_no_marker_fits_any_more() -> None:
    data = segment(MUTATIONS, size=0)
    reader = open_reader(data)
    assert not reader.finished
    drain(reader)
    assert not reader.finished  # eight zeros follow: room for a marker
    reader.refill(data[:-1])
    assert reader.finished


@pytest.mark.parametrize("kind", KINDS[1:])
def test_never_finished_where_each_section_lengthens_the_file(kind: str) -> None:
    reader = open_reader(make(kind))
    drain(reader)
    assert not reader.finished


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_misses_bytes(kind: str | None) -> None:
    data = make(kind)
    reader = open_reader(data)
    whole = 0
    for _ in range(2):
        assert reader.next() is not None
        whole = reader.position
    assert reader.missing == 0
    cut = len(data) - (8 if kind is None else 0) - 5
    reader.refill(data[:cut])
    assert reader.next() is None
    assert reader.missing == 5
    assert reader.position == whole
    reader.refill(data)
    assert [each.data for each in drain(reader)] == PLAIN[2:]
    assert reader.missing == 0


def file_markers(data: bytes) -> list[int]:
    descriptor = read_descriptor(data, segment=NAME)
    assert descriptor is not None
    found = [descriptor.header_size]
    while int.from_bytes(data[found[-1] : found[-1] + 4], "big"):
        found.append(int.from_bytes(data[found[-1] : found[-1] + 4], "big"))
    return found[:-1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(4, MARKER_SIZE))
def test_a_bad_marker_is_damage_and_costs_nothing(kind: str | None, at: int) -> None:
    data = bytearray(make(kind))
    second, third = file_markers(bytes(data))[1:3]
    data[second + at] ^= 0x55
    reader = open_reader(bytes(data))
    first = reader.next()
    assert first is not None
    for _ in range(2):
        with pytest.raises(DamagedSegmentError) as caught:
            reader.next()
        assert caught.value.where["file_position"] == second
        assert caught.value.where["position"] == first.end
        assert caught.value.where["segment"] == NAME
    assert reader.resynchronise() == third
    found = drain(reader)
    assert [each.data for each in found] == PLAIN[1:]
    assert [each.start for each in found] == logical_starts(bytes(data))[1:3]
    assert reader.resynchronise() is None


@pytest.mark.parametrize("kind", KINDS)
@given(at=st.integers(0, 3), flip=st.integers(1, 255))
def test_a_marker_that_points_elsewhere_is_noticed(kind: str | None, at: int, flip: int) -> None:
    """A marker's checksum does not cover its target. The entries' checksums or the end of the file show a wrong one."""
    data = bytearray(make(kind))
    durable = logical_starts(bytes(data))[3] - MARKER_SIZE
    data[file_markers(bytes(data))[1] + at] ^= flip
    reader = open_reader(bytes(data))
    found: list[Section] = []
    problems: list[CommitLogError] = []
    for _ in range(10):
        section = next_or_damage(reader)
        if isinstance(section, Section):
            found.append(section)
            list(read_entries(section, segment=NAME, problems=problems))
            continue
        problem = section or reader.unread(durable)
        if problem is not None:
            problems.append(problem)
        if problem is None or (reader.resynchronise() is None and section is None):
            break
    assert problems
    assert found[0].data == PLAIN[0]
    assert found[-1].data == PLAIN[2] or at > 0


def test_a_zeroed_page_hides_sections_until_resynchronised() -> None:
    data = bytearray(segment([[bytes([each]) * 5000] for each in range(1, 5)]))
    second = file_markers(bytes(data))[1]
    data[second : second + 4096] = bytes(4096)
    reader = open_reader(bytes(data))
    assert len(drain(reader)) == 1
    unread = reader.unread(len(data))
    assert unread is not None
    assert "found zeros" in unread.message
    assert unread.where["position"] == second
    assert reader.resynchronise() is not None
    problems: list[CommitLogError] = []
    found = [
        payload for section in drain(reader) for payload, _ in read_entries(section, segment=NAME, problems=problems)
    ]
    assert found == [bytes([each]) * 5000 for each in (3, 4)]
    assert len(problems) == 1


def test_nothing_is_unread_after_a_crash() -> None:
    data = segment(MUTATIONS, size=20_000)
    reader = open_reader(data)
    assert reader.unread(len(data)) is not None  # nothing was read yet
    drain(reader)
    assert reader.unread(len(data)) is None
    assert reader.unread(reader.position) is None


def test_a_marker_that_points_back_is_damage() -> None:
    start = len(header(7, ID, {}))
    for target in (1, start, start + 7):
        data = header(7, ID, {}) + marker(ID, start, target) + bytes(100)
        with pytest.raises(DamagedSegmentError, match="to point past"):
            open_reader(data).next()


def next_or_damage(reader: SectionReader) -> Section | DamagedSegmentError | None:
    try:
        return reader.next()
    except DamagedSegmentError as error:
        return error


@pytest.mark.parametrize("kind", KINDS[1:])
@given(st.data())
def test_a_damaged_block_is_damage_and_the_next_section_is_read(kind: str, data: st.DataObject) -> None:
    whole = bytearray(make(kind))
    second, third = file_markers(bytes(whole))[1:3]
    at = data.draw(st.integers(second + MARKER_SIZE, third - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    reader = open_reader(bytes(whole))
    found: list[bytes] = []
    damaged = 0
    while (section := next_or_damage(reader)) is not None:
        if isinstance(section, Section):
            found.append(section.data)
        else:
            damaged += 1
            assert section.where["file_position"] == second + MARKER_SIZE
    # The entries' own checksums find damage that the compressor's checksum does not.
    assert found[0] == PLAIN[0]
    assert found[-1] == PLAIN[2]
    assert len(found) == 3 - damaged


def test_a_length_that_lies_allocates_nothing() -> None:
    data = bytearray(make("LZ4Compressor"))
    first = file_markers(bytes(data))[0]
    data[first + 8 : first + 16] = b"\x7f\xff\xff\xff" + b"\xff\xff\xff\x7f"
    with pytest.raises(DamagedSegmentError, match="claims"):
        open_reader(bytes(data)).next()


def test_an_empty_section_is_read_as_one() -> None:
    for kind in KINDS:
        data = (
            segment([[], MUTATIONS[0]], key=KEY)
            if kind == "encrypted"
            else segment([[], MUTATIONS[0]], compression=kind)
        )
        assert [each.data for each in drain(open_reader(data)) if each.data] == PLAIN[:1]


def test_an_encrypted_segment_needs_its_key() -> None:
    data = make("encrypted")
    descriptor = read_descriptor(data, segment=NAME)
    assert descriptor is not None
    with pytest.raises(UnsupportedSegmentError, match="encrypted with key 'testing:1'"):
        SectionReader(data, descriptor, segment=NAME)
    with pytest.raises(UnsupportedSegmentError, match="AES key"):
        open_reader(data, key=b"short")
    wrong = open_reader(data, key=bytes(16))
    for _ in range(3):
        with pytest.raises(DamagedSegmentError) as caught:
            wrong.next()
        assert KEY.hex() not in str(caught.value)
    assert wrong.next() is None


def test_a_long_section_comes_in_pieces_that_end_with_entries() -> None:
    mutations = [bytes([number]) * (100 + number) for number in range(1, 200)]
    data = segment([mutations, MUTATIONS[0]])
    with patch.object(section_module, "_PIECE", 1000):
        found = drain(open_reader(data))
    assert len(found) > 5
    assert b"".join(each.data for each in found[:-1]) == b"".join(map(entry, mutations))
    assert all(one.end == other.start for one, other in pairwise(found[:-1]))
    boundaries = {0}
    for mutation in mutations:
        boundaries.add(max(boundaries) + len(entry(mutation)))
    assert {each.end - found[0].start for each in found[:-1]} <= boundaries
    with patch.object(section_module, "_PIECE", 1000):
        resumed = drain(open_reader(data, found[2].end))
    assert b"".join(each.data[each.resume - each.start :] for each in resumed) == b"".join(
        each.data for each in found[3:]
    )


def test_a_long_section_with_a_bad_size_is_handed_out_whole() -> None:
    mutations = [bytes([number]) * 300 for number in range(1, 20)]
    data = bytearray(segment([mutations]))
    at = data.index(bytes([2]) * 300) - 8
    data[at] ^= 0xFF
    with patch.object(section_module, "_PIECE", 1000):
        found = drain(open_reader(bytes(data)))
    assert b"".join(each.data for each in found) == bytes(data[found[0].start : found[-1].end])
