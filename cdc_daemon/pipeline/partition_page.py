"""The rows of one page of a partition, as a group to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from cdc_daemon.model.key import Key
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.watch import DocumentOutcome, Watch


class Children:
    """Rows that are settled before the next page of their partition is requested, so that memory use stays flat.

    Each row is needed for as long as the partition is. A `receipt` holds it; if only watches, which may close, need
    the partition, this object is one more watch instead.
    """

    def __init__(self, partition: Entry) -> None:
        self.open: set[Key] = set()
        self._troubles: dict[str, Trouble] = {}
        self._partition = partition
        self._settled = asyncio.Event()
        watched_only = partition.watches and not partition.receipts
        self.receipt = None if watched_only else Receipt(self._settled.set, follows=False, refusable=True)

    @property
    def troubles(self) -> Mapping[str, Trouble]:
        """Return the aliases that some of the rows wait for, each with the reason."""
        if self.receipt is not None:
            return {trouble.alias or "": trouble for trouble in self.receipt.refused.values()}
        return self._troubles

    @property
    def closed(self) -> bool:
        """Return whether nobody needs the partition any more."""
        return self._partition.abandoned

    def watch(self, key: Key) -> Sequence[Watch]:
        """Add a row to wait for, and return its watches."""
        if self.receipt is not None:
            return [*self._partition.watches]
        self.open.add(key)
        return [*self._partition.watches, self]

    def settled(self, key: Key, _documents: Sequence[DocumentOutcome]) -> None:
        """Record that a row is settled."""
        self.open.discard(key)
        if not self.open:
            self._settled.set()

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Do nothing for a row that has to be retried: the partition's watches are notified directly."""

    def refused(self, key: Key, troubles: Mapping[str, Trouble], _documents: Sequence[DocumentOutcome]) -> None:
        """Record that a row waits for aliases that take no writes, and stop waiting for it."""
        self._troubles.update(troubles)
        self.settled(key, ())

    def abandon(self) -> None:
        """Stop waiting."""
        self._settled.set()

    async def wait(self) -> None:
        """Wait until each row is settled, or until `abandon`."""
        if self.receipt is not None:
            self.receipt.release()
        elif not self.open:
            return
        await self._settled.wait()
