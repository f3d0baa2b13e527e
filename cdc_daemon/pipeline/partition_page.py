"""The rows of one page of a partition, waited for together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from cdc_daemon.model.key import Key
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.watch import DocumentOutcome, Watch


class Children:
    """Rows that are settled before the next page of their partition is asked for, so that memory stays flat.

    Each of them is wanted for as long as the partition is. A `receipt` says so, or, where the partition is wanted by
    nobody but those who watch it and may leave, this as one more watch.
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
        """The aliases that some of the rows wait for, and why these take no writes."""
        if self.receipt is not None:
            return {trouble.alias or "": trouble for trouble in self.receipt.refused.values()}
        return self._troubles

    @property
    def closed(self) -> bool:
        """Whether nobody wants the partition any more."""
        return self._partition.abandoned

    def watch(self, key: Key) -> Sequence[Watch]:
        """Wait for a row as well, and return who watches it."""
        if self.receipt is not None:
            return [*self._partition.watches]
        self.open.add(key)
        return [*self._partition.watches, self]

    def settled(self, key: Key, _documents: Sequence[DocumentOutcome]) -> None:
        """Take note that a row is settled."""
        self.open.discard(key)
        if not self.open:
            self._settled.set()

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Take note that a row has to be tried again: those who watch the partition are told themselves."""

    def refused(self, key: Key, troubles: Mapping[str, Trouble], _documents: Sequence[DocumentOutcome]) -> None:
        """Note that a row waits for aliases that take no writes: it is not waited for here."""
        self._troubles.update(troubles)
        self.settled(key, ())

    def abandon(self) -> None:
        """Wait no more."""
        self._settled.set()

    async def wait(self) -> None:
        """Wait until each row is settled, or given up by `abandon`."""
        if self.receipt is not None:
            self.receipt.release()
        elif not self.open:
            return
        await self._settled.wait()
