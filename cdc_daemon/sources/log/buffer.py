"""A segment's file as a buffer that can grow, shrink or lose its name while it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class FileState(NamedTuple):
    """What the open file shows now: its size in bytes and how many names it still has."""

    size: int
    links: int


class SegmentBuffer:
    """An open segment file that looks like bytes: a length, and slices that are read when asked for.

    It is read with `pread` and not mapped on purpose. Both see Cassandra's own map at once, as both are the
    page cache (`MemoryMappedSegment`; the marker is read by one call and what it covers by a later one).
    But a map of a file that somebody truncates kills the process with SIGBUS, and no check before the access
    can rule that out, while `pread` comes back short. Sections are copied out either way, so it costs nothing.

    The descriptor keeps the file readable after its name has gone from the folder. The length is that of the last
    `look`, so that a file which grows does so between reads only; if it has become shorter meanwhile, slices
    are shorter too. Everything raises `OSError` when the system will not let us read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = 0
        self.look()

    def look(self) -> FileState:
        """Take note of the file's present size and return it with the number of its names."""
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

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
