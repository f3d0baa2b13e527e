"""Which documents there are, in little memory: sums of their ids, by which two counts are told apart."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_BUCKETS = 1 << 16
"""Sums kept, eight bytes each: of a hundred million documents some fifteen hundred share one."""

_WORD = (1 << 64) - 1


class Census:
    """Adds up the ids of documents by buckets.

    Where two agree in a bucket, the same documents were counted in it: the sums are of 63 bits, salted for this process
    (`hash`). Nothing else can be told of it.
    """

    def __init__(self) -> None:
        self._sums = array("Q", bytes(8 * _BUCKETS))

    @staticmethod
    def bucket(identity: str) -> int:
        """Return where an id is counted."""
        return hash(identity) % _BUCKETS

    def add(self, identities: Iterable[str]) -> None:
        """Count documents."""
        sums = self._sums
        for identity in identities:
            value = hash(identity)
            at = value % _BUCKETS
            sums[at] = (sums[at] + (value | 1)) & _WORD  # none adds nothing: an empty text's is zero

    def differing(self, other: Census) -> set[int]:
        """Return the buckets in which another census has counted other documents."""
        return {at for at, (one, two) in enumerate(zip(self._sums, other._sums, strict=True)) if one != two}
