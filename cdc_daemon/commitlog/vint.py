"""Cassandra's variable-length integers.

The number of leading one bits of the first byte is the number of bytes that follow; the other bits of the first byte
are the most significant bits of the value (`utils.vint.VIntCoding`, Cassandra 4.0 to 5.0). Hot loops inline
`LENGTHS` and `VALUE_BITS`; all other code calls `read_vint`.
"""

from __future__ import annotations

from typing import Final

from cdc_daemon.model.errors import MutationError

MAX_LENGTH: Final = 9
"""Bytes of the longest vint: a first byte of ones, then 64 bits."""


def _leading_ones(byte: int) -> int:
    return 8 - (byte ^ 0xFF).bit_length()


LENGTHS: Final = bytes(1 + _leading_ones(byte) for byte in range(256))
"""Length in bytes of the whole vint, by its first byte."""

VALUE_BITS: Final = tuple(
    (0xFF >> _leading_ones(byte)) << 8 * _leading_ones(byte) | (1 << 8 * _leading_ones(byte)) - 1 for byte in range(256)
)
"""Mask that leaves the value of the big-endian integer a vint's bytes form, by its first byte."""

_INT32_SIGN: Final = 1 << 31
_INT64_SIGN: Final = 1 << 63


def read_vint(data: bytes, position: int) -> tuple[int, int]:
    """Read one unsigned vint of `data` at `position`: its value (0 to 2**64 - 1) and the position after it.

    Raises `MutationError` when the bytes end before the vint does.
    """
    if position >= len(data):
        raise MutationError("expected a vint, found the end of the bytes", at=position)
    first = data[position]
    if first < 0x80:
        return first, position + 1
    end = position + LENGTHS[first]
    if end > len(data):
        raise MutationError(f"expected a vint of {LENGTHS[first]} bytes, found {len(data) - position}", at=position)
    return int.from_bytes(data[position:end], "big") & VALUE_BITS[first], end


def read_length(data: bytes, position: int) -> tuple[int, int]:
    """Read the vint of a length, and check that so many bytes follow: the length, and the position of the bytes.

    Raises `MutationError` when there are fewer.
    """
    length, position = read_vint(data, position)
    if length > len(data) - position:
        raise MutationError(f"expected {length} bytes, found the end after {len(data) - position}", at=position)
    return length, position


def add_int32(delta: int, base: int) -> int:
    """Add to a vint's value as Java does to an int: the low 32 bits of the sum, signed."""
    return ((delta + base + _INT32_SIGN) & 0xFFFF_FFFF) - _INT32_SIGN


def add_int64(delta: int, base: int) -> int:
    """Add to a vint's value as Java does to a long: the low 64 bits of the sum, signed."""
    return ((delta + base + _INT64_SIGN) & 0xFFFF_FFFF_FFFF_FFFF) - _INT64_SIGN
