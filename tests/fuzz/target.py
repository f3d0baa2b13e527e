"""The fuzzer's target: reads any bytes as a segment, and as a mutation with valid checksums."""

from __future__ import annotations

from collections.abc import Iterator

from cdc_daemon.commitlog.descriptor import read_descriptor
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.keys import read_keys
from cdc_daemon.commitlog.markers import recover_descriptor
from cdc_daemon.commitlog.mutation import read_updates
from cdc_daemon.commitlog.section import Section, SectionReader
from cdc_daemon.model.errors import CommitLogError, DamagedSegmentError, UnsupportedSegmentError
from tests.unit.commitlog.samples import load, sections
from tests.unit.commitlog.writer import entry

NAME = "CommitLog-7-1795461419810.log"
SAMPLE = "cassandra-5.0"
LARGEST_SEED = 4096


def try_bytes(data: bytes) -> None:
    """Read bytes both ways. Invalid bytes may only cause our own errors."""
    if not data:
        return
    match data[0] % 3:
        case 0:
            try_segment(data[1:])
        case 1:
            try_mutation(data[1:], version=7)
        case _:
            try_mutation(data[1:], version=8)


def try_segment(data: bytes) -> None:
    """Read bytes as a segment file, past damage where that is possible."""
    try:
        try:
            descriptor = read_descriptor(data, segment=NAME)
        except DamagedSegmentError:
            descriptor = None
        descriptor = descriptor or recover_descriptor(data, segment=NAME)
        if descriptor is None:
            return
        reader = SectionReader(data, descriptor, segment=NAME)
    except (DamagedSegmentError, UnsupportedSegmentError):
        return
    for _ in range(100):
        try:
            section = reader.next()
        except DamagedSegmentError:
            section = None
        if section is not None:
            try_section(section)
        elif reader.resynchronise() is None and not reader.has_rest:
            return


def try_mutation(payload: bytes, *, version: int) -> None:
    """Read bytes as a mutation with valid checksums."""
    data = entry(payload)
    try_section(Section(data, 0, len(data), 0, version))


def try_section(section: Section) -> None:
    """Read a section key-first and fully: key-first reading must find the key of every fully decoded update."""
    schema = load(SAMPLE).schema
    problems: list[CommitLogError] = []
    updates = list(read_updates(section, schema, segment=NAME, problems=problems))
    batch = read_keys(section, schema, segment=NAME)
    if problems:
        return
    assert not batch.problems, batch.problems
    keys = {(update.table.id, update.partition_key, update.position) for update in batch.updates}
    for update in updates:
        if not (update.deletion or update.static or update.rows or update.ranges):
            continue  # it changes nothing, so it needs no signal
        assert (update.table.id, update.partition_key, update.position) in keys, update


def seeds() -> Iterator[bytes]:
    """Yield real segments' beginnings and mutations to start from."""
    for name, data in load(SAMPLE).segments.items():
        yield b"\x00" + data[:LARGEST_SEED]
        for section in sections(data, segment=name):
            for payload, _ in read_entries(section, segment=name, problems=[]):
                if len(payload) < LARGEST_SEED:
                    yield b"\x01" + payload
