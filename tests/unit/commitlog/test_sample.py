"""Segments of real servers, compared with the output of Cassandra's own reader."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from cdc_daemon.commitlog.descriptor import index_name, parse_index, parse_segment_name
from cdc_daemon.commitlog.key_update import KeyUpdate
from cdc_daemon.commitlog.keys import read_keys
from cdc_daemon.commitlog.mutation import read_updates
from cdc_daemon.commitlog.update import Cell, ComplexColumn, PartitionUpdate, raw_form, value_form
from cdc_daemon.model.errors import CommitLogError
from tests.unit.commitlog.samples import DATA, Sample, load, names, sections


@pytest.fixture(params=names())
def sample(request: pytest.FixtureRequest) -> Sample:
    return load(request.param)


def test_there_is_a_sample_of_every_kind() -> None:
    kinds = ["plain", "lz4", "snappy", "deflate", "zstd", "encrypted"]
    versions = ["4.0", "4.1", "5.0", "5.0-v8"]
    assert {f"{version}-{kind}" for version in versions for kind in kinds} | {
        *(f"3.11-{kind}" for kind in kinds if kind != "zstd"),
        "5.0-direct",
    } <= set(names())


def decoded(sample: Sample) -> list[tuple[int, PartitionUpdate]]:
    problems: list[CommitLogError] = []
    found = []
    for name, data in sample.segments.items():
        parsed = parse_segment_name(name)
        assert parsed is not None
        for section in sections(data, segment=name, keyring=sample.keyring):
            found += [
                (parsed[1], update) for update in read_updates(section, sample.schema, segment=name, problems=problems)
            ]
    assert not problems
    return found


def keys(sample: Sample) -> list[tuple[int, KeyUpdate]]:
    found = []
    for name, data in sample.segments.items():
        parsed = parse_segment_name(name)
        assert parsed is not None
        for section in sections(data, segment=name, keyring=sample.keyring):
            batch = read_keys(section, sample.schema, segment=name)
            assert not batch.problems
            found += [(parsed[1], update) for update in batch.updates]
    return found


def test_every_update_is_what_cassandra_reads(sample: Sample) -> None:
    found = [raw_form(update, segment_id=segment_id) for segment_id, update in decoded(sample)]
    assert len(found) == len(sample.expected)
    for ours, theirs in zip(found, sample.expected, strict=True):
        assert ours == {name: value for name, value in theirs.items() if name != "local_deletion_times"}


def test_every_local_deletion_time_is_what_cassandra_reads(sample: Sample) -> None:
    for (_, ours), theirs in zip(decoded(sample), sample.expected, strict=True):
        if "local_deletion_times" in theirs:
            assert local_deletion_times(ours) == theirs["local_deletion_times"]


def local_deletion_times(update: PartitionUpdate) -> list[int]:
    """Expiries and local deletion times in the order of the expected output."""
    found = [update.deletion.local_deletion_time] if update.deletion else []
    for row in (*([update.static] if update.static else ()), *update.rows):
        found += [row.expires_at] if row.expires_at is not None else []
        found += [row.deletion.local_deletion_time] if row.deletion else []
        for content in row.columns.values():
            cells = (content,) if isinstance(content, Cell) else content.cells
            if isinstance(content, ComplexColumn) and content.deletion:
                found.append(content.deletion.local_deletion_time)
            found += [cell.local_deletion_time for cell in cells if cell.local_deletion_time is not None]
    return found + [each.deletion.local_deletion_time for each in update.ranges]


def test_keys_cover_every_update_that_cassandra_reads(sample: Sample) -> None:
    dropped = {str(table) for table in sample.schema if table.dropped}
    found = keys(sample)
    assert len(found) == len(sample.expected)
    for (segment_id, ours), theirs in zip(found, sample.expected, strict=True):
        assert segment_id == theirs["segment_id"]
        assert ours.position == theirs["position"]
        assert str(ours.table) == theirs["table"]
        assert ours.partition_key.hex() == theirs["partition_key"]
        assert ours.partition_deletion == theirs["deleted_at"]
        clusterings = [[value if value is None else value.hex() for value in row.clustering] for row in ours.rows]
        expected = [row["clustering"] for row in theirs["rows"]]
        # Cassandra omits a row with dropped columns only; reading such a row again is harmless.
        assert clusterings == expected or (str(ours.table) in dropped and not expected)
        assert len(ours.ranges) == len(theirs["range_tombstones"])
        assert ours.static == (theirs["static"] is not None)
        assert ours.has_ttl == any(map(expires, rows_of(theirs)))
        times = write_times(theirs)
        if times:
            assert min(times) <= ours.timestamp <= max(times)


def rows_of(update: dict[str, Any]) -> list[dict[str, Any]]:
    return [*update["rows"], *([update["static"]] if update["static"] else [])]


def expires(row: dict[str, Any]) -> bool:
    cells = (cell for column in row["columns"].values() for cell in column["cells"])
    return row["ttl"] is not None or any(cell["ttl"] is not None for cell in cells)


def test_keys_tell_when_the_first_value_expires(sample: Sample) -> None:
    for (_, ours), (_, update) in zip(keys(sample), decoded(sample), strict=True):
        moments = expiry_times(update)
        assert ours.has_ttl == bool(moments)
        if moments:
            assert min(moments) in ours.expires


def expiry_times(update: PartitionUpdate) -> list[int]:
    found = []
    for row in (*([update.static] if update.static else ()), *update.rows):
        found += [row.expires_at] if row.expires_at is not None else []
        for content in row.columns.values():
            cells = (content,) if isinstance(content, Cell) else content.cells
            found += [cell.local_deletion_time for cell in cells if cell.ttl and cell.local_deletion_time is not None]
    return found


def write_times(update: dict[str, Any]) -> list[int]:
    found = [update["deleted_at"], *(each["deleted_at"] for each in update["range_tombstones"])]
    for row in rows_of(update):
        found += [row["timestamp"], row["deleted_at"]]
        for column in row["columns"].values():
            found += [column.get("deleted_at"), *(cell["timestamp"] for cell in column["cells"])]
    return [each for each in found if each is not None]


def test_every_value_decodes(sample: Sample) -> None:
    for segment_id, update in decoded(sample):
        form = value_form(update, segment_id=segment_id)
        assert form["keyspace"] == update.table.keyspace
        assert len(form["rows"]) == len(update.rows)


def test_resuming_anywhere_gives_the_rest(sample: Sample) -> None:
    whole = keys(sample)
    for name, data in sample.segments.items():
        parsed = parse_segment_name(name)
        assert parsed is not None
        positions = [update.position for segment_id, update in whole if segment_id == parsed[1]]
        for index in range(0, len(positions), max(1, len(positions) // 10)):
            rest: list[KeyUpdate] = []
            for section in sections(data, segment=name, position=positions[index], keyring=sample.keyring):
                batch = read_keys(section, sample.schema, segment=name)
                rest += batch.updates
            after = [position for position in positions if position > positions[index]]
            assert [update.position for update in rest] == after


def test_the_index_counts_logical_positions_as_we_do(sample: Sample) -> None:
    for name, data in sample.segments.items():
        path = DATA / sample.name / index_name(name)
        if not path.exists():
            continue
        index = parse_index(path.read_text())
        assert index is not None
        ends = [section.end for section in sections(data, segment=name, keyring=sample.keyring)]
        # Durable data ends with a section; markers may have been written since.
        assert index.offset in ends
        assert not index.completed or index.offset == ends[-1]


def test_the_workload_is_varied(sample: Sample) -> None:
    """The expected output must contain every kind of change."""
    seen: Counter[str] = Counter()
    for update in sample.expected:
        seen["partition deletion"] += update["deleted_at"] is not None
        seen["static row"] += update["static"] is not None
        seen["range"] += len(update["range_tombstones"])
        for row in rows_of(update):
            seen["row deletion"] += row["deleted_at"] is not None
            seen["TTL"] += expires(row)
            for column in row["columns"].values():
                seen["complex deletion"] += column.get("deleted_at") is not None
                seen["tombstone"] += any(cell["value"] is None for cell in column["cells"])
                seen["path"] += any("path" in cell for cell in column["cells"])
    missing = {what for what, count in seen.items() if not count}
    assert not missing
