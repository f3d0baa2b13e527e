"""List the segments in the `cdc_raw` folder and read their index files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from cdc_daemon.commitlog.descriptor import index_name, parse_segment_name
from cdc_daemon.commitlog.index import CdcIndex, parse_index

log = structlog.get_logger(__name__)

_INDEX_SUFFIX = "_cdc.idx"

_SAID_AGAIN = 60.0
"""Seconds after which an inaccessible file is logged again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFile:
    """One segment as the folder shows it.

    `size` is in bytes, `modified` in seconds since epoch. `links` counts the file's names: two while it is also in
    Cassandra's commit-log folder. `has_index` is also true while the index file is being rewritten and cannot be
    read; `index` then is its previous content, if any.
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

    @property
    def replayed(self) -> bool:
        """Whether Cassandra replayed this segment after a crash: its index file then holds the file's length.

        (`CommitLogReplayer.handleCDCReplayCompletion`.) It is also true, without harm, for a segment that was closed
        full to the last byte.
        """
        return self.index is not None and self.index.completed and self.index.offset == self.size

    @property
    def name(self) -> str:
        """The file's name, such as `CommitLog-7-1795461419810.log`."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class Listing:
    """The folder's content at one moment: segments by ascending id, and index files without a segment.

    `total_bytes` is the size of all segments and index files, as Cassandra counts it against `cdc_total_space`.
    """

    segments: tuple[SegmentFile, ...]
    orphans: dict[int, Path]
    total_bytes: int


class CdcFolder:
    """Lists `cdc_raw`. It omits files with other names and files that vanish during the listing.

    A file that the system denies access to is listed as it was before and does not affect the others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._indexes: dict[str, tuple[tuple[int, int, int], CdcIndex]] = {}
        self._files: dict[str, SegmentFile] = {}

    def look(self) -> Listing:
        """List the folder. Raises `OSError` when it is absent or cannot be read."""
        logs: list[tuple[int, int, str]] = []
        indexes: set[str] = set()
        with os.scandir(self.path) as entries:
            for entry in entries:
                parsed = parse_segment_name(entry.name)
                if parsed is not None:
                    logs.append((parsed[1], parsed[0], entry.name))
                elif entry.name.endswith(_INDEX_SUFFIX):
                    indexes.add(entry.name)
        total = 0
        segments = []
        for segment_id, version, name in sorted(logs):
            file = self._look_at(segment_id, version, name, has_index=index_name(name) in indexes)
            if file is not None:
                segments.append(file)
                total += file.size
        self._files = {file.name: file for file in segments}
        total += sum(stamp[1] for stamp, _ in self._indexes.values())
        return Listing(tuple(segments), self._orphans(logs, indexes), total)

    def _look_at(self, segment_id: int, version: int, name: str, *, has_index: bool) -> SegmentFile | None:
        path = self.path / name
        index_path = self.path / index_name(name)
        index = self._read_index(index_path) if has_index else None
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            # The file exists: if it were omitted, it would count as lost.
            _say(path, error)
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
            _say(path, error)
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


def _say(path: Path, error: OSError) -> None:
    log.warning(
        "tail.file_not_readable",
        file=path.name,
        error=str(error),
        hint="let the daemon's user read the files in the cdc_raw folder; see that its disk is sound",
        every=_SAID_AGAIN,
        every_key=path.name,
    )
