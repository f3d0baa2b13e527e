"""Rows seen in the overlap of two turns, so that none is read twice because of the overlap."""

from __future__ import annotations

from collections.abc import Iterable

from cdc_daemon.model.key import Key
from cdc_daemon.sources.poll.row import SeenRow

MOST_SEEN = 200_000
"""Rows remembered by default: some fifty megabytes."""

_NOTHING = (-1, -1, 0)
"""Marks a row that was not seen."""


class SeenRows:
    """Rows that were written as they were seen. At most `limit` are remembered, the latest.

    A row may have been read before all of its change was there if it was read less than `young` microseconds after the
    change, or after it was first seen where its moment is ahead of the clock. Such a row must be read once more.
    `complete` says whether there was room for all of them.
    """

    def __init__(self, limit: int = MOST_SEEN, *, young: int = 0) -> None:
        self.complete = True
        self._limit = limit
        self._young = young
        self._seen: dict[Key, tuple[int | None, int | None, int]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def knows(self, row: SeenRow, now: int) -> bool:
        """Return whether the row was seen as it is, so that a read that begins `now` would return nothing new."""
        moment, written, ripe = self._seen.get(row.key, _NOTHING)
        return (moment, written) == (row.moment, row.written) and (ripe == 0 or now < ripe)

    def remember(self, rows: Iterable[SeenRow], now: int) -> None:
        """Remember rows written from reads that began `now` or later (microseconds since epoch)."""
        for row in rows:
            moment, written, ripe = self._seen.pop(row.key, _NOTHING)
            if (moment, written) != (row.moment, row.written):
                ripe = min(row.changed, now) + self._young
            self._seen[row.key] = (row.moment, row.written, ripe if ripe > now else 0)
        self.complete = len(self._seen) < self._limit
        while len(self._seen) > self._limit:
            del self._seen[next(iter(self._seen))]

    def forget_before(self, moment: int) -> None:
        """Drop rows that changed before a moment (microseconds since epoch): they are no longer queried."""
        old = [key for key, (column, written, _) in self._seen.items() if max(column or 0, written or 0) < moment]
        for key in old:
            del self._seen[key]
