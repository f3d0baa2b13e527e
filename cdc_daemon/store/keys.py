"""Keys as columns of a table of the store."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import Clustering, TableName

_PARTITION = b""
"""Clustering value of a whole partition's key, for columns that are not null."""

Place = tuple[str, str, bytes, bytes]
"""Keyspace, table, partition key and clustering: the columns that identify a key."""


def encode_clustering(clustering: Sequence[bytes | None]) -> bytes:
    """Return a clustering key, or a prefix of one, as JSON with the values' bytes in hexadecimal."""
    return orjson.dumps([None if part is None else part.hex() for part in clustering])


def decode_clustering(text: bytes | str) -> Clustering:
    """Decode the result of `encode_clustering`."""
    return tuple(None if part is None else bytes.fromhex(part) for part in orjson.loads(text))


def place_of(key: Key) -> Place:
    """Return the column values for the key of a row or a whole partition."""
    (keyspace, table), partition_key, clustering = key
    return keyspace, table, partition_key, _PARTITION if clustering is None else encode_clustering(clustering)


def key_at(keyspace: str, table: str, partition_key: bytes, clustering: bytes) -> Key:
    """Return the key for the result of `place_of`."""
    decoded = None if clustering == _PARTITION else decode_clustering(clustering)
    return Key(TableName(keyspace, table), partition_key, decoded)
