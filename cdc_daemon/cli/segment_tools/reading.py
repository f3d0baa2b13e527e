"""Find segment files by the PATHs of a command, and read a segment to its end, past damage, and on while it grows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cdc_daemon.commitlog.descriptor import (
    VERSION_30,
    CdcIndex,
    SegmentDescriptor,
    index_name,
    parse_index,
    parse_segment_name,
    read_descriptor,
)
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.markers import HEADER_RECOVERED, how_it_ends, recover_descriptor
from cdc_daemon.commitlog.section import Section, SectionReader
from cdc_daemon.config import CommitLogSettings
from cdc_daemon.model.errors import CommitLogError, DamagedSegmentError
from cdc_daemon.sources.log.folder import SegmentBuffer
from cdc_daemon.sources.log.lifecycle import Evidence

STANDARD_INPUT = "-"
"""The argument for a list of paths on standard input, one per line."""

_INDEX_SUFFIX = "_cdc.idx"


def missing(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that are paths of nothing that exists."""
    return [each for each in arguments if each != STANDARD_INPUT and not Path(each).exists()]


def find_segments(arguments: Sequence[str], standard_input: Iterable[str]) -> Iterator[Path]:
    """Yield the segment files of the arguments, in their order.

    For a directory these are its segments by ascending id. Index files are skipped, so that `cdc_raw/*` can be used.
    The lines of `standard_input` are read one by one when they are needed, and their paths need not exist. Raises
    `OSError` for a directory that cannot be listed.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            for line in standard_input:
                if name := line.rstrip("\r\n"):
                    yield from _expand(Path(name))
        else:
            yield from _expand(Path(argument))


def only_segment(arguments: Sequence[str]) -> bool:
    """Return whether the argument is a single segment, so that no others can appear later."""
    return len(arguments) == 1 and arguments[0] != STANDARD_INPUT and not Path(arguments[0]).is_dir()


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from folder_segments(path)
    elif not path.name.endswith(_INDEX_SUFFIX):
        yield path


def folder_segments(folder: Path) -> list[Path]:
    """Return the segments in a directory by ascending id. Raises `OSError`."""
    with os.scandir(folder) as entries:
        named = [(parse_segment_name(entry.name), entry.name) for entry in entries]
    return [folder / name for _, name in sorted((parsed[1], name) for parsed, name in named if parsed is not None)]


def configured_folders(settings: CommitLogSettings) -> list[str]:
    """Return the arguments for the segments of the configured node: cdc_raw, and the active segments of 3.11."""
    folder = settings.commitlog_directory
    arguments = [str(settings.cdc_raw_directory)]
    if folder is not None and not os.access(folder, os.R_OK | os.X_OK):
        arguments.append(str(folder))  # the command reports it as it does any other
    elif folder is not None:
        active = [path for path in folder_segments(folder) if path.name.startswith(f"CommitLog-{VERSION_30}-")]
        arguments += map(str, active)
    return arguments


EVERYTHING: Final = Evidence(durable=0, closed=True)
"""The evidence for a segment that is read only once: everything in it is treated as durable."""

_NO_END: Final = (1 << 63) - 1
_MOMENT: Final = 0.1
"""Seconds to wait for the rest of a section in a file that is being written."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """The content of a segment's index file. `index` is None if the file does not exist or is being written."""

    present: bool
    index: CdcIndex | None
    garbage: bool = False
    """Whether it contains something that Cassandra does not write, not even partially."""


def read_index(segment: Path) -> IndexState:
    """Read the index file of a segment, if there is one. Raises `OSError`."""
    try:
        content = segment.with_name(index_name(segment.name)).read_bytes()
    except FileNotFoundError:
        return IndexState(present=False, index=None)
    index = parse_index(content)
    halfway = not content.strip() or _is_beginning(content)
    return IndexState(present=True, index=index, garbage=index is None and not halfway)


def _is_beginning(content: bytes) -> bool:
    offset, newline, rest = content.partition(b"\n")
    return offset.isdigit() and bool(newline) and b"COMPLETED".startswith(rest)


class SegmentReading:
    """The sections of one segment file. Damage is appended to `problems`.

    Memory is bounded by the largest compressed or encrypted section, which is decoded as a whole. Other sections are
    read in parts. Sections that end at or before the logical position `position` are skipped.

    Raises `OSError`, `UnsupportedSegmentError` and `DamagedSegmentError` for the header, and the errors of the keyring.
    """

    def __init__(
        self,
        path: Path,
        *,
        keyring: Keyring | None = None,
        position: int = 0,
        problems: list[CommitLogError] | None = None,
    ) -> None:
        self.path = path
        self.name = path.name
        self.problems = [] if problems is None else problems
        self._keyring = keyring
        self._position = position
        self._reader: SectionReader | None = None
        self._bad_place: object = None
        self._lost = False
        self._waited = False
        self._damaged = False
        self._buffer = SegmentBuffer(path)
        try:
            self._open()
        except BaseException:
            self._buffer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._buffer.close()

    @property
    def descriptor(self) -> SegmentDescriptor | None:
        """The header, or None if it is not written yet."""
        return None if self._reader is None else self._reader.descriptor

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return len(self._buffer)

    @property
    def end(self) -> int:
        """The logical position up to which sections were returned."""
        return 0 if self._reader is None else self._reader.position

    def sections(self, evidence: Evidence = EVERYTHING) -> Iterator[Section]:
        """Yield the sections that were written since the previous call.

        Damage that `evidence` does not cover may be a write in progress, and is left to a later call.
        """
        self._buffer.look()
        while (section := self._next(evidence)) is not None:
            # If reading starts in the middle of a section, the caller skips the first entries itself.
            yield section if section.resume == section.start else replace(section, resume=section.start)

    def check_end(self, index: CdcIndex | None) -> None:
        """Add a problem if a segment that was read to its end is shorter than its index file says."""
        if self._reader is None:
            found = "none" if self.size else "an empty file"
            self._note(f"expected a header, found {found}", 0)
        elif index is not None and not self._damaged and self.end < index.offset != self.size:
            # After a crash the index file contains the length of the file, not the end of the data.
            self._note(
                f"expected sync markers up to {index.offset}, found their end at {self.end}",
                self.end,
                hint="the first offset is that of the index file",
            )

    def _open(self) -> SectionReader | None:
        descriptor = self._read_header()
        if descriptor is None:
            return None
        self._reader = SectionReader(
            self._buffer, descriptor, segment=self.name, position=self._position, keyring=self._keyring
        )
        return self._reader

    def _read_header(self) -> SegmentDescriptor | None:
        """Return the header, or None if it is not written yet. If it is damaged, recover it from the file's name."""
        damage = None
        try:
            found = read_descriptor(self._buffer, segment=self.name)
        except DamagedSegmentError as error:
            damage = error
        else:
            if found is not None:
                return found
        recovered = recover_descriptor(self._buffer, segment=self.name)
        if recovered is not None:
            self._damaged = True
            message = "expected a header, found none" if damage is None else damage.message
            self._note(f"{message}; {HEADER_RECOVERED}", 0 if damage is None else _place(damage))
        elif damage is not None:
            raise damage
        return recovered

    def _next(self, evidence: Evidence) -> Section | None:
        reader = self._reader or self._open()
        while reader is not None:
            if self._lost:
                return reader.next() if reader.has_rest else None
            try:
                section = reader.next()
                problem = reader.unread(_NO_END if evidence.closed else evidence.durable) if section is None else None
            except DamagedSegmentError as error:
                if not evidence.covers(_place(error) + 1):
                    return None
                self._pass(reader, error)
                continue
            if problem is None:
                return section
            if not self._waited:
                # If Cassandra is writing this file, the rest of the section follows in a moment.
                self._waited = True
                time.sleep(_MOMENT)
                self._buffer.look()
                continue
            self._bad_place = _file_place(problem)
            self.problems.append(problem)
            self._pass(reader, problem)
        return None

    def _note(self, message: str, position: int, *, hint: str | None = None) -> None:
        self.problems.append(DamagedSegmentError(message, segment=self.name, position=position, hint=hint))

    def _pass(self, reader: SectionReader, error: DamagedSegmentError) -> None:
        """Add a problem. The reader skips a damaged section by itself; after a damaged marker it is resynchronised."""
        self._damaged = True
        place = _file_place(error)
        if place != self._bad_place:
            self._bad_place = place
            self.problems.append(error)
            return
        try:
            resumed = reader.resynchronise()
        except DamagedSegmentError:  # the file was truncated meanwhile
            resumed = None
        self._lost = resumed is None
        ending = how_it_ends(resumed, has_rest=reader.has_rest)
        self.problems[-1] = DamagedSegmentError(
            f"{error.message}; {ending}", data=error.data, hint=error.hint, **error.where, resumed=resumed
        )


def _place(error: DamagedSegmentError) -> int:
    place = error.where.get("position", 0)
    return place if isinstance(place, int) else 0


def _file_place(error: DamagedSegmentError) -> object:
    return error.where.get("file_position", error.where.get("position"))
