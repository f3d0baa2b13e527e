"""A pending document: the combined signals for one key since it was last read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cdc_daemon.model.document_operation import DocumentOutcome
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Clustering, Key, Scope, Signal
from cdc_daemon.pipeline.ports import Watch

if TYPE_CHECKING:
    from cdc_daemon.model.reading import Reading

_MOST_MOMENTS = 64
"""Number of expiry times kept for one key. If many writes wait together, the earliest are kept."""


class Entry:
    """The one pending piece of work for a key; every further signal for the key is merged into it.

    `written` and `removed` are the newest known write and deletion times. `suspected` is the time of a deletion
    of several rows which may have covered this one. `oldest` is the oldest write or deletion time not yet
    written to Elasticsearch. All are in microseconds since epoch, 0 for unknown.
    `changed` means that the key itself was changed, so documents of other keys that show it have to be updated.
    For a partition, `refresh` requests a refresh of every row, not only the removal of those that are gone; `search`
    requests a search for its documents in the index; `prefixes` are the clustering prefixes below which rows were
    removed. `minimum_version` is the minimum for the document's version after a conflict (docs/guarantees.md,
    promise 4). `faults` counts how often Elasticsearch has failed on its document, for the first time at
    `fault_since` (monotonic seconds, 0 for never). `unread` counts how often its row, alone, could not be read while
    others were, from `unread_since` to `unread_at` (likewise).
    `expires` are times at which part of the written data expires (seconds since epoch, 0 for an unknown one).
    `signals` counts the signals for the key. `receipts` are held, each with the value of `signals` at its latest
    signal.
    `queue` is where the entry waits to be handed out, None while it must not be handed out.
    `background` means that it can wait for all others. `prefetched` is a reading of its row from before its turn, with
    the row's place in it. It is None if the row has to be read, as after any signal.
    """

    __slots__ = (
        "attempts",
        "background",
        "changed",
        "epoch",
        "expires",
        "fault_since",
        "faults",
        "key",
        "minimum_version",
        "oldest",
        "prefetched",
        "prefixes",
        "queue",
        "receipts",
        "refresh",
        "removed",
        "search",
        "signals",
        "suspected",
        "unread",
        "unread_at",
        "unread_since",
        "watches",
        "written",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self.written = 0
        self.removed = 0
        self.suspected = 0
        self.oldest = 0
        self.changed = False
        self.refresh = False
        self.search = False
        self.expires: tuple[int, ...] = ()
        self.prefixes: set[Clustering] = set()
        self.signals = 0
        self.receipts: dict[Receipt, int] = {}
        self.watches: set[Watch] = set()
        self.queue: deque[Entry] | None = None
        self.minimum_version = 0
        self.attempts = 0
        self.faults = 0
        self.fault_since = 0.0
        self.unread = 0
        self.unread_since = 0.0
        self.unread_at = 0.0
        self.background = False
        self.prefetched: tuple[Reading, int] | None = None
        self.epoch = 0

    @property
    def wanted(self) -> bool:
        """Return whether anyone still needs this entry."""
        return bool(self.receipts) or any(not watch.closed for watch in self.watches)

    @property
    def abandoned(self) -> bool:
        """Return whether someone waited for this entry, and nobody needs it any more."""
        return bool(self.watches) and not self.wanted

    def add(self, signal: Signal, receipt: Receipt | None, watches: Iterable[Watch] = ()) -> None:
        """Merge one more signal; its receipt is held until this entry is settled."""
        _, _, scope, clustering, written, removed, expires, suspected, passed_on, since = signal
        self.prefetched = None
        self.signals += 1
        if written:
            self.written = max(self.written, written)
        if removed:
            self.removed = max(self.removed, removed)
        if suspected:
            self.suspected = max(self.suspected, suspected)
        self.oldest = _older(self.oldest, since or max(written, removed))
        if expires:
            self.expires = _joined(self.expires, expires)
        if not passed_on and (written or removed or suspected or since):
            self.changed = True
        if scope is not Scope.ROWS:
            self.search = True
        if scope is Scope.STATIC or scope is Scope.ROWS:
            self.refresh = True
        elif scope is Scope.RANGE:
            self.prefixes.add(clustering)
        elif scope is Scope.PARTITION:
            self.prefixes.add(())
        if watches:
            self.watches.update(watches)
        if receipt is not None:
            self.hold(receipt)

    def hold(self, receipt: Receipt) -> None:
        """Hold a receipt until this entry is settled."""
        if receipt not in self.receipts:
            receipt.hold()
        self.receipts[receipt] = self.signals

    def merge(self, other: Entry) -> None:
        """Merge the state and the receipts of another entry of the same key."""
        self.prefetched = None
        self.signals += 1
        self.written = max(self.written, other.written)
        self.removed = max(self.removed, other.removed)
        self.suspected = max(self.suspected, other.suspected)
        self.oldest = _older(self.oldest, other.oldest)
        self.expires = _joined(self.expires, other.expires)
        self.changed = self.changed or other.changed
        self.refresh = self.refresh or other.refresh
        self.search = self.search or other.search
        self.prefixes |= other.prefixes
        self.minimum_version = max(self.minimum_version, other.minimum_version)
        self.attempts = max(self.attempts, other.attempts)
        self.faults = max(self.faults, other.faults)
        self.fault_since = min(filter(None, (self.fault_since, other.fault_since)), default=0.0)
        self.unread = max(self.unread, other.unread)
        self.unread_since = min(filter(None, (self.unread_since, other.unread_since)), default=0.0)
        self.unread_at = max(self.unread_at, other.unread_at)
        self.background = self.background and other.background
        self.watches |= other.watches
        for receipt in other.receipts:
            if receipt in self.receipts:
                receipt.release()
            self.receipts[receipt] = self.signals
        other.receipts = {}

    def settle(self, documents: Sequence[DocumentOutcome] = ()) -> None:
        """Release every receipt: the key is written to Elasticsearch, or durably set aside."""
        for receipt in self.receipts:
            receipt.release()
        self.receipts = {}
        for watch in self.watches:
            watch.settled(self.key, documents)
        self.watches = set()

    def give_back(self, receipts: Mapping[Receipt, int]) -> None:
        """Release receipts, as they were held earlier: the work they stood for then is durable elsewhere.

        Receipts that came with another signal since then stay held.
        """
        for receipt, signals in receipts.items():
            if self.receipts.get(receipt) == signals:
                del self.receipts[receipt]
                receipt.stored = True
                receipt.release()

    def note_stored(self) -> None:
        """Record in the receipts that part of the work waits in the state directory."""
        for receipt in self.receipts:
            receipt.stored = True

    def note_set_aside(self) -> None:
        """Record in the receipts that part of the work became a dead letter."""
        for receipt in self.receipts:
            receipt.set_aside = True

    def refuse(self, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome] = ()) -> None:
        """Notify the watches and refusable receipts that aliases take no writes, and release them.

        The receipts that remain are those whose owner cannot submit the same signals again.
        """
        for receipt in [receipt for receipt in self.receipts if receipt.refusable]:
            del self.receipts[receipt]
            receipt.refuse(self.key, troubles)
        watches, self.watches = self.watches, set()
        for watch in watches:
            watch.refused(self.key, troubles, documents)

    def delay(self, trouble: Trouble) -> None:
        """Report the cause of the delay to the watches."""
        for watch in self.watches:
            watch.delayed(self.key, trouble)


def _older(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other


def _joined(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the times of both, or the earliest of them if there are very many."""
    if not one or not other:
        return one or other
    return tuple(sorted({*one, *other}))[:_MOST_MOMENTS]
