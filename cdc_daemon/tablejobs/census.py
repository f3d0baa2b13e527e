"""Compares sets of documents in little memory: sums of their ids show whether two counts differ."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_BUCKETS = 1 << 16
"""Sums stored, eight bytes each: of a hundred million documents some fifteen hundred share one."""

_WORD = (1 << 64) - 1


class Census:
    """Sums the ids of documents by bucket.

    Where two censuses agree in a bucket, they counted the same documents in it: the sums are of 63 bits, salted for
    this process (`hash`). They show nothing else.
    """

    def __init__(self) -> None:
        self._sums = array("Q", bytes(8 * _BUCKETS))

    @staticmethod
    def bucket(identity: str) -> int:
        """Return the bucket of an id."""
        return hash(identity) % _BUCKETS

    def add(self, identities: Iterable[str]) -> None:
        """Count documents."""
        sums = self._sums
        for identity in identities:
            value = hash(identity)
            at = value % _BUCKETS
            sums[at] = (sums[at] + (value | 1)) & _WORD  # no id may add zero: the hash of an empty text is zero

    def differing(self, other: Census) -> set[int]:
        """Return the buckets in which another census has counted other documents."""
        return {at for at, (one, two) in enumerate(zip(self._sums, other._sums, strict=True)) if one != two}
