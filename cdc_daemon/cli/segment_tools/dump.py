"""Segments as lines of JSON, one for each partition update."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from cdc_daemon.cli.segment_tools.progress import Progress
from cdc_daemon.cli.segment_tools.readable import readable
from cdc_daemon.cli.segment_tools.reading import SegmentReading, read_index
from cdc_daemon.cli.segment_tools.report import Report
from cdc_daemon.cli.segment_tools.updates import MutationReader
from cdc_daemon.cli.segment_tools.verify import unreadable
from cdc_daemon.commitlog.descriptor import parse_segment_name
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.forms import raw_form, value_form
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import PartitionUpdate
from cdc_daemon.model.errors import CdcError, CommitLogError, ConfigError, MutationError
from cdc_daemon.values.shown import told

_POSITION: Final = re.compile(r"(?:(\d{1,19}):)?(\d{1,19})", re.ASCII)


class After(NamedTuple):
    """Where to begin: behind logical position `offset` of a segment; `segment_id` None stands for the only one."""

    segment_id: int | None = None
    offset: int = 0

    def begins_at(self, segment_id: int | None) -> int | None:
        """Return the offset behind which this segment is wanted; None where it is not wanted at all."""
        if self.segment_id is None or segment_id is None or segment_id == self.segment_id:
            return self.offset
        return 0 if segment_id > self.segment_id else None


def parse_position(text: str) -> After:
    """Parse `OFFSET` or `SEGMENT:OFFSET`. Raises `ConfigError`."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"expected OFFSET or SEGMENT:OFFSET, found {text!r}",
            hint="a dumped line's segment_id and position are where to go on behind it: 1795461419810:86967",
        )
    return After(None if match[1] is None else int(match[1]), int(match[2]))


@dataclass(slots=True)
class Dumper:
    """Writes updates as lines to `write`; what cannot be read goes to `report`."""

    reader: MutationReader
    write: Callable[[bytes], object]
    report: Report
    raw: bool = False

    def section(self, section: Section, *, segment: str, segment_id: int, after: int) -> None:
        """Write the updates of one section that end behind logical position `after`."""
        problems: list[CommitLogError] = []
        line = raw_line if self.raw else value_line
        for mutation in self.reader.read(section, segment=segment, problems=problems, after=after):
            self.say(problems)  # those before this mutation: in a pipe that is read at once they come before it too
            for update, _ in mutation.updates:
                self.write(line(update, segment_id))
        self.say(problems)

    def say(self, problems: list[CommitLogError]) -> None:
        """Report problems, and forget them."""
        for problem in problems:
            self.report.problem(problem)
        problems.clear()


def raw_line(update: PartitionUpdate, segment_id: int) -> bytes:
    """Return an update as a line of JSON, with Cassandra's bytes in hex."""
    return orjson.dumps(raw_form(update, segment_id=segment_id), option=orjson.OPT_APPEND_NEWLINE)


def value_line(update: PartitionUpdate, segment_id: int) -> bytes:
    """Return an update as a line of JSON with its values, or in hex with `undecoded` where one cannot be decoded."""
    try:
        form = readable(value_form(update, segment_id=segment_id))
        # Not orjson: it takes no integers beyond 64 bits, and a varint has no end.
        return json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except MutationError as error:
        # A value beyond what Python has, such as a date in the year 10000, does not hide its neighbours.
        reason = error.message
    except Exception as error:  # noqa: BLE001 -- likewise, whatever a value does to Python
        reason = f"a value has no text: {told(error)}"
    form = {**raw_form(update, segment_id=segment_id), "undecoded": reason}
    return orjson.dumps(form, option=orjson.OPT_APPEND_NEWLINE)


def dump_files(
    paths: Iterable[Path], dumper: Dumper, *, keyring: Keyring | None, after: After, progress: Progress
) -> None:
    """Dump segments one after another; one that cannot be read is reported, and the others go on."""
    for path in paths:
        named = parse_segment_name(path.name)
        if named is not None and after.begins_at(named[1]) is None:
            continue
        try:
            _dump_file(path, dumper, keyring, after, progress)
        except BrokenPipeError:
            raise
        except OSError as error:
            dumper.report.problem(unreadable(path, error))
        except CdcError as error:
            dumper.report.problem(error)


def _dump_file(path: Path, dumper: Dumper, keyring: Keyring | None, after: After, progress: Progress) -> None:
    index = read_index(path).index
    named = parse_segment_name(path.name)
    begin = after.begins_at(named and named[1])
    with SegmentReading(path, keyring=keyring, position=begin or 0) as reading:
        for section in reading.sections():
            dumper.say(reading.problems)
            assert reading.descriptor is not None
            segment_id = reading.descriptor.id
            begin = after.begins_at(segment_id)
            if begin is None:
                return
            dumper.section(section, segment=path.name, segment_id=segment_id, after=begin)
            progress.step(path.name, section.end, reading.size)
        reading.check_end(index)
        dumper.say(reading.problems)
