from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.vint import LENGTHS, MAX_LENGTH, VALUE_BITS, add_int32, add_int64, read_length, read_vint
from cdc_daemon.model.errors import MutationError
from tests.unit.commitlog.writer import vint, vint32


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("7f", 127),
        ("8080", 128),
        ("bfff", 16383),
        ("c04000", 16384),
        ("fe80000000000000", 1 << 55),
        ("ff" + "ff" * 8, (1 << 64) - 1),
    ],
)
def test_reads_what_cassandra_writes(encoded: str, value: int) -> None:
    assert read_vint(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_round_trip_within_other_bytes(value: int, before: bytes, after: bytes) -> None:
    encoded = vint(value)
    assert len(encoded) <= MAX_LENGTH
    assert read_vint(before + encoded + after, len(before)) == (value, len(before) + len(encoded))


@given(st.integers(0, (1 << 64) - 1))
def test_every_truncation_is_an_error(value: int) -> None:
    encoded = vint(value)
    for length in range(len(encoded)):
        with pytest.raises(MutationError, match="expected a vint"):
            read_vint(encoded[:length], 0)


@given(st.integers(0, (1 << 64) - 1))
def test_tables_agree_with_the_encoding(value: int) -> None:
    encoded = vint(value)
    assert LENGTHS[encoded[0]] == len(encoded)
    assert int.from_bytes(encoded, "big") & VALUE_BITS[encoded[0]] == value


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_negative_ints_come_back_though_written_as_longs(value: int) -> None:
    assert add_int32(read_vint(vint32(value), 0)[0], 0) == value


@given(st.integers(0, (1 << 64) - 1), st.integers(-(1 << 63), (1 << 63) - 1))
def test_wraps_as_java_does(delta: int, base: int) -> None:
    assert -(1 << 31) <= add_int32(delta, base) < 1 << 31
    assert (add_int32(delta, base) - delta - base) % (1 << 32) == 0
    assert -(1 << 63) <= add_int64(delta, base) < 1 << 63
    assert (add_int64(delta, base) - delta - base) % (1 << 64) == 0


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=20))
def test_a_length_is_believed_only_as_far_as_there_are_bytes(length: int, after: bytes) -> None:
    encoded = vint(length)
    if length <= len(after):
        assert read_length(encoded + after, 0) == (length, len(encoded))
    else:
        with pytest.raises(MutationError, match=f"expected {length} bytes, found the end after {len(after)}"):
            read_length(encoded + after, 0)
