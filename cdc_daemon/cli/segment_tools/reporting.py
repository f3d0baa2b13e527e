"""The progress line and the problem report of long commands, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TextIO
from uuid import UUID

from cdc_daemon.cli.output import format_bytes, say
from cdc_daemon.model.errors import CdcError

_PATIENCE: Final = 0.5
"""Seconds before the progress line appears."""
_INTERVAL: Final = 0.1
_CLEAR: Final = "\r\x1b[2K"


class ProgressLine:
    """A progress line that is rewritten in place. It is not shown if `stream` is not a terminal."""

    def __init__(self, stream: TextIO, *, wanted: bool = True) -> None:
        self._stream = stream
        self._wanted = wanted and stream.isatty()
        self._next = time.monotonic() + _PATIENCE
        self._shown = False

    def step(self, name: str, done: int, size: int) -> None:
        """Show that `done` of `size` bytes of the file `name` are read."""
        if not self._wanted or (now := time.monotonic()) < self._next:
            return
        self._next = now + _INTERVAL
        share = min(100, 100 * done // size) if size else 100
        self._stream.write(f"{_CLEAR}{name}  {share} % of {format_bytes(size)}")
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Erase the line, so that something else can be written."""
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown = False


@contextmanager
def showing_progress(*, output_is_data: bool = False) -> Iterator[ProgressLine]:
    """Show progress on standard error while the block runs.

    With `output_is_data` it is not shown if standard output is a terminal too, because that receives lines all the
    time.
    """
    progress = ProgressLine(sys.stderr, wanted=not (output_is_data and sys.stdout.isatty()))
    try:
        yield progress
    finally:
        progress.clear()


_SHOWN: Final = 100
_TABLES_NAMED: Final = 10
_ID_SIZE: Final = 16
_FROM_NAME: Final = 3
"""The version of a UUID that is a hash of a name (RFC 9562)."""


class ProblemReport:
    """Prints problems as they are found, up to a limit. `count` is the number of all problems."""

    def __init__(self, progress: ProgressLine) -> None:
        self.count = 0
        self._progress = progress

    def problem(self, error: CdcError) -> None:
        """Print a problem, unless too many were printed already."""
        self.count += 1
        if self.count <= _SHOWN:
            self._progress.clear()
            say(f"error: {error}")

    def end(self, unknown: Mapping[bytes, int]) -> None:
        """Print how many problems were not printed, and which updates were left out because their table is unknown."""
        self._progress.clear()
        if self.count > _SHOWN:
            say(f"error: and {self.count - _SHOWN} more problems")
        named = {table: count for table, count in unknown.items() if not is_system_table(table)}
        own = sum(unknown.values()) - sum(named.values())
        if named:
            say(f"note: skipped updates of tables that are not in the schema: {_spell(named)}")
        if own:
            say(f"note: skipped {own} updates of Cassandra's system tables, which are not in the schema either")


def is_system_table(table_id: bytes) -> bool:
    """Return whether a table is a system table, whose id Cassandra derives from the name (`TableId.forSystemTable`)."""
    return len(table_id) == _ID_SIZE and UUID(bytes=table_id).version == _FROM_NAME


def _spell(counts: Mapping[bytes, int]) -> str:
    most = sorted(counts.items(), key=lambda each: -each[1])
    text = ", ".join(f"{UUID(bytes=table)} ({count})" for table, count in most[:_TABLES_NAMED])
    return f"{text} and {len(most) - _TABLES_NAMED} more" if len(most) > _TABLES_NAMED else text
