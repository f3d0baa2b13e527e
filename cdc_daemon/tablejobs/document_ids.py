"""Ids of documents: the key of a document's row, and sums that compare two sets of ids in little memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.bookkeeping import (
    CLUSTERING_FIELD,
    KEY_FIELD,
    LONGEST_PARTITION_TERM,
    PARTITION_FIELD,
    read_row_key,
)
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.search.engine import StoredDocument
from cdc_daemon.sources.requests.errors import InvalidIdError
from cdc_daemon.sources.requests.ids import IdParser

_BUCKETS = 1 << 16
"""Number of sums, eight bytes each: of a hundred million documents, about 1,500 share a bucket."""

_WORD = (1 << 64) - 1


class DocumentKeys:
    """Finds the row of a document of one mapping."""

    FIELDS = (PARTITION_FIELD, CLUSTERING_FIELD, KEY_FIELD)
    """The required fields of a document's source."""

    def __init__(self, mapping: DocumentMapping, settings: MappingSettings) -> None:
        self._table = TableName(mapping.table.keyspace, mapping.table.name)
        self._depth = len(mapping.table.clustering)
        self._takes = mapping.table.takes_key
        self._identifiers = IdParser(settings, mapping.table)

    def of(self, document: StoredDocument) -> Key | None:
        """Return the key, or None if no row can have such a document."""
        source = document.source or {}
        if self._depth and (key := self._of_fields(source)) is not None:
            return key
        return self.of_id(source.get(KEY_FIELD) or document.id)

    def of_id(self, identity: str) -> Key | None:
        """Return the key in a document's readable id, or None if it contains no key."""
        try:
            key = self._identifiers.parse_one(identity).key
        except InvalidIdError:
            return None
        return None if key.clustering is None else key

    def _of_fields(self, source: Mapping[str, Any]) -> Key | None:
        found = read_row_key(source, longest=LONGEST_PARTITION_TERM - 1)
        if found is None or len(found[1]) != self._depth:
            return None
        partition, parts = found
        # A document may be older than the re-creation of its table with another key.
        return Key(self._table, partition, parts) if self._takes(partition, parts) else None


Digest = Callable[[str], int]
"""Returns a number of at least 63 bits for an id, always the same one for equal ids."""


def lasting_digest(salt: str) -> Digest:
    """Return a digest that a later process computes as well; the built-in `hash` differs in each process."""
    key = salt.encode()[:64]

    def digest(identity: str) -> int:
        text = identity.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=key).digest())

    return digest


class IdSums:
    """Sums of document ids by bucket: they show whether two sets of documents differ, without keeping the ids.

    If two objects have equal sums in a bucket, they counted the same documents in it: the sums have 63 bits and are
    salted. `digest` must be the same for both objects. `stored` are the sums that `dump` returned.
    """

    def __init__(self, digest: Digest = hash, *, stored: bytes | None = None) -> None:
        self._digest = digest
        self._sums = array("Q", bytes(8 * _BUCKETS) if stored is None else stored)

    def bucket(self, identity: str) -> int:
        """Return the bucket of an id."""
        return self._digest(identity) % _BUCKETS

    def add(self, identities: Iterable[str]) -> None:
        """Add the ids of documents."""
        sums, digest = self._sums, self._digest
        for identity in identities:
            value = digest(identity)
            at = value % _BUCKETS
            sums[at] = (sums[at] + (value | 1)) & _WORD  # no id may add zero: the hash of an empty text is zero

    def differing(self, other: IdSums) -> set[int]:
        """Return the buckets in which the sums differ from another object's."""
        return {at for at, (one, two) in enumerate(zip(self._sums, other._sums, strict=True)) if one != two}

    def dump(self) -> bytes:
        """Return the sums as bytes: half a megabyte."""
        return self._sums.tobytes()
