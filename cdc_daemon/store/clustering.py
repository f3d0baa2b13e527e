"""Clustering keys as one value of a column."""

from __future__ import annotations

from collections.abc import Sequence

import orjson


def encode_clustering(clustering: Sequence[bytes | None]) -> bytes:
    """Return a clustering key, or a prefix of one, as JSON with the values' bytes in hexadecimal."""
    return orjson.dumps([None if part is None else part.hex() for part in clustering])


def decode_clustering(text: bytes | str) -> tuple[bytes | None, ...]:
    """Return what `encode_clustering` was given."""
    return tuple(None if part is None else bytes.fromhex(part) for part in orjson.loads(text))
