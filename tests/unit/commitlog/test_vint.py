from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.vint import LENGTHS, MAX_LENGTH, VALUE_BITS, as_int32, as_int64, read_vint
from cdc_daemon.errors import MutationError
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
    assert as_int32(read_vint(vint32(value), 0)[0]) == value


@given(st.integers())
def test_wraps_as_java_does(value: int) -> None:
    assert -(1 << 31) <= as_int32(value) < 1 << 31
    assert (as_int32(value) - value) % (1 << 32) == 0
    assert -(1 << 63) <= as_int64(value) < 1 << 63
    assert (as_int64(value) - value) % (1 << 64) == 0
