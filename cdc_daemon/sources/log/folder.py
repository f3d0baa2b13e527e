"""The segments of a node: list their folders, and read a segment while it grows."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import structlog

from cdc_daemon.commitlog.descriptor import VERSION_30, CdcIndex, index_name, parse_index, parse_segment_name

log = structlog.get_logger(__name__)

_INDEX_SUFFIX = "_cdc.idx"

_LOG_INTERVAL = 60.0
"""Seconds after which an inaccessible file is logged again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFile:
    """One segment as its folder shows it.

    `size` is in bytes, `modified` in seconds since epoch. `links` counts the file's names: two while it is also in
    Cassandra's commit-log folder. `has_index` is also true while the index file is being rewritten and cannot be
    read; `index` then is its previous content, if any.

    `active` means that a segment of 3.11 is still in the commit-log folder, where the daemon deletes nothing.
    `run_ended` means that a later run of Cassandra has begun: its first id, taken as a time, is later than the last
    write to this segment (see `gaps`).
    """

    id: int
    version: int
    path: Path
    index_path: Path
    size: int
    links: int
    modified: float
    has_index: bool = False
    index: CdcIndex | None = None
    active: bool = False
    run_ended: bool = False

    @property
    def is_moved(self) -> bool:
        """Whether this is a segment of 3.11, which moves segments to `cdc_raw` and links none (see `lifecycle`)."""
        return self.version == VERSION_30

    @property
    def replayed(self) -> bool:
        """Whether Cassandra replayed this segment after a crash: its index file then holds the file's length.

        (`CommitLogReplayer.handleCDCReplayCompletion`.) It is also true, without harm, for a segment that was closed
        full to the last byte. 3.11 writes no index file: there it is true, without harm, for every segment in `cdc_raw`
        that an earlier run of Cassandra wrote.
        """
        if self.is_moved and self.run_ended and not self.active:
            return True
        return self.index is not None and self.index.completed and self.index.offset == self.size

    @property
    def name(self) -> str:
        """The file's name, such as `CommitLog-7-1795461419810.log`."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of the folders at one moment: segments by ascending id, and index files without a segment.

    `total_bytes` is the size of all segments and index files, as Cassandra counts it against `cdc_total_space`.
    `active_bytes` is the part of it that only Cassandra can free: the active segments of 3.11.
    """

    segments: tuple[SegmentFile, ...]
    orphans: dict[int, Path]
    total_bytes: int
    active_bytes: int = 0

    @property
    def moves_segments(self) -> bool:
        """Whether the node is a 3.11, to judge by its newest segment."""
        return bool(self.segments) and self.segments[-1].is_moved


class CdcFolder:
    """Lists `cdc_raw`. It omits files with other names and files that vanish during the listing.

    With `commitlog`, the commit-log folder, it also lists the active segments of 3.11 there (and no others: 4.0 and
    later link them in `cdc_raw`). The commit-log folder is listed first. So a segment that Cassandra moves meanwhile is
    seen at least once. If it is seen twice, it counts as active until the next listing: then the segments of a new run
    of Cassandra, which is what may have moved it, are in the listing too.

    A file that the system denies access to is listed as it was before and does not affect the others.
    """

    def __init__(self, path: Path, *, commitlog: Path | None = None) -> None:
        self.path = path
        self.commitlog = commitlog
        self._indexes: dict[str, tuple[tuple[int, int, int], CdcIndex]] = {}
        self._files: dict[str, SegmentFile] = {}

    def look(self) -> Listing:
        """List the folders. Raises `OSError` when one is absent or cannot be read."""
        active = {} if self.commitlog is None else self._look_at_active(self.commitlog)
        logs: list[tuple[int, int, str]] = []
        indexes: set[str] = set()
        with os.scandir(self.path) as entries:
            for entry in entries:
                parsed = parse_segment_name(entry.name)
                if parsed is not None:
                    logs.append((parsed[1], parsed[0], entry.name))
                elif entry.name.endswith(_INDEX_SUFFIX):
                    indexes.add(entry.name)
        found = dict(active)
        for segment_id, version, name in logs:
            file = self._look_at(self.path / name, segment_id, version, has_index=index_name(name) in indexes)
            if file is not None:
                found[segment_id] = replace(file, active=True) if segment_id in active else file
        segments = [found[each] for each in sorted(found)]
        newest = segments[-1].id if segments else 0
        segments = [_with_end_of_run(file, newest) if file.is_moved else file for file in segments]
        self._files = {file.name: file for file in segments}
        total = sum(file.size for file in segments) + sum(stamp[1] for stamp, _ in self._indexes.values())
        unfreeable = sum(file.size for file in segments if file.active)
        return Listing(tuple(segments), self._orphans(logs, indexes), total, unfreeable)

    def _look_at_active(self, folder: Path) -> dict[int, SegmentFile]:
        """Return the segments of 3.11 in the commit-log folder, by id."""
        with os.scandir(folder) as entries:
            named = [(parse_segment_name(entry.name), entry.name) for entry in entries]
        found = {}
        for parsed, name in named:
            if parsed is not None and parsed[0] == VERSION_30:
                file = self._look_at(folder / name, parsed[1], VERSION_30, has_index=False)
                if file is not None:
                    found[file.id] = replace(file, active=True)
        return found

    def _look_at(self, path: Path, segment_id: int, version: int, *, has_index: bool) -> SegmentFile | None:
        name = path.name
        index_path = self.path / index_name(name)
        index = self._read_index(index_path) if has_index else None
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            # The file exists: if it were omitted, it would count as lost.
            _log_failure(path, error)
            return self._files.get(name)
        return SegmentFile(
            id=segment_id,
            version=version,
            path=path,
            index_path=index_path,
            size=status.st_size,
            links=status.st_nlink,
            modified=status.st_mtime,
            has_index=has_index,
            index=index,
        )

    def _read_index(self, path: Path) -> CdcIndex | None:
        """Read an index file; return its previous content while Cassandra is rewriting it."""
        known = self._indexes.get(path.name)
        before = None if known is None else known[1]
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if known is not None and known[0] == stamp:
                return known[1]
            index = parse_index(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            _log_failure(path, error)
            return before
        if index is None or (before is not None and index < before):
            return before
        self._indexes[path.name] = (stamp, index)
        return index

    def _orphans(self, logs: list[tuple[int, int, str]], indexes: set[str]) -> dict[int, Path]:
        owned = {index_name(name) for _, _, name in logs}
        for name in [name for name in self._indexes if name not in indexes]:
            del self._indexes[name]
        orphans = {}
        for name in indexes - owned:
            parsed = parse_segment_name(name.removesuffix(_INDEX_SUFFIX) + ".log")
            if parsed is not None:
                orphans[parsed[1]] = self.path / name
        return orphans


def _with_end_of_run(file: SegmentFile, newest: int) -> SegmentFile:
    return replace(file, run_ended=newest > file.modified * 1000)


def _log_failure(path: Path, error: OSError) -> None:
    log.warning(
        "tail.file_not_readable",
        file=path.name,
        error=str(error),
        hint=f"let the daemon's user read the files in {path.parent}; check its disk",
        every=_LOG_INTERVAL,
        every_key=path.name,
    )


class FileState(NamedTuple):
    """The open file's current size in bytes and its number of names."""

    size: int
    links: int


class SegmentBuffer:
    """An open segment file that behaves like bytes: it has a length, and reads slices on demand.

    It uses `pread` instead of a memory map on purpose. Both see Cassandra's own map at once, as both use the page
    cache (`MemoryMappedSegment`; one call reads the marker and a later one the section that it covers).
    But if a mapped file is truncated, an access kills the process with SIGBUS, and no check before the access can
    rule that out. `pread` returns fewer bytes instead. Sections are copied either way, so `pread` costs nothing.

    The descriptor keeps the file readable after its name was deleted from the folder. The length is that of the last
    `look`, so the buffer grows between reads only. If the file has become shorter since, slices are shorter too.
    Every method raises `OSError` when the system denies reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = 0
        self.look()

    def look(self) -> FileState:
        """Update the length to the file's current size; return it with the number of names."""
        status = os.fstat(self._descriptor)
        self._size = status.st_size
        return FileState(status.st_size, status.st_nlink)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, step = part.indices(self._size)
        assert step == 1, "segments are read forwards and whole"
        wanted = max(0, stop - start)
        data = os.pread(self._descriptor, wanted, start)
        while len(data) < wanted:
            more = os.pread(self._descriptor, wanted - len(data), start + len(data))
            if not more:
                break
            data += more
        return data

    def peek(self, start: int, count: int) -> bytes:
        """Return up to `count` bytes from `start` on, fewer at the file's end, whatever the known length is."""
        return os.pread(self._descriptor, count, start)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
