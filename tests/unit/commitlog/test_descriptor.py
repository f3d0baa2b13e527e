from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.descriptor import (
    START,
    CdcIndex,
    Position,
    SegmentDescriptor,
    index_name,
    parse_index,
    parse_segment_name,
    read_descriptor,
)
from cdc_daemon.commitlog.encryption import EncryptionHeader
from cdc_daemon.model.errors import DamagedSegmentError, UnsupportedSegmentError
from tests.unit.commitlog.writer import header

ID = 1795461419810
NAME = f"CommitLog-7-{ID}.log"
ENCRYPTION = {"encCipher": "AES/CBC/PKCS5Padding", "encKeyAlias": "testing:1", "encIV": "00" * 16}


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        (NAME, (7, ID)),
        ("CommitLog-8-1.log", (8, 1)),
        ("CommitLog-7-1795461419810_cdc.idx", None),
        ("CommitLog-1795461419810.log", None),
        ("CommitLog-7-x.log", None),
        ("xCommitLog-7-1.log", None),
        ("CommitLog-7-1.log.gz", None),
        ("", None),
    ],
)
def test_segment_names(name: str, parsed: tuple[int, int] | None) -> None:
    assert parse_segment_name(name) == parsed


def test_index_name() -> None:
    assert index_name(NAME) == f"CommitLog-7-{ID}_cdc.idx"


def test_a_plain_header() -> None:
    data = header(7, ID) + bytes(100)
    assert read_descriptor(data, segment=NAME) == SegmentDescriptor(7, ID, None, None, len(data) - 100)


@pytest.mark.parametrize("name", ["LZ4Compressor", "SnappyCompressor", "DeflateCompressor", "ZstdCompressor"])
@pytest.mark.parametrize("package", ["", "org.apache.cassandra.io.compress."])
def test_compression(name: str, package: str) -> None:
    data = header(8, ID, {"compressionClass": package + name, "compressionParameters": {"a": "b"}})
    found = read_descriptor(data, segment=NAME)
    assert found is not None
    assert (found.version, found.compression, found.encryption) == (8, name, None)


def test_encryption() -> None:
    found = read_descriptor(header(7, ID, ENCRYPTION), segment=NAME)
    assert found is not None
    assert found.encryption == EncryptionHeader("AES/CBC/PKCS5Padding", "testing:1", bytes(16))


@given(st.integers(0, 200))
def test_not_written_yet(length: int) -> None:
    assert read_descriptor(bytes(length), segment=NAME) is None


def test_every_truncation_is_not_written_yet() -> None:
    data = header(7, ID, ENCRYPTION)
    for length in range(len(data)):
        assert read_descriptor(data[:length], segment=NAME) is None
    # A preallocated file shows zeros where the header is still to come; its checksum comes last and at once.
    for length in range(len(data) - 3):
        assert read_descriptor(data[:length] + bytes(len(data) - length + 16), segment=NAME) is None


@given(st.integers(0), st.integers(1, 255))
def test_every_flipped_byte_is_noticed(at: int, flip: int) -> None:
    data = bytearray(header(7, ID, ENCRYPTION) + b"\1" * 16)
    data[at % (len(data) - 16)] ^= flip
    try:
        found = read_descriptor(bytes(data), segment=NAME)
    except (DamagedSegmentError, UnsupportedSegmentError):
        return
    assert found is None  # the parameters' length points past the end


@pytest.mark.parametrize("version", [0, 5, 9, 70])
def test_another_version_is_unsupported(version: int) -> None:
    with pytest.raises(UnsupportedSegmentError, match="expected segment version 6, 7 or 8"):
        read_descriptor(header(version, ID), segment=NAME)


@pytest.mark.parametrize("size", [20, 40])
def test_another_version_by_its_name_is_unsupported_though_its_header_is_unlike_any_known(size: int) -> None:
    with pytest.raises(UnsupportedSegmentError, match="expected segment version 6, 7 or 8, found 9"):
        read_descriptor(b"\0\0\0\x09" + b"\xff" * size, segment=f"CommitLog-9-{ID}.log")


def test_a_version_that_only_a_damaged_header_speaks_of_is_damage() -> None:
    with pytest.raises(DamagedSegmentError, match="expected version 7 as the file's name says, found -1"):
        read_descriptor(b"\xff" * 40, segment=NAME)
    data = bytearray(header(7, ID))
    data[3] = 9
    with pytest.raises(DamagedSegmentError, match="expected the header's CRC"):
        read_descriptor(bytes(data), segment=NAME)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"compressionClass": "com.example.FastCompressor"}, "compression"),
        (ENCRYPTION | {"encCipher": "AES/GCM/NoPadding"}, "encryption"),
        (ENCRYPTION | {"encIV": "zz"}, "initialisation vector"),
        (ENCRYPTION | {"encIV": "00" * 8}, "initialisation vector"),
    ],
)
def test_unknown_means_are_unsupported(parameters: dict[str, str], reason: str) -> None:
    with pytest.raises(UnsupportedSegmentError, match=reason):
        read_descriptor(header(7, ID, parameters), segment=NAME)


def test_a_segment_under_another_name_is_damage() -> None:
    with pytest.raises(DamagedSegmentError, match=f"expected id {ID} "):
        read_descriptor(header(7, ID + 1), segment=NAME)


def test_a_bad_checksum_says_where_and_what() -> None:
    data = bytearray(header(7, ID) + b"\1" * 16)
    data[-20] ^= 1
    with pytest.raises(DamagedSegmentError) as caught:
        read_descriptor(bytes(data), segment=NAME)
    assert caught.value.where["segment"] == NAME
    assert caught.value.where["position"] == 16


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[]", b"5", b"[" * 5000])
def test_parameters_that_are_no_object_are_unsupported(text: bytes) -> None:
    with pytest.raises(UnsupportedSegmentError, match="JSON"):
        read_descriptor(header(7, ID, text=text), segment=NAME)


@pytest.mark.parametrize("text", [b"", b"null", b"{}"])
def test_no_parameters(text: bytes) -> None:
    found = read_descriptor(header(7, ID, text=text), segment=NAME)
    assert found is not None
    assert (found.compression, found.encryption) == (None, None)


def test_positions_compare_in_the_order_of_the_log() -> None:
    positions = [Position(8, 0), Position(7, 100), START, Position(8, 5), Position(7, 0)]
    assert sorted(positions) == [START, Position(7, 0), Position(7, 100), Position(8, 0), Position(8, 5)]


def test_positions_are_printed_with_a_colon() -> None:
    assert str(Position(1795461419810, 28)) == "1795461419810:28"


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("1030406\nCOMPLETED", CdcIndex(1030406, completed=True)),
        (b"518234", CdcIndex(518234, completed=False)),
        ("0", CdcIndex(0, completed=False)),
        ("33554432\nCOMPLETED\n", CdcIndex(33554432, completed=True)),
        ("", None),
        ("\n", None),
        ("12\n", None),
        ("12\nCOMP", None),
        ("-1", None),
        ("²", None),
        (b"\xff\xfe", None),
        ("9" * 40, None),
    ],
)
def test_parse(text: str | bytes, index: CdcIndex | None) -> None:
    assert parse_index(text) == index


@given(st.binary())
def test_any_bytes_are_an_index_or_again(data: bytes) -> None:
    found = parse_index(data)
    assert found is None or found.offset >= 0


@given(st.integers(0, 1 << 31))
def test_a_write_caught_in_the_middle_never_claims_completion(offset: int) -> None:
    text = f"{offset}\nCOMPLETED"
    for length in range(len(text)):
        found = parse_index(text[:length])
        assert found is None or (not found.completed and found.offset <= offset)
