"""Newer rows by reading the keys of the whole table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from cdc_daemon.cassandra.plan import quote
from cdc_daemon.cassandra.ring import Ring
from cdc_daemon.poll.asking import Asking
from cdc_daemon.poll.columns import PolledColumns
from cdc_daemon.poll.row import SeenRow


class ScannedRows:
    """Reads keys and moments of every row, token range by token range. No index is needed; it costs a full scan."""

    def __init__(self, asking: Asking, columns: PolledColumns, ring: Ring) -> None:
        self._asking = asking
        self._table = columns.table
        self._ring = ring
        names = ", ".join(quote(column.name) for column in columns.plan.table.partition_key)
        self._where = f"token({names}) > ? AND token({names}) <= ?"

    async def pages(self, since: int) -> AsyncIterator[Sequence[SeenRow]]:  # noqa: ARG002 -- a scan sees every row
        """Return every row, page by page, in the order of tokens."""
        for piece in await self._ring.pieces(self._table):
            async for page in self._asking.rows(self._where, piece):
                yield page
