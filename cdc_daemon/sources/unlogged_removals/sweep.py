"""A sweep: compares each document of a table with its row, and deletes documents without a row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over

DOCUMENTS_PER_SECOND = 5000.0
"""Maximum rate of a sweep: it is seldom urgent, and changes are."""


class RowFinder(Protocol):
    """Finds the rows that have documents."""

    def find(self, table: TableName) -> AsyncIterator[Sequence[Key]]:
        """Return their keys page by page. Raises what searching raises."""
        ...


class Sweep:
    """Signals every row that a table's documents show, page by page, no faster than the rows are written.

    Rows are read and written as for any other signal, so rows written in the meantime stay, and the newest read wins.
    `counted` is called for each page that is written.
    """

    def __init__(
        self,
        rows: RowFinder,
        sink: BackgroundSink,
        gate: Gate,
        *,
        counted: Callable[[int], object],
        rate: float = DOCUMENTS_PER_SECOND,
    ) -> None:
        self._rows = rows
        self._sink = sink
        self._gate = gate
        self._counted = counted
        self._rate = rate

    async def run(self, table: TableName, *, suspected: int = 0) -> int:
        """Process the row of each document and return the number of documents.

        `suspected` is when rows of the table were removed (µs since epoch). Raises what searching raises; work done
        until then is kept.
        """
        loop = asyncio.get_running_loop()
        count = 0
        async for keys in self._rows.find(table):
            begun = loop.time()
            signals = [
                Signal(table, key.partition_key, Scope.ROW, key.clustering or (), suspected=suspected) for key in keys
            ]
            await self._gate.wait_open()
            await hand_over(self._sink.submit_background, signals)
            count += len(keys)
            self._counted(len(keys))
            await asyncio.sleep(max(0.0, len(keys) / self._rate - (loop.time() - begun)))
        return count
