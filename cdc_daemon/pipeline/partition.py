"""A partition with pending work: its rows in flight, and the removal that waits for them."""

from __future__ import annotations

from cdc_daemon.pipeline.entry import Entry


class Partition:
    """The state of a partition while rows of it are pending or a removal of it is running.

    A row in flight when a removal of its partition arrives may write a document after the removal has
    searched for documents. So the removal waits for exactly those rows (`before`). Rows that are read later
    suspect that the removal covers them and doubt an older row themselves. `rows` counts the known entries of the
    partition, `since` the rows in flight that were handed out after the newest removal, and `waiting` is the removal
    that waits.
    """

    __slots__ = ("before", "epoch", "removed", "rows", "since", "waiting")

    def __init__(self) -> None:
        self.rows = 0
        self.before = 0
        self.since = 0
        self.epoch = 0
        self.removed = 0
        self.waiting: Entry | None = None

    def take_off(self, entry: Entry) -> None:
        """Record that a row is handed out, and add the removals so far to it."""
        self.since += 1
        entry.epoch = self.epoch
        entry.suspected = max(entry.suspected, self.removed)

    def note_removal(self, removed: int) -> None:
        """Record a removal of everything up to a time (µs since epoch): it waits for all rows in flight."""
        self.removed = max(self.removed, removed)
        self.before += self.since
        self.since = 0
        self.epoch += 1

    def land(self, entry: Entry) -> Entry | None:
        """Record that a row's flight has ended; return the removal if this was the last row it waited for."""
        if entry.epoch == self.epoch:
            self.since -= 1
            return None
        self.before -= 1
        if self.before:
            return None
        waiting, self.waiting = self.waiting, None
        return waiting
