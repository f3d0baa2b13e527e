"""Each decompressor reverses what another library compressed, and refuses everything else within the claimed length."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.compression import COMPRESSORS, decompress
from cdc_daemon.model.errors import DamagedSegmentError

COMPRESS: dict[str, Callable[[bytes], Any]] = {
    "LZ4Compressor": lambda data: struct.pack("<I", len(data)) + lz4.block.compress(data, store_size=False),
    "SnappyCompressor": cramjam.snappy.compress_raw,
    "DeflateCompressor": zlib.compress,
    "ZstdCompressor": zstandard.ZstdCompressor().compress,
    "NoopCompressor": bytes,
}
DATA = st.one_of(
    st.binary(min_size=1), st.tuples(st.binary(min_size=1), st.integers(1, 9_000)).map(lambda x: x[0] * x[1])
)
NAMES = st.sampled_from(sorted(COMPRESSORS))


@given(NAMES, DATA)
def test_what_was_compressed_comes_back(name: str, data: bytes) -> None:
    assert decompress(name, bytes(COMPRESS[name](data)), len(data)) == data


@given(NAMES, DATA, st.integers(-5, 5).filter(bool))
def test_another_length_is_damage(name: str, data: bytes, more: int) -> None:
    if len(data) + more > 0:
        with pytest.raises(DamagedSegmentError):
            decompress(name, bytes(COMPRESS[name](data)), len(data) + more)


@given(NAMES, st.binary(max_size=200), st.integers(1, 2**31 - 1))
def test_any_bytes_and_any_length_are_damage_or_data(name: str, data: bytes, length: int) -> None:
    try:
        assert len(decompress(name, data, length)) == length
    except DamagedSegmentError as error:
        assert name in str(error)  # noqa: PT017  either is right


@given(DATA, DATA)
def test_the_lz4_block_is_shorter_than_it_claims(data: bytes, other: bytes) -> None:
    block = struct.pack("<I", len(data) + len(other)) + lz4.block.compress(data, store_size=False)
    with pytest.raises(DamagedSegmentError):
        decompress("LZ4Compressor", block, len(data) + len(other))


@given(DATA, st.sampled_from([1, 3, 19]))
def test_a_zstd_frame_of_any_level_and_with_more_behind_it(data: bytes, level: int) -> None:
    frame = zstandard.ZstdCompressor(level=level).compress(data)
    assert decompress("ZstdCompressor", frame, len(data)) == data
    for wrong in (frame[:-1], frame + frame, zstandard.ZstdCompressor(write_content_size=False).compress(data)):
        with pytest.raises(DamagedSegmentError):
            decompress("ZstdCompressor", wrong, len(data))
