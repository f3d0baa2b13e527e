"""Keep copies of damaged segments for operators after the segments themselves are deleted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cdc_daemon.commitlog.descriptor import parse_segment_name

ADVICE = (
    "the daemon compares the node's tables with the search engine and repairs them by itself; keep the copies in "
    "{folder} until `cdc-daemon check` no longer shows state.reconcile, then delete them, and their letters with "
    "`cdc-daemon dead-letters drop --kind segment`; `cdc-daemon segments verify {folder}` shows what is damaged"
)
"""Advice on damaged segments, used by the log, `cdc-daemon check`, dead letters and the runbook."""


class Quarantine:
    """The folder `quarantine` in the state directory. The daemon deletes nothing in it."""

    def __init__(self, state: Path) -> None:
        self.directory = state / "quarantine"

    @property
    def advice(self) -> str:
        """Advice for the operator on the copies."""
        return ADVICE.format(folder=self.directory)

    def holds(self, name: str) -> bool:
        """Return whether there is a copy of the segment with this name."""
        return (self.directory / name).exists()

    def segments(self) -> list[Path]:
        """Return the copies, oldest segment first. Raises `OSError` if the folder cannot be listed."""
        try:
            named = [(parse_segment_name(path.name), path) for path in self.directory.iterdir()]
        except FileNotFoundError:
            return []
        return [path for parsed, path in sorted(named, key=lambda each: each[1].name) if parsed is not None]

    def keep(self, path: Path) -> None:
        """Copy a segment durably and replace an earlier copy. It blocks; raises `OSError`.

        It does nothing if the segment no longer exists.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        target = self.directory / path.name
        part = target.with_suffix(".part")
        try:
            with path.open("rb") as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
        except FileNotFoundError:
            if path.exists():
                raise
            return
        part.replace(target)
        _force_directory(self.directory)


def _force_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
