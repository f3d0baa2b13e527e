"""Python values of the driver as JSON values that people and `jq` can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from cdc_daemon.cli.segment_tools.mutations import MutationReader
from cdc_daemon.cli.segment_tools.reading import SegmentReading, read_index
from cdc_daemon.cli.segment_tools.reporting import ProblemReport, ProgressLine
from cdc_daemon.cli.segment_tools.verify import unreadable
from cdc_daemon.commitlog.descriptor import parse_segment_name
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import PartitionUpdate, raw_form, value_form
from cdc_daemon.model.errors import CdcError, CommitLogError, ConfigError, MutationError
from cdc_daemon.values.integers import PLAIN_BITS
from cdc_daemon.values.messages import error_text


def readable(value: Any) -> Any:
    """Return a value of any CQL type, or a structure of such values, as JSON values.

    Blobs become `0x` and hex digits, timestamps ISO 8601 in UTC, maps and UDTs objects, sets, lists, tuples and vectors
    lists. Integers of more than 4,200 digits, which most JSON readers reject, become hexadecimal texts such as `0x1f`
    and `-0x1f`. Special floats become the texts `NaN`, `Infinity` and `-Infinity`. Everything else becomes its CQL
    text.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= PLAIN_BITS else hex(value)
    if isinstance(value, float):
        return value if isfinite(value) else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {_name(readable(key)): readable(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: readable(each) for name, each in value._asdict().items()}
    if isinstance(value, list | tuple | set | frozenset) or (hasattr(value, "__iter__") and hasattr(value, "__len__")):
        return [readable(each) for each in value]
    return str(value)


def _name(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, ensure_ascii=False)


_POSITION: Final = re.compile(r"(?:(\d{1,19}):)?(\d{1,19})", re.ASCII)


class StartPosition(NamedTuple):
    """Where a dump starts: after logical position `offset` of a segment. `segment_id` is None if there is only one."""

    segment_id: int | None = None
    offset: int = 0

    def begins_at(self, segment_id: int | None) -> int | None:
        """Return the offset after which to dump this segment, or None if it precedes the start."""
        if self.segment_id is None or segment_id is None or segment_id == self.segment_id:
            return self.offset
        return 0 if segment_id > self.segment_id else None


def parse_position(text: str) -> StartPosition:
    """Parse `OFFSET` or `SEGMENT:OFFSET`. Raises `ConfigError`."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"expected OFFSET or SEGMENT:OFFSET, found {text!r}",
            hint="use the segment_id and the position of a dumped line to start after it: 1795461419810:86967",
        )
    return StartPosition(None if match[1] is None else int(match[1]), int(match[2]))


@dataclass(slots=True)
class Dumper:
    """Writes updates as lines to `write`, and reports errors to `report`."""

    reader: MutationReader
    write: Callable[[bytes], object]
    report: ProblemReport
    raw: bool = False

    def section(self, section: Section, *, segment: str, segment_id: int, after: int) -> None:
        """Write the updates of one section that end after logical position `after`."""
        problems: list[CommitLogError] = []
        line = raw_line if self.raw else value_line
        for mutation in self.reader.read(section, segment=segment, problems=problems, after=after):
            self.report_problems(problems)  # before the mutation, so that errors and lines appear in log order
            for update, _ in mutation.updates:
                self.write(line(update, segment_id))
        self.report_problems(problems)

    def report_problems(self, problems: list[CommitLogError]) -> None:
        """Report problems, and clear the list."""
        for problem in problems:
            self.report.problem(problem)
        problems.clear()


def raw_line(update: PartitionUpdate, segment_id: int) -> bytes:
    """Return an update as a line of JSON, with Cassandra's bytes in hex."""
    return orjson.dumps(raw_form(update, segment_id=segment_id), option=orjson.OPT_APPEND_NEWLINE)


def value_line(update: PartitionUpdate, segment_id: int) -> bytes:
    """Return an update as a line of JSON, or in hex with a reason in `undecoded` if a value cannot be decoded."""
    try:
        form = readable(value_form(update, segment_id=segment_id))
        # Not orjson, which rejects integers of more than 64 bits: a varint may be larger.
        return json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except MutationError as error:
        # One value that Python cannot represent, such as a date in the year 10000, must not hide the others.
        reason = error.message
    except Exception as error:  # noqa: BLE001 -- likewise, whatever a value does to Python
        reason = f"a value has no text: {error_text(error)}"
    form = {**raw_form(update, segment_id=segment_id), "undecoded": reason}
    return orjson.dumps(form, option=orjson.OPT_APPEND_NEWLINE)


def dump_files(
    paths: Iterable[Path], dumper: Dumper, *, keyring: Keyring | None, after: StartPosition, progress: ProgressLine
) -> None:
    """Dump segments one after another. A segment that cannot be read is reported and skipped."""
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


def _dump_file(
    path: Path, dumper: Dumper, keyring: Keyring | None, after: StartPosition, progress: ProgressLine
) -> None:
    index = read_index(path).index
    named = parse_segment_name(path.name)
    begin = after.begins_at(named and named[1])
    with SegmentReading(path, keyring=keyring, position=begin or 0) as reading:
        for section in reading.sections():
            dumper.report_problems(reading.problems)
            assert reading.descriptor is not None
            segment_id = reading.descriptor.id
            begin = after.begins_at(segment_id)
            if begin is None:
                return
            dumper.section(section, segment=path.name, segment_id=segment_id, after=begin)
            progress.step(path.name, section.end, reading.size)
        reading.check_end(index)
        dumper.report_problems(reading.problems)
