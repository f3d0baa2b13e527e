"""Writes segments as Cassandra's own serialisers do, for round trips only."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cramjam
import lz4.block
import zstandard
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, Deletion, PartitionUpdate

TIMESTAMP_EPOCH = 1_442_880_000_000_000
DELETION_TIME_EPOCH = 1_442_880_000
LIVE = -(1 << 63)


def vint(value: int) -> bytes:
    """`VIntCoding.writeUnsignedVInt`, of a Java long."""
    value &= (1 << 64) - 1
    for extra in range(8):
        if value < 1 << 7 * (extra + 1):
            first = 0xFF00 >> extra & 0xFF
            return (value | first << 8 * extra).to_bytes(extra + 1, "big")
    return b"\xff" + value.to_bytes(8, "big")


def vint32(value: int) -> bytes:
    """`VIntCoding.writeUnsignedVInt32`: the int is widened to a long with its sign."""
    value &= (1 << 32) - 1
    return vint(value - (1 << 32) if value >> 31 else value)


def with_length(data: bytes) -> bytes:
    return vint(len(data)) + data


class UpdateWriter:
    """`PartitionUpdateSerializer.serialize`."""

    def __init__(self, update: PartitionUpdate) -> None:
        self.update = update
        self.table = update.table
        timestamps: list[int] = []
        deletions: list[int] = []
        ttls: list[int] = []
        for row in (*update.rows, *([update.static] if update.static else ())):
            _collect(row, timestamps, deletions, ttls)
        for deletion in (update.deletion, *(each.deletion for each in update.ranges)):
            if deletion is not None:
                timestamps.append(deletion.timestamp)
                deletions.append(deletion.local_deletion_time)
        self.least = min(timestamps, default=TIMESTAMP_EPOCH)
        self.least_deletion = min(deletions, default=DELETION_TIME_EPOCH)
        self.least_ttl = min(ttls, default=0)

    def write(self) -> bytes:
        update, table = self.update, self.table
        out = [table.id, with_length(update.partition_key)]
        if not (update.rows or update.static or update.ranges or update.deletion):
            return b"".join(out) + b"\x01"
        out.append(bytes([0x10 | 0x04 * (update.deletion is not None) | 0x08 * (update.static is not None)]))
        out.append(vint(self.least - TIMESTAMP_EPOCH))
        out.append(vint32(self.least_deletion - DELETION_TIME_EPOCH))
        out.append(vint32(self.least_ttl))
        statics: tuple[Column, ...] = ()
        if update.static is not None:
            statics = _columns(table.static, [update.static])
            out.append(_names(statics))
        regulars = _columns(table.regular, update.rows)
        out.append(_names(regulars))
        if update.deletion is not None:
            out.append(self.deletion(update.deletion))
        if update.static is not None:
            out.append(self.row(update.static, statics, static=True))
        out.append(vint(len(update.rows)))
        out += self.unfiltereds(regulars)
        out.append(b"\x01")
        return b"".join(out)

    def unfiltereds(self, columns: tuple[Column, ...]) -> Iterable[bytes]:
        """Rows and markers in the order given: a range goes before the first row whose clustering it covers.

        The tests give ranges that stand before, between or around rows by their position in `ranges`; the
        readers do not compare clusterings, so the simplest order does: first the ranges, then the rows.
        """
        for each in self.update.ranges:
            yield b"\x02" + bytes([1 if each.start_inclusive else 7]) + self.bound(each.start)
            yield self.deletion(each.deletion)
            yield b"\x02" + bytes([6 if each.end_inclusive else 0]) + self.bound(each.end)
            yield self.deletion(each.deletion)
        for row in self.update.rows:
            yield self.row(row, columns)

    def bound(self, values: Sequence[bytes | None]) -> bytes:
        return struct.pack(">H", len(values)) + self.clustering(values)

    def clustering(self, values: Sequence[bytes | None]) -> bytes:
        out = []
        for batch in range(0, len(values), 32):
            header = 0
            written = []
            for index, value in enumerate(values[batch : batch + 32]):
                if value is None:
                    header |= 2 << 2 * index
                elif not value:
                    header |= 1 << 2 * index
                else:
                    fixed = self.table.clustering[batch + index].type.fixed_length
                    written.append(with_length(value) if fixed is None else value)
            out += [vint(header), *written]
        return b"".join(out)

    def row(self, row: DecodedRow, columns: tuple[Column, ...], *, static: bool = False) -> bytes:
        present = [column for column in columns if column.name in row.columns]
        complex_deletion = any(
            isinstance(content, ComplexColumn) and content.deletion for content in row.columns.values()
        )
        flags = (
            0x04 * (row.timestamp is not None)
            | 0x08 * (row.ttl is not None)
            | 0x10 * (row.deletion is not None)
            | 0x20 * (len(present) == len(columns))
            | 0x40 * complex_deletion
            | 0x80 * static
        )
        out = [bytes([flags]), b"\x01" if static else b""]
        if not static and self.table.clustering:
            out.append(self.clustering(row.clustering))
        if row.timestamp is not None:
            out.append(vint(row.timestamp - self.least))
        if row.ttl is not None:
            assert row.expires_at is not None
            out.append(vint32(row.ttl - self.least_ttl))
            out.append(vint32(row.expires_at - self.least_deletion))
        if row.deletion is not None:
            out.append(self.deletion(row.deletion))
        if len(present) != len(columns):
            out.append(subset(present, columns))
        for column in present:
            content = row.columns[column.name]
            if isinstance(content, Cell):
                out.append(self.cell(content, column, row))
                continue
            if complex_deletion:
                out.append(self.deletion(content.deletion or Deletion(LIVE, self.least_deletion - 1)))
            out.append(vint(len(content.cells)))
            out += [self.cell(cell, column, row) for cell in content.cells]
        return b"".join(out)

    def cell(self, cell: Cell, column: Column, row: DecodedRow) -> bytes:
        deleted = cell.value is None
        uses_timestamp = row.timestamp is not None and cell.timestamp == row.timestamp
        uses_ttl = cell.ttl is not None and row.ttl == cell.ttl and row.expires_at == cell.local_deletion_time
        flags = (
            0x01 * deleted
            | 0x02 * (cell.ttl is not None)
            | 0x04 * (not cell.value)
            | 0x08 * uses_timestamp
            | 0x10 * uses_ttl
        )
        out = [bytes([flags])]
        if not uses_timestamp:
            out.append(vint(cell.timestamp - self.least))
        if (deleted or cell.ttl is not None) and not uses_ttl:
            assert cell.local_deletion_time is not None
            out.append(vint32(cell.local_deletion_time - self.least_deletion))
        if cell.ttl is not None and not uses_ttl:
            out.append(vint32(cell.ttl - self.least_ttl))
        if column.type.multi_cell:
            out.append(with_length(cell.path or b""))
        if cell.value:
            fixed = None if column.type.multi_cell else column.type.fixed_length
            out.append(with_length(cell.value) if fixed is None else cell.value)
        return b"".join(out)

    def deletion(self, deletion: Deletion) -> bytes:
        return vint(deletion.timestamp - self.least) + vint32(deletion.local_deletion_time - self.least_deletion)


def _collect(row: DecodedRow, timestamps: list[int], deletions: list[int], ttls: list[int]) -> None:
    """`Rows.collectStats`."""
    if row.timestamp is not None:
        timestamps.append(row.timestamp)
    if row.ttl is not None:
        assert row.expires_at is not None
        ttls.append(row.ttl)
        deletions.append(row.expires_at)
    if row.deletion is not None:
        timestamps.append(row.deletion.timestamp)
        deletions.append(row.deletion.local_deletion_time)
    for content in row.columns.values():
        cells = (content,) if isinstance(content, Cell) else content.cells
        if isinstance(content, ComplexColumn) and content.deletion is not None:
            timestamps.append(content.deletion.timestamp)
            deletions.append(content.deletion.local_deletion_time)
        for cell in cells:
            timestamps.append(cell.timestamp)
            if cell.ttl is not None:
                ttls.append(cell.ttl)
            if cell.local_deletion_time is not None:
                deletions.append(cell.local_deletion_time)


def _columns(columns: Iterable[Column], rows: Iterable[DecodedRow]) -> tuple[Column, ...]:
    named = {name for row in rows for name in row.columns}
    return tuple(column for column in columns if column.name in named)


def _names(columns: Sequence[Column]) -> bytes:
    return vint(len(columns)) + b"".join(with_length(column.name_bytes) for column in columns)


def subset(present: Sequence[Column], columns: Sequence[Column]) -> bytes:
    """`Columns.Serializer.serializeSubset`."""
    names = {column.name for column in present}
    missing = [index for index, column in enumerate(columns) if column.name not in names]
    if len(columns) < 64:
        return vint(sum(1 << index for index in missing))
    listed = missing
    if len(present) < len(columns) // 2:
        listed = [index for index, column in enumerate(columns) if column.name in names]
    return vint(len(missing)) + b"".join(map(vint, listed))


def mutation(*updates: PartitionUpdate) -> bytes:
    return vint(len(updates)) + b"".join(UpdateWriter(update).write() for update in updates)


def entry(payload: bytes) -> bytes:
    """`CommitLog.add`."""
    size = struct.pack(">I", len(payload))
    crc = zlib.crc32(size)
    return size + struct.pack(">I", crc) + payload + struct.pack(">I", zlib.crc32(payload, crc))


def header(
    version: int, segment_id: int, parameters: Mapping[str, Any] | None = None, *, text: bytes | None = None
) -> bytes:
    """`CommitLogDescriptor.writeHeader`; `text` stands for parameters that are no JSON."""
    text = json.dumps(parameters or {}).encode() if text is None else text
    low, high = segment_id & 0xFFFF_FFFF, segment_id >> 32
    crc = zlib.crc32(text, zlib.crc32(struct.pack(">IIII", version, low, high, len(text))))
    return struct.pack(">IqH", version, segment_id, len(text)) + text + struct.pack(">I", crc)


def marker(segment_id: int, position: int, following: int) -> bytes:
    """`CommitLogSegment.writeSyncMarker`."""
    crc = zlib.crc32(struct.pack(">III", segment_id & 0xFFFF_FFFF, segment_id >> 32, position))
    return struct.pack(">II", following, crc)


def compress(name: str, data: bytes) -> bytes:
    if name == "LZ4Compressor":
        return struct.pack("<I", len(data)) + bytes(lz4.block.compress(data, store_size=False))
    if name == "SnappyCompressor":
        return bytes(cramjam.snappy.compress_raw(data))
    if name == "DeflateCompressor":
        return zlib.compress(data)
    if name == "ZstdCompressor":
        return zstandard.compress(data)
    return data


def encrypt(key: bytes, iv: bytes, data: bytes, chunk: int = 64 << 10) -> bytes:
    """`EncryptedSegment.write`: blocks of `chunk` plain bytes."""
    out = []
    for start in range(0, len(data), chunk):
        plain = data[start : start + chunk]
        block = struct.pack(">I", len(plain)) + compress("LZ4Compressor", plain)
        padder = padding.PKCS7(128).padder()
        encryptor = Cipher(AES(key), CBC(iv)).encryptor()
        text = encryptor.update(padder.update(block) + padder.finalize()) + encryptor.finalize()
        out += [struct.pack(">II", len(text), len(block)), text]
    return b"".join(out)


def segment(
    sections: Sequence[Sequence[bytes]],
    *,
    version: int = 7,
    segment_id: int = 1795461419810,
    compression: str | None = None,
    key: bytes | None = None,
    size: int | None = None,
) -> bytes:
    """A whole file: for each section its mutations. Uncompressed ones are filled with zeros up to `size`."""
    parameters: dict[str, Any] = {}
    iv = bytes(range(16))
    if compression is not None:
        parameters = {
            "compressionClass": f"org.apache.cassandra.io.compress.{compression}",
            "compressionParameters": {},
        }
    if key is not None:
        parameters |= {"encCipher": "AES/CBC/PKCS5Padding", "encKeyAlias": "testing:1", "encIV": iv.hex()}
    out = header(version, segment_id, parameters)
    for mutations in sections:
        plain = b"".join(map(entry, mutations))
        body = plain
        if key is not None:
            body = struct.pack(">I", len(plain)) + encrypt(key, iv, plain)
        elif compression is not None:
            body = struct.pack(">I", len(plain)) + compress(compression, plain)
        out += marker(segment_id, len(out), len(out) + 8 + len(body)) + body
    if compression is None and key is None:
        out += bytes(max(0, (size or len(out) + 8) - len(out)))
    return out


def table(  # noqa: PLR0917 - reads like CREATE TABLE
    name: str,
    partition_key: Sequence[Column],
    clustering: Sequence[Column] = (),
    regular: Sequence[Column] = (),
    static: Sequence[Column] = (),
    table_id: bytes | None = None,
    **more: Any,
) -> TableMetadata:
    def order(column: Column) -> tuple[bool, bytes]:
        return column.type.multi_cell, column.name_bytes

    return TableMetadata(
        id=table_id or name.encode().ljust(16, b"\x5a")[:16],
        keyspace="ks",
        name=name,
        partition_key=tuple(partition_key),
        clustering=tuple(clustering),
        static=tuple(sorted(static, key=order)),
        regular=tuple(sorted(regular, key=order)),
        **more,
    )
