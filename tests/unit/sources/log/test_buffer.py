from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdc_daemon.sources.log.buffer import FileState, SegmentBuffer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "CommitLog-7-1.log"
    path.write_bytes(b"0123456789")
    return path


def test_slices_are_read_as_of_bytes(file: Path) -> None:
    buffer = SegmentBuffer(file)
    assert len(buffer) == 10
    assert (buffer[:3], buffer[3:5], buffer[8:20], buffer[20:30], buffer[5:2]) == (b"012", b"34", b"89", b"", b"")
    buffer.close()
    buffer.close()


def test_what_is_written_later_shows_at_once_and_growth_at_the_next_look(file: Path) -> None:
    buffer = SegmentBuffer(file)
    with file.open("r+b") as writer:
        writer.write(b"abc")
        writer.flush()
        assert buffer[:4] == b"abc3"
        writer.seek(10)
        writer.write(b"XYZ")
        writer.flush()
    assert len(buffer) == 10
    assert buffer.look() == FileState(13, 1)
    assert buffer[9:] == b"9XYZ"
    buffer.close()


def test_a_file_truncated_underneath_only_makes_slices_short(file: Path) -> None:
    buffer = SegmentBuffer(file)
    os.truncate(file, 4)
    assert buffer[2:9] == b"23"
    assert buffer[6:9] == b""
    assert buffer.look().size == 4
    buffer.close()


def test_a_file_stays_readable_when_its_name_is_gone(file: Path) -> None:
    buffer = SegmentBuffer(file)
    file.unlink()
    assert buffer.look() == FileState(10, 0)
    assert buffer[:] == b"0123456789"
    buffer.close()
