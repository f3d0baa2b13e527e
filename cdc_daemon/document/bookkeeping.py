"""The key of a row, read from the daemon's own fields of a document.

Anybody may have written the document, so nothing is taken for granted: what cannot be read is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc_daemon.document.mapping import CLUSTERING_FIELD, LONGEST_PARTITION_TERM, PARTITION_FIELD

Parts = tuple[bytes | None, ...]


def read_clustering(source: Mapping[str, Any]) -> Parts | None:
    """Return the serialised clustering values that a document keeps, or None where it keeps none."""
    found = source.get(CLUSTERING_FIELD)
    if not isinstance(found, list):
        return None
    try:
        return tuple(None if part is None else bytes.fromhex(part) for part in found)
    except (TypeError, ValueError):
        return None


def read_row_key(source: Mapping[str, Any], *, longest: int = LONGEST_PARTITION_TERM) -> tuple[bytes, Parts] | None:
    """Return the serialised partition key and clustering values that a document keeps, or None where it does not.

    A partition key whose term has `longest` characters or more may be cut, so it is not taken.
    """
    term, clustering = source.get(PARTITION_FIELD), read_clustering(source)
    if not isinstance(term, str) or clustering is None or len(term) >= longest:
        return None
    try:
        return bytes.fromhex(term), clustering
    except ValueError:
        return None
