"""A partition with pending work: which of its rows are in flight, and the removal that waits for them."""

from __future__ import annotations

from cdc_daemon.pipeline.entry import Entry


class Partition:
    """What is known of a partition while rows of it are pending or a removal of it is at work.

    Rows in flight when a removal of their partition arrives may write a document after the removal has
    looked for documents. So the removal waits for exactly those (`before`); rows that are read later
    suspect that the removal covers them and doubt an older row themselves. `rows` counts the entries that are
    known of it, `since` the rows in flight that were handed out after the newest removal, and `waiting` is the removal
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
        """Take note that a row is handed out; it learns what was removed by then."""
        self.since += 1
        entry.epoch = self.epoch
        entry.suspected = max(entry.suspected, self.removed)

    def note_removal(self, removed: int) -> None:
        """Take note of a removal of everything up to a time (µs since epoch): it is to wait for all in flight."""
        self.removed = max(self.removed, removed)
        self.before += self.since
        self.since = 0
        self.epoch += 1

    def land(self, entry: Entry) -> Entry | None:
        """Take note that a row's flight has ended; return the removal that waited for this one last, if any did."""
        if entry.epoch == self.epoch:
            self.since -= 1
            return None
        self.before -= 1
        if self.before:
            return None
        waiting, self.waiting = self.waiting, None
        return waiting
