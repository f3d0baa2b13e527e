"""Reads a row's key from the daemon's own fields of a document.

Other programs may have written the document, so every field is validated: an unreadable one gives None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc_daemon.document.mapping import CLUSTERING_FIELD, LONGEST_PARTITION_TERM, PARTITION_FIELD

Parts = tuple[bytes | None, ...]


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
