"""How far a long run is, in one line on a terminal's standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from cdc_daemon.cli.segment_tools.output import spell_bytes

_PATIENCE: Final = 0.5
"""Seconds of work that are not worth a word."""
_INTERVAL: Final = 0.1
_CLEAR: Final = "\r\x1b[2K"


class Progress:
    """A line that is rewritten in place; nothing at all where `stream` is no terminal."""

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
        self._stream.write(f"{_CLEAR}{name}  {share} % of {spell_bytes(size)}")
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Take the line away, so that something else can be written."""
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown = False


@contextmanager
def showing_progress(*, output_is_data: bool = False) -> Iterator[Progress]:
    """Show progress on standard error while the block runs.

    With `output_is_data` lines go to standard output all the time, so where that is a terminal too nothing is shown.
    """
    progress = Progress(sys.stderr, wanted=not (output_is_data and sys.stdout.isatty()))
    try:
        yield progress
    finally:
        progress.clear()
