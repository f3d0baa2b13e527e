"""What a segment's name, header and index file contain: its version, id, compression and encryption, durable offset.

Layout of the header (`CommitLogDescriptor.writeHeader`, Cassandra 3.11 to 5.0), big-endian:

    version int | id long | length of parameters unsigned short | parameters, JSON in UTF-8 | CRC-32

The CRC runs over version, the id's low half, its high half, the length as an int, and the parameters.

The index file, `_cdc.idx`, holds the number of bytes that Cassandra has synced to disk, and whether the
segment is complete.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from cdc_daemon.commitlog.compression import COMPRESSORS
from cdc_daemon.commitlog.encryption import CIPHERS, EncryptionHeader
from cdc_daemon.model.errors import DamagedSegmentError, UnsupportedSegmentError

Buffer = Any
"""Anything with a length whose slices are bytes-like: bytes, memoryview, mmap."""

VERSION_30: Final = 6
"""Cassandra 3.11. The content is that of version 7: the samples of 3.11.13 are read alike by this reader and by that of
Cassandra 4.0. Only the life of the files differs (`CommitLogSegmentManagerCDC`)."""
VERSION_40: Final = 7
"""Cassandra 4.0 and 4.1, and 5.0 in its default storage compatibility mode (messaging `VERSION_40`)."""
VERSION_50: Final = 8
"""Cassandra 5.0 with storage compatibility mode NONE (messaging `VERSION_50`)."""
VERSIONS: Final = frozenset({VERSION_30, VERSION_40, VERSION_50})

_NAME: Final = re.compile(r"CommitLog-(\d{1,10})-(\d{1,19})\.log")
_FIXED: Final = struct.Struct(">iqH")
PARAMETERS_AT: Final = _FIXED.size
"""Position of the parameters."""
_CRC_INPUT: Final = struct.Struct(">iIIi")
_INT: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class SegmentDescriptor:
    """The content of a segment's header.

    `compression` is the compressor's simple class name (`LZ4Compressor`, …). `header_size` is the header's
    length in bytes: the position of the first sync marker, and the start of logical positions.
    """

    version: int
    id: int
    compression: str | None
    encryption: EncryptionHeader | None
    header_size: int


class Position(NamedTuple):
    """A segment's id and a logical offset in it, in bytes (Cassandra's `CommitLogPosition`).

    Ids ascend in the order in which Cassandra starts to use segments, so positions sort in the order of the log.
    Offset 0 means that nothing of the segment was read yet.
    """

    segment_id: int
    offset: int

    def __str__(self) -> str:
        return f"{self.segment_id}:{self.offset}"


START = Position(0, 0)
"""Before every segment: Cassandra's ids are milliseconds since epoch, or follow one (`CommitLogSegment.idBase`)."""


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """Return the version and id in a segment's file name; None when it is not a segment's name.

    `CommitLog-7-1795461419810.log` is `(7, 1795461419810)`.
    """
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def index_name(name: str) -> str:
    """Return the name of the `_cdc.idx` file that belongs to the segment of this name."""
    return name.removesuffix(".log") + "_cdc.idx"


def read_descriptor(buffer: Buffer, *, segment: str) -> SegmentDescriptor | None:
    """Read the header at the beginning of `buffer`; None when it is not yet written completely.

    `segment` is the file's name. Raises `UnsupportedSegmentError` for a version, compressor or cipher that
    this reader does not know, `DamagedSegmentError` for a header that contradicts its checksum or its name.
    """
    length = len(buffer)
    fixed = bytes(buffer[: _FIXED.size])
    if not any(fixed) or length < _FIXED.size:
        return None
    version, segment_id, parameters_length = _FIXED.unpack(fixed)
    end = _FIXED.size + parameters_length
    named = parse_segment_name(segment.rpartition("/")[2])
    # When the header's checksum is wrong, the name is more reliable.
    likely_version = version if named is None else named[0]
    if length < end + _INT.size:
        _check_version(likely_version, segment)
        if version not in VERSIONS:
            raise DamagedSegmentError(
                f"expected version {likely_version} as the file's name says, found {version} in its header",
                segment=segment,
                position=0,
            )
        return None
    parameters = bytes(buffer[_FIXED.size : end])
    (found,) = _INT.unpack(bytes(buffer[end : end + _INT.size]))
    expected = zlib.crc32(parameters, zlib.crc32(_crc_input(version, segment_id, parameters_length)))
    if found != expected:
        _check_version(likely_version, segment)
        if not any(buffer[end : end + 3 * _INT.size]):
            return None
        raise DamagedSegmentError(
            f"expected the header's CRC to be {expected:08x}, found {found:08x}", segment=segment, position=end
        )
    _check_version(version, segment)
    if named is not None and named[1] != segment_id:
        raise DamagedSegmentError(
            f"expected id {named[1]} as the file's name says, found {segment_id} in its header",
            segment=segment,
            hint="a segment that was renamed or copied over another cannot be trusted",
        )
    return describe(version, segment_id, parameters, header_size=end + _INT.size, segment=segment)


def describe(version: int, segment_id: int, parameters: bytes, *, header_size: int, segment: str) -> SegmentDescriptor:
    """Return the descriptor of a header's content. Raises `UnsupportedSegmentError` for unsupported parameters."""
    options = _options(parameters, segment)
    return SegmentDescriptor(
        version=version,
        id=segment_id,
        compression=_compression(options, segment),
        encryption=_encryption(options, segment),
        header_size=header_size,
    )


def _crc_input(version: int, segment_id: int, parameters_length: int) -> bytes:
    low, high = segment_id & 0xFFFF_FFFF, segment_id >> 32 & 0xFFFF_FFFF
    return _CRC_INPUT.pack(version, low, high, parameters_length)


def _check_version(version: int, segment: str) -> None:
    if version not in VERSIONS:
        raise UnsupportedSegmentError(
            f"expected segment version 6, 7 or 8, found {version}",
            segment=segment,
            hint="Cassandra 3.11, 4.0, 4.1 and 5.0 write these; earlier and later ones are not read",
        )


def _options(parameters: bytes, segment: str) -> dict[str, Any]:
    if not parameters:
        return {}
    try:
        options = json.loads(parameters)
    except (ValueError, RecursionError) as error:
        raise UnsupportedSegmentError(
            "expected the header's parameters to be JSON", segment=segment, position=_FIXED.size
        ) from error
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise UnsupportedSegmentError(
            "expected the header's parameters to be a JSON object", segment=segment, position=_FIXED.size
        )
    return options


def _compression(options: dict[str, Any], segment: str) -> str | None:
    name = options.get("compressionClass")
    if name is None:
        return None
    simple = str(name).removeprefix("org.apache.cassandra.io.compress.")
    if simple not in COMPRESSORS:
        raise UnsupportedSegmentError(
            f"expected compression by one of {', '.join(sorted(COMPRESSORS))}, found {name}", segment=segment
        )
    return simple


def _encryption(options: dict[str, Any], segment: str) -> EncryptionHeader | None:
    cipher, alias = options.get("encCipher"), options.get("encKeyAlias")
    if cipher is None or alias is None:
        return None
    if str(cipher).upper() not in CIPHERS:
        raise UnsupportedSegmentError(
            f"expected encryption by {' or '.join(sorted(CIPHERS))}, found {cipher}", segment=segment
        )
    try:
        iv = bytes.fromhex(str(options.get("encIV", "")))
    except ValueError:
        iv = b""
    if len(iv) != CIPHERS[str(cipher).upper()]:
        raise UnsupportedSegmentError(
            f"expected an initialisation vector of 16 bytes, found {options.get('encIV')!r}", segment=segment
        )
    return EncryptionHeader(str(cipher), str(alias), iv)


class CdcIndex(NamedTuple):
    """The content of an index file.

    `offset` counts logical bytes of the segment that are durable (uncompressed, decrypted). After a crash
    Cassandra writes the file's length instead, so it is an upper bound, never a promise of data.
    """

    offset: int
    completed: bool


def parse_index(text: str | bytes) -> CdcIndex | None:
    """Parse an index file's content; None when it is incomplete: read the file again.

    Cassandra truncates the file before it rewrites it (`CommitLogSegment.writeCDCIndexFile`), so empty or half-written
    content is normal. So is a truncated offset: an offset lower than a previous one also means "read again", which
    only the caller can detect.
    """
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    offset, newline, rest = text.partition("\n")
    if not (offset.isascii() and offset.isdigit()) or len(offset) > _DIGITS:
        return None
    if newline and rest.strip() != "COMPLETED":
        return None
    return CdcIndex(int(offset), bool(newline))


_DIGITS = 19
