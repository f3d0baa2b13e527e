"""What was seen in the overlap of two turns, so that nothing is read twice for it."""

from __future__ import annotations

from collections.abc import Iterable

from cdc_daemon.pipeline.entry import Key
from cdc_daemon.poll.row import SeenRow

MOST_SEEN = 200_000
"""Rows kept by default: some fifty megabytes."""


class SeenRows:
    """Rows that were settled as they were seen. At most `limit` are kept, the latest.

    `complete` says whether there was room for all of them.
    """

    def __init__(self, limit: int = MOST_SEEN) -> None:
        self.complete = True
        self._limit = limit
        self._seen: dict[Key, tuple[int | None, int | None]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def knows(self, row: SeenRow) -> bool:
        """Tell whether the row was seen as it is now."""
        return self._seen.get(row.key) == (row.moment, row.written)

    def remember(self, rows: Iterable[SeenRow]) -> None:
        """Keep what was settled."""
        for row in rows:
            self._seen.pop(row.key, None)
            self._seen[row.key] = (row.moment, row.written)
        self.complete = len(self._seen) < self._limit
        while len(self._seen) > self._limit:
            del self._seen[next(iter(self._seen))]

    def forget_before(self, moment: int) -> None:
        """Drop rows that changed before a moment (microseconds since epoch): they are not asked for any more."""
        old = [key for key, (column, written) in self._seen.items() if max(column or 0, written or 0) < moment]
        for key in old:
            del self._seen[key]
