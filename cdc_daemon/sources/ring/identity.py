"""The identity of a change, the same in the logs of all replicas."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import chain
from typing import Final, NamedTuple

_WORD: Final = (1 << 64) - 1

SIZE: Final = 16
"""Bytes of an identity in a question."""


class ChangeIdentity(NamedTuple):
    """One partition update of one entry in the log, as two words of 64 bits.

    `place` is made of the table's id and the token of the key, `mutation` of the write time and of the checksum that
    Cassandra wrote behind the entry. The coordinator sends the same mutation to each replica, so the checksum is the
    same in each log. A newer change of the key has another identity, also one with the same write time. Where replicas
    write different bytes, the identities differ, and the change is written twice.
    """

    place: int
    mutation: int


def identity_of(table_id: bytes, token: int, timestamp: int, checksum: int) -> ChangeIdentity:
    """Return the identity of a change."""
    place = (token + int.from_bytes(table_id[-8:], "big")) & _WORD
    return ChangeIdentity(place, (timestamp ^ (checksum << 32)) & _WORD)


def packed(identities: Iterable[ChangeIdentity]) -> bytes:
    """Return identities as the bytes of a question."""
    words = array("Q", chain.from_iterable(identities))
    return _in_network_order(words).tobytes()


def unpacked(data: bytes) -> Iterable[ChangeIdentity]:
    """Return the identities in a question. Raises ValueError for other bytes."""
    if len(data) % SIZE:
        raise ValueError(f"expected identities of {SIZE} bytes, found {len(data)} bytes")
    words = array("Q")
    words.frombytes(data)
    each = iter(_in_network_order(words))
    return map(ChangeIdentity, each, each)


def _in_network_order(words: array[int]) -> array[int]:
    if _LITTLE_ENDIAN:
        words = words[:]
        words.byteswap()
    return words


_LITTLE_ENDIAN: Final = array("H", [1]).tobytes()[0] == 1
