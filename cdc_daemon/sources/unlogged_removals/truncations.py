"""When tables were truncated, as their node records it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cassandra.cluster import Session

from cdc_daemon.cassandra.node import find_node
from cdc_daemon.cassandra.query import execute

_QUERY = "SELECT truncated_at FROM system.local WHERE key = 'local'"

_RECORD = struct.Struct(">qiq")
"""Segment id, position, milliseconds since epoch (`SystemKeyspace.truncationAsMapEntry`, 4.0 to 5.0)."""


class TruncationRecordReader:
    """Reads the truncation records of the node beside the daemon: each node keeps its own."""

    def __init__(self, session: Session, contact_points: tuple[str, ...]) -> None:
        self._session = session
        self._contact_points = contact_points

    @property
    def nodes(self) -> int:
        """Number of nodes in the cluster."""
        return len(self._session.cluster.metadata.all_hosts())

    async def read(self) -> Mapping[bytes, int]:
        """Return when tables were last truncated (ms since epoch), by table id. Raises as `execute` does."""
        node = find_node(self._session, self._contact_points)
        rows = await execute(self._session, _QUERY, host=node)
        return decode_records(rows[0].truncated_at if rows else None)


def decode_records(records: Mapping[UUID, Any] | None) -> dict[bytes, int]:
    """Return the times of truncation records by table id; anything that is not a record is left out."""
    found = {}
    for table_id, record in (records or {}).items():
        if len(record) == _RECORD.size:
            _, _, moment = _RECORD.unpack(record)
            found[table_id.bytes] = moment
    return found
