"""`segments verify`: check all checksums of a segment: header, markers, entries, compressed and encrypted blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from cdc_daemon.cli.segment_tools.reading import SegmentReading, read_index
from cdc_daemon.cli.segment_tools.reporting import ProgressLine
from cdc_daemon.commitlog.descriptor import CdcIndex
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.model.errors import CdcError, CommitLogError, DamagedSegmentError

_EXPECTED_FOUND = re.compile(r"expected (.+?), found ([^;]+)")


@dataclass(slots=True)
class Verification:
    """What was found in one segment.

    `size` is that of the file in bytes, `end` the logical position after the last marker. `sections` and `mutations`
    count those with correct checksums. `problems` are in log order. `error` is set if the segment cannot be read at
    all.
    """

    path: Path
    version: int | None = None
    id: int | None = None
    compression: str | None = None
    encrypted: bool = False
    size: int = 0
    end: int = 0
    sections: int = 0
    mutations: int = 0
    index: CdcIndex | None = None
    problems: list[CommitLogError] = field(default_factory=list)
    error: CdcError | None = None

    @property
    def ok(self) -> bool:
        """Whether no problem and no error was found."""
        return not self.problems and self.error is None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "version": self.version,
            "id": self.id,
            "compression": self.compression,
            "encrypted": self.encrypted,
            "bytes": self.size,
            "end": self.end,
            "sections": self.sections,
            "mutations": self.mutations,
            "index": None if self.index is None else self.index._asdict(),
            "error": None if self.error is None else describe(self.error),
            "problems": [describe(problem) for problem in self.problems],
        }


def describe(problem: CdcError) -> dict[str, Any]:
    """Return a problem as plain values, with `expected` and `found` if its message contains both."""
    match = _EXPECTED_FOUND.search(problem.message)
    return {
        "kind": type(problem).__name__,
        "message": problem.message,
        "expected": match and match[1],
        "found": match and match[2],
        "hint": problem.hint,
        **{name: value for name, value in problem.where.items() if name != "segment"},
    }


def verify(path: Path, *, keyring: Keyring | None, progress: ProgressLine) -> Verification:
    """Verify one segment. Errors are not raised: if the file cannot be read, `error` of the result is set."""
    found = Verification(path)
    try:
        _verify(path, found, keyring, progress)
    except DamagedSegmentError as error:
        found.problems.append(error)
    except CdcError as error:
        found.error = error
    except OSError as error:
        found.error = unreadable(path, error)
    return found


def unreadable(path: Path, error: OSError) -> CdcError:
    """Return a `CdcError` for a file that the operating system cannot read."""
    return CdcError(f"expected a segment file, found {error.strerror or error}", segment=str(path))


def _verify(path: Path, found: Verification, keyring: Keyring | None, progress: ProgressLine) -> None:
    state = read_index(path)
    found.index = state.index
    found.size = path.stat().st_size
    with SegmentReading(path, keyring=keyring, problems=found.problems) as reading:
        if reading.descriptor is not None:
            found.version = reading.descriptor.version
            found.id = reading.descriptor.id
            found.compression = reading.descriptor.compression
            found.encrypted = reading.descriptor.encryption is not None
        for section in reading.sections():
            before = len(found.problems)
            for _ in read_entries(section, segment=path.name, problems=found.problems):
                found.mutations += 1
            found.sections += len(found.problems) == before
            progress.step(path.name, section.end, found.size)
        found.end = reading.end
        reading.check_end(state.index)
    if state.garbage:
        found.problems.append(
            CommitLogError("expected an offset in the index file, found other content", segment=path.name)
        )


def show_verification(found: Verification) -> None:
    """Print the result for one segment."""
    if found.error is not None:
        typer.echo(f"{found.path}: cannot be read")
        typer.echo(f"  {found.error}")
        return
    state = "ok" if found.ok else f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}"
    typer.echo(f"{found.path}: {state}, {found.mutations} mutations in {found.sections} sections up to {found.end}")
    for problem in found.problems:
        typer.echo(f"  {problem}")
