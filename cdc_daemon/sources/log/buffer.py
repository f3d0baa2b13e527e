"""A segment's file as a buffer that can grow, shrink or lose its name while it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


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

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
