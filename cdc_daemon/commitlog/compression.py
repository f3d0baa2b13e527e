"""Decompression of commit-log segments, one section at a time.

Each function belongs to a class of `org.apache.cassandra.io.compress` and reverses exactly its `compress`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import cramjam

from cdc_daemon.model.errors import DamagedSegmentError

_LZ4_RATIO: Final = 255
"""No LZ4 block is longer than its compressed form times this (one length byte for 255 literals or copies)."""


_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


def decompress(name: str, data: bytes, length: int) -> bytes:
    """Decompress `data` with compressor `name` (a key of `COMPRESSORS`) to exactly `length` bytes.

    Raises `DamagedSegmentError`, without a position, when that fails.
    """
    if length == 0:
        return b""
    try:
        found = COMPRESSORS[name](data, length)
    except _FAILURES as error:
        raise DamagedSegmentError(f"{name} cannot decompress {len(data)} bytes: {error}") from error
    if len(found) != length:
        raise DamagedSegmentError(f"expected {length} bytes out of {name}, found {len(found)}")
    return found


def _lz4(data: bytes, length: int) -> bytes:
    """`LZ4Compressor`: the length in four bytes, little-endian, then one raw block."""
    claimed = int.from_bytes(data[:4], "little")
    if claimed != length or length > _LZ4_RATIO * len(data):
        raise ValueError(f"the block claims {claimed} bytes, the section {length}")
    found = bytearray(length)
    return bytes(found[: cramjam.lz4.decompress_block_into(data[4:], found, output_len=length)])


def _snappy(data: bytes, length: int) -> bytes:
    """`SnappyCompressor`: one raw block, whose own header is its length as a little-endian vint."""
    claimed = shift = 0
    for byte in data[:5]:
        claimed |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if claimed != length:
        raise ValueError(f"the block claims {claimed} bytes, the section {length}")
    return bytes(cramjam.snappy.decompress_raw(data))


def _deflate(data: bytes, length: int) -> bytes:
    """`DeflateCompressor`: one zlib stream."""
    stream = zlib.decompressobj()
    found = stream.decompress(data, length + 1)
    if not stream.eof:
        raise ValueError(f"the stream does not end within {length} bytes")
    return found


def _zstd(data: bytes, length: int) -> bytes:
    """`ZstdCompressor`: one frame that states its content's size."""
    if (claimed := _zstd_size(data)) != length:
        raise ValueError(f"the frame claims {claimed} bytes, the section {length}")
    found = bytearray(length)
    return bytes(found[: cramjam.zstd.decompress_into(data, found)])


def _zstd_size(data: bytes) -> int:
    """Return the size of its content that the head of a frame states (RFC 8878, 3.1.1.1)."""
    if data[:4] != _ZSTD_MAGIC or len(data) < 5:
        raise ValueError("there is no frame")
    descriptor = data[4]
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]  # after the window and the dictionary's id
    if width == 0 or len(data) < start + width:
        raise ValueError("the frame does not state its size")
    return int.from_bytes(data[start : start + width], "little") + (256 if width == 2 else 0)


def _noop(data: bytes, _length: int) -> bytes:
    """`NoopCompressor`: the bytes as they are."""
    return data


COMPRESSORS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "LZ4Compressor": _lz4,
    "SnappyCompressor": _snappy,
    "DeflateCompressor": _deflate,
    "ZstdCompressor": _zstd,
    "NoopCompressor": _noop,
}

_FAILURES: Final = (
    ValueError,
    RuntimeError,
    OverflowError,
    MemoryError,
    zlib.error,
    cramjam.DecompressionError,
)
