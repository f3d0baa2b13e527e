"""INSERT statements as mutations, for the tests of keys and of mutations."""

from __future__ import annotations

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, PartitionUpdate
from tests.unit.commitlog.strategies import column
from tests.unit.commitlog.writer import entry

KEY = column("k", "text", "partition_key")
NOW = 1_750_000_000_000_000


def section_of(*payloads: bytes) -> Section:
    data = b"".join(map(entry, payloads))
    return Section(data, 100, 100 + len(data), 100)


def insert(
    some: TableMetadata, *clustering: bytes, timestamp: int = NOW, key: bytes = b"key", **more: Cell
) -> PartitionUpdate:
    columns: dict[str, Cell | ComplexColumn] = {"v": Cell(b"value", timestamp), **more}
    row = DecodedRow(clustering, timestamp, None, None, None, columns)
    return PartitionUpdate(some, key, 0, None, None, (row,), ())
