"""`segments dump --follow`: dump segments while Cassandra writes them, and in a directory also new segments."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cdc_daemon.cli.segment_tools.dump import Dumper, StartPosition
from cdc_daemon.cli.segment_tools.reading import SegmentReading, folder_segments, read_index
from cdc_daemon.cli.segment_tools.verify import unreadable
from cdc_daemon.commitlog.descriptor import CdcIndex, parse_segment_name
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.model.errors import CdcError
from cdc_daemon.sources.log.lifecycle import Evidence

POLL: Final = 0.1
"""Seconds between two rounds, which is the interval of Cassandra's sync markers."""


class SegmentFollower:
    """Reads segments in rounds, each time up to the current end.

    A segment is done when its index file says COMPLETED, or when its file was deleted, and all that was written to it
    has been read. Until then, damage in a part that is not durable yet is treated as a write in progress. A segment of
    3.11 that moves from one directory to the other is read on.
    """

    def __init__(
        self, arguments: Sequence[Path], dumper: Dumper, *, keyring: Keyring | None, after: StartPosition
    ) -> None:
        self._arguments = arguments
        self._dumper = dumper
        self._keyring = keyring
        self._after = after
        self._open: dict[Path, SegmentReading] = {}
        self._done: set[Path] = set()

    @property
    def ended(self) -> bool:
        """Whether nothing can follow: every argument is a segment, and all are done."""
        return all(path in self._done for path in self._arguments)

    def close(self) -> None:
        """Close all files."""
        for reading in self._open.values():
            reading.close()
        self._open.clear()

    def round(self) -> None:
        """Dump what was written since the last round."""
        paths = self._find()
        places = {path.name: path for path in paths}
        for path in [path for path in self._open if path not in paths]:
            moved = places.get(path.name)
            if moved is None or moved in self._open:
                self._read(path, None, closed=True)
            else:
                self._open[moved] = self._open.pop(path)
        self._done &= {*paths, *self._arguments}
        for path in paths:
            if path not in self._done:
                self._guarded(path)

    def _find(self) -> list[Path]:
        found: dict[Path, None] = {}
        for argument in self._arguments:
            if argument.is_dir():
                found.update(dict.fromkeys(folder_segments(argument)))
            elif argument.exists():
                found[argument] = None
        return list(found)

    def _guarded(self, path: Path) -> None:
        try:
            # The index file is read first: the part of the segment that it confirms is then surely written.
            index = read_index(path).index
            if path not in self._open and not self._begin(path):
                return
            self._read(path, index, closed=index is not None and index.completed)
        except BrokenPipeError:
            raise
        except FileNotFoundError:
            return
        except OSError as error:
            self._give_up(path, unreadable(path, error))
        except CdcError as error:
            self._give_up(path, error)

    def _begin(self, path: Path) -> bool:
        named = parse_segment_name(path.name)
        begin = self._after.begins_at(named and named[1])
        if begin is None:
            self._done.add(path)
            return False
        self._open[path] = SegmentReading(path, keyring=self._keyring, position=begin)
        return True

    def _read(self, path: Path, index: CdcIndex | None, *, closed: bool) -> None:
        reading = self._open[path]
        evidence = Evidence(0 if index is None else index.offset, closed)
        for section in reading.sections(evidence):
            self._dumper.report_problems(reading.problems)
            assert reading.descriptor is not None
            segment_id = reading.descriptor.id
            after = self._after.begins_at(segment_id) or 0
            self._dumper.section(section, segment=path.name, segment_id=segment_id, after=after)
        if closed:
            reading.check_end(index)
        self._dumper.report_problems(reading.problems)
        if closed:
            self._finish(path)

    def _give_up(self, path: Path, error: CdcError) -> None:
        self._dumper.report.problem(error)
        self._finish(path)

    def _finish(self, path: Path) -> None:
        self._done.add(path)
        reading = self._open.pop(path, None)
        if reading is not None:
            reading.close()


def follow_segments(following: SegmentFollower, *, flush: Callable[[], object]) -> None:
    """Run rounds until nothing can follow, or until Ctrl-C."""
    try:
        while True:
            following.round()
            flush()
            if following.ended:
                return
            time.sleep(POLL)
    except KeyboardInterrupt:
        return
    finally:
        following.close()
