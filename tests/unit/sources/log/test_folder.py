from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from cdc_daemon.commitlog.descriptor import CdcIndex
from cdc_daemon.sources.log.folder import CdcFolder, FileState, SegmentBuffer
from cdc_daemon.sources.log.lifecycle import Evidence, is_closed, is_resting
from cdc_daemon.sources.log.watch import FolderWatch
from tests.segments import CommitLogWriter, user


def test_lists_segments_by_id_with_what_their_index_files_say(node: CommitLogWriter) -> None:
    node.write(user("a"))
    first = node.current
    node.advance()
    node.write(user("b"))
    node.current.sync()
    listing = CdcFolder(node.cdc_raw).look()
    assert [file.id for file in listing.segments] == [segment.id for segment in node.segments]
    complete, growing, prepared = listing.segments
    assert complete.index == CdcIndex(first.marker, completed=True)
    assert growing.index == CdcIndex(node.current.marker, completed=False)
    assert (prepared.has_index, prepared.index) == (False, None)
    assert (complete.name, complete.size, complete.links, complete.version) == (first.name, first.size, 2, 7)
    expected = sum(path.stat().st_size for path in node.cdc_raw.iterdir())
    assert listing.total_bytes == expected
    assert listing.orphans == {}


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "CommitLog-7-12.log.swp",
        "CommitLog-12.log",
        "xCommitLog-7-1.log",
        "CommitLog-x_cdc.idx",
        "_cdc.idx",
    ],
)
def test_foreign_files_are_left_out(node: CommitLogWriter, name: str) -> None:
    (node.cdc_raw / name).write_text("hello")
    listing = CdcFolder(node.cdc_raw).look()
    assert len(listing.segments) == 2
    assert listing.orphans == {}


def test_a_file_that_vanishes_while_the_folder_is_read_is_left_out(
    node: CommitLogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.write(user("a"))
    node.current.sync()
    victim = node.current
    real = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self == victim.link:
            victim.link.unlink(missing_ok=True)
        if self == victim.index:
            victim.index.unlink(missing_ok=True)
        return real(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    listing = CdcFolder(node.cdc_raw).look()
    assert [file.id for file in listing.segments] == [node.prepared.id]


def test_a_file_that_cannot_be_looked_at_hides_no_other_and_is_not_lost(
    node: CommitLogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.write(user("a"))
    node.current.sync()
    folder = CdcFolder(node.cdc_raw)
    before = folder.look()
    broken = {node.current.link, node.current.index}
    real = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self in broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return real(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    assert folder.look() == before
    assert [file.id for file in CdcFolder(node.cdc_raw).look().segments] == [node.prepared.id]
    broken.remove(node.current.link)
    listing = CdcFolder(node.cdc_raw).look()
    assert [(file.has_index, file.index) for file in listing.segments] == [(True, None), (False, None)]
    assert listing.orphans == {}


def test_an_index_file_is_believed_until_it_says_more(node: CommitLogWriter) -> None:
    folder = CdcFolder(node.cdc_raw)
    node.write(user("a"))
    node.current.sync()
    known = CdcIndex(node.current.marker, completed=False)
    assert folder.look().segments[0].index == known
    for text in ("", str(known.offset)[:1], "garbage", f"{known.offset}\nCOMP"):
        node.current.index.write_text(text)
        file = folder.look().segments[0]
        assert (file.has_index, file.index) == (True, known), text
    node.current.write_index(known.offset, completed=True)
    assert folder.look().segments[0].index == CdcIndex(known.offset, completed=True)


def test_an_index_file_without_segment_is_an_orphan(node: CommitLogWriter) -> None:
    node.write(user("a"))
    node.current.sync()
    node.current.link.unlink()
    assert CdcFolder(node.cdc_raw).look().orphans == {node.current.id: node.current.index}


def test_an_absent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CdcFolder(tmp_path / "nowhere").look()


def test_when_a_segment_is_closed(node: CommitLogWriter) -> None:
    folder = CdcFolder(node.cdc_raw)
    node.write(user("a"))
    node.current.sync()
    growing = folder.look().segments[0]
    assert not is_closed(growing, newer_begun=True)
    assert Evidence.of(growing, newer_begun=True) == Evidence(node.current.marker, closed=False)
    first = node.current
    first.close()
    assert is_closed(folder.look().segments[0], newer_begun=False), "COMPLETED needs no other evidence"
    node.prepared.path.unlink()
    alone = folder.look().segments[-1]
    assert alone.links == 1
    assert is_closed(alone, newer_begun=True)
    assert not is_closed(alone, newer_begun=False)


def test_what_evidence_covers() -> None:
    assert Evidence(100, closed=False).covers(100)
    assert not Evidence(100, closed=False).covers(101)
    assert Evidence(0, closed=True).covers(1 << 40)


def test_when_a_segment_may_rest(node: CommitLogWriter) -> None:
    file = CdcFolder(node.cdc_raw).look().segments[0]
    assert is_resting(file, at_end=True, newer_begun=True)
    assert not is_resting(file, at_end=False, newer_begun=True)
    assert not is_resting(file, at_end=True, newer_begun=False)
    node.write(user("a"))
    node.current.sync()
    assert not is_resting(CdcFolder(node.cdc_raw).look().segments[0], at_end=True, newer_begun=True)


async def test_a_change_in_the_folder_is_noticed(tmp_path: Path) -> None:
    told = asyncio.Event()
    watching = asyncio.create_task(FolderWatch(tmp_path, told.set).run())
    try:
        async with asyncio.timeout(10):
            while not told.is_set():
                # The watch is set up in a thread of its own, so the first changes may come before it.
                (tmp_path / "CommitLog-7-1_cdc.idx").write_text("1")
                await asyncio.sleep(0.02)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_a_folder_that_cannot_be_watched_yet_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "cdc_raw"
    told = asyncio.Event()
    watching = asyncio.create_task(FolderWatch(folder, told.set, retry=0.01).run())
    try:
        await asyncio.sleep(0.05)
        assert not told.is_set()
        folder.mkdir()
        async with asyncio.timeout(10):
            while not told.is_set():
                (folder / "CommitLog-7-1.log").write_text("1")
                await asyncio.sleep(0.02)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


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
