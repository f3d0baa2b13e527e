"""Whether a file was replaced or written."""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, int, int] | None


def file_stamp(path: Path) -> Stamp:
    """Return a stamp that changes when a file is replaced or written, None when the file is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
