"""The daemon's own fields of a document: how a row's key is stored in them, and read back.

Other programs may have written the document, so every field is validated: an unreadable one gives None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTITION_FIELD = "cdc_partition_key"
"""Keyword field for finding the documents of a partition. Only tables with clustering columns need it."""

CLUSTERING_FIELD = "cdc_clustering"
"""The row's clustering values in hexadecimal: the part of the key after the partition key. Not indexed."""

KEY_FIELD = "cdc_key"
"""The readable `_id` of a document with a hashed `_id`, because Elasticsearch rejects one that long."""

UNINDEXED_FIELD = "cdc_unindexed"
"""The fields of a document that the index cannot hold in their flattened fields. They are stored and not indexed."""

LONGEST_PARTITION_TERM = 32_000
"""Bytes of a partition key stored in the keyword: Lucene rejects terms over 32 766 bytes."""

LONGEST_KEY_TERM = 8191
"""Characters of a readable key that is indexed: at most four bytes each, within Lucene's 32 766 bytes."""

Parts = tuple[bytes | None, ...]


def partition_term(partition_key: bytes) -> str:
    """Return the term for finding the documents of a partition.

    A key longer than Lucene's longest term is truncated. A search may then also find documents of other
    partitions. This is harmless: each one is read before it is changed.
    """
    return partition_key[: LONGEST_PARTITION_TERM // 2].hex()


def read_clustering(source: Mapping[str, Any]) -> Parts | None:
    """Return the serialised clustering values stored in a document, or None if there are none."""
    found = source.get(CLUSTERING_FIELD)
    if not isinstance(found, list):
        return None
    try:
        return tuple(None if part is None else bytes.fromhex(part) for part in found)
    except (TypeError, ValueError):
        return None


def read_row_key(source: Mapping[str, Any], *, longest: int = LONGEST_PARTITION_TERM) -> tuple[bytes, Parts] | None:
    """Return the serialised partition key and clustering values stored in a document, or None if there are none.

    A partition key with a term of `longest` characters or more may be truncated, so it is ignored.
    """
    term, clustering = source.get(PARTITION_FIELD), read_clustering(source)
    if not isinstance(term, str) or clustering is None or len(term) >= longest:
        return None
    try:
        return bytes.fromhex(term), clustering
    except ValueError:
        return None


def whole_source(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the source of a document with the fields that were set aside in `UNINDEXED_FIELD` in their places."""
    aside = source.get(UNINDEXED_FIELD)
    if not isinstance(aside, Mapping):
        return source
    return {**{name: value for name, value in source.items() if name != UNINDEXED_FIELD}, **aside}
