"""The reader on arbitrary bytes: it ends, and returns only valid updates."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_daemon.model.errors import CommitLogError
from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.sources.log.lifecycle import Evidence
from cdc_daemon.sources.log.segment_reader import SegmentReader
from tests.segments import SCHEMA, CommitLogWriter, SegmentWriter, user

KEYS = [f"user-{number}" for number in range(12)]
SIZE = 1024


def closed_segment(root: Path) -> SegmentWriter:
    """Write a segment of four sections with three entries each."""
    node = CommitLogWriter(root, size=SIZE)
    segment = node.current
    for number, key in enumerate(KEYS, start=1):
        assert segment.add(user(key))
        if number % 3 == 0:
            segment.mark()
    segment.close()
    return segment


def read_to_end(root: Path, segment: SegmentWriter, evidence: Evidence, *, limit: int = 2) -> list[str]:
    """Return the keys found; fail if the reader does not end."""
    [file] = [file for file in CdcFolder(root / "cdc_raw").look().segments if file.id == segment.id]
    reader = SegmentReader(file)
    found: list[str] = []
    try:
        for _ in range(1000):
            if not reader.fetch(evidence):
                reader.take_damages()
                return found
            portion = reader.decode(SCHEMA, limit=limit)
            if portion.end == portion.start:
                return found
            reader.advance(portion)
            found += [update.partition_key.decode() for update in portion.updates]
    finally:
        reader.close()
    raise AssertionError("the reader goes round in circles")


def test_a_sound_segment_is_read_whole(tmp_path: Path) -> None:
    segment = closed_segment(tmp_path)
    assert read_to_end(tmp_path, segment, Evidence(segment.marker, closed=True)) == KEYS


def test_it_knows_how_much_of_a_section_is_ahead(tmp_path: Path) -> None:
    segment = closed_segment(tmp_path)
    [file] = [file for file in CdcFolder(tmp_path / "cdc_raw").look().segments if file.id == segment.id]
    reader = SegmentReader(file)
    assert reader.ahead == 0
    assert reader.fetch(Evidence(segment.marker, closed=True))
    whole = reader.ahead
    reader.advance(reader.decode(SCHEMA, limit=1))
    assert 0 < reader.ahead < whole
    assert whole - reader.ahead == reader.ahead // 2  # of three entries of one size, two are left
    reader.advance(reader.decode(SCHEMA, limit=2))
    assert reader.ahead == 0
    reader.close()


def test_its_end_is_blank_until_the_next_marker_is_written(tmp_path: Path) -> None:
    segment = CommitLogWriter(tmp_path, size=SIZE).current
    assert segment.add(user("first"))
    segment.mark()
    [file] = [file for file in CdcFolder(tmp_path / "cdc_raw").look().segments if file.id == segment.id]
    reader = SegmentReader(file)
    evidence = Evidence()

    def blank() -> bool:
        return reader.is_blank

    assert not blank(), "nothing was fetched yet"
    assert reader.fetch(evidence)
    assert not blank(), "a section is ahead"
    reader.advance(reader.decode(SCHEMA, limit=9))
    assert not reader.fetch(evidence)
    assert blank()
    assert segment.add(user("second"))
    assert blank(), "entries become readable with their marker"
    segment.mark()
    assert not blank()
    assert reader.fetch(evidence)
    reader.close()
    assert not blank()


@settings(max_examples=150, deadline=None)
@given(
    flips=st.dictionaries(st.integers(0, SIZE - 1), st.integers(1, 255), min_size=1, max_size=6),
    closed=st.booleans(),
    crashed=st.booleans(),
)
def test_flipped_bytes_never_make_a_wrong_key_nor_an_endless_loop(
    flips: dict[int, int], *, closed: bool, crashed: bool
) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        segment = closed_segment(root)
        whole = segment.link.read_bytes()
        for place, change in flips.items():
            segment.write_at(place, bytes([whole[place] ^ change]))
        evidence = Evidence(SIZE if crashed else segment.marker, closed=closed)
        try:
            found = read_to_end(root, segment, evidence)
        except CommitLogError:
            return
        assert [key for key in KEYS if key in found] == found, "in order, each once, and none that was not written"


@settings(max_examples=100, deadline=None)
@given(length=st.integers(0, SIZE), closed=st.booleans())
def test_a_segment_cut_anywhere_gives_its_beginning(length: int, *, closed: bool) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        segment = closed_segment(root)
        with segment.path.open("r+b") as file:
            file.truncate(length)
        try:
            found = read_to_end(root, segment, Evidence(segment.marker, closed=closed))
        except CommitLogError:
            return
        assert found == KEYS[: len(found)]
