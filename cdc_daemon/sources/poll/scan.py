"""Every row of a table, with the times of its last change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from cdc_daemon.cassandra.ring import Ring
from cdc_daemon.cassandra.scan import TokenScan
from cdc_daemon.sources.poll.columns import PolledColumns
from cdc_daemon.sources.poll.row import SeenRow


class ScannedRows:
    """Reads keys and moments of every row, token range by token range. No index is needed; it costs a full scan."""

    def __init__(self, scan: TokenScan, columns: PolledColumns, ring: Ring) -> None:
        self._scan = scan
        self._columns = columns
        self._ring = ring

    async def pages(self, since: int) -> AsyncIterator[Sequence[SeenRow]]:  # noqa: ARG002 -- a scan sees every row
        """Return every row, page by page, in the order of tokens."""
        columns = self._columns
        for piece in await self._ring.pieces(columns.table):
            async for page in self._scan.keys(columns.table, piece, shown=columns.others):
                yield [columns.row(key, values) for key, values in zip(page.keys, page.values, strict=True)]
