"""Segments written with direct I/O (`DirectIOSegment`, Cassandra 5.0): the file grows by pages as it is synced.

A sync writes from the beginning of the page with the last marker to the end of the page with the new one. So the file
is shorter than `commitlog_segment_size`, and a page may end in the midst of what comes after the last marker.
"""

from __future__ import annotations

import pytest

from cdc_daemon.commitlog.descriptor import parse_segment_name, read_descriptor
from cdc_daemon.commitlog.markers import MARKER_SIZE, Markers
from cdc_daemon.commitlog.section import Section, SectionReader
from tests.unit.commitlog.samples import load, sections

PAGE = 4096
SAMPLE = "5.0-direct"


@pytest.fixture(params=load(SAMPLE).segments.items(), ids=lambda item: item[0])
def segment(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    name, data = request.param
    return name, data


def test_the_file_is_as_long_as_what_is_in_it_in_whole_pages(segment: tuple[str, bytes]) -> None:
    name, data = segment
    *_, last = sections(data, segment=name)
    assert len(data) % PAGE == 0
    assert last.end <= len(data) < last.end + PAGE + MARKER_SIZE
    assert len(data) < 1 << 20, "it has not its full size from the start"


def test_growing_by_pages_it_gives_each_section_once(segment: tuple[str, bytes]) -> None:
    name, data = segment
    whole = list(sections(data, segment=name))
    descriptor = read_descriptor(data[:PAGE], segment=name)
    assert descriptor is not None
    reader = SectionReader(b"", descriptor, segment=name)
    found: list[Section] = []
    for size in range(PAGE, len(data) + PAGE, PAGE):
        reader.refill(data[:size])
        while (section := reader.next()) is not None:
            found.append(section)
    assert found == whole


def test_what_a_sync_did_not_reach_yet_is_only_not_there(segment: tuple[str, bytes]) -> None:
    """Before a sync the last page ends with data that later becomes a section, after a marker of zeros."""
    name, data = segment
    whole = list(sections(data, segment=name))
    parsed = parse_segment_name(name)
    descriptor = read_descriptor(data, segment=name)
    assert parsed is not None
    assert descriptor is not None
    markers = Markers(data, parsed[1])
    place = descriptor.header_size
    for number in range(len(whole)):
        end = -(-(place + MARKER_SIZE) // PAGE) * PAGE
        before = bytearray(data[:end])
        before[place : place + MARKER_SIZE] = bytes(MARKER_SIZE)
        assert list(sections(bytes(before), segment=name)) == whole[:number]
        pair = markers.read(place)
        assert pair is not None
        place = pair[0]
