"""Wait for keys: the outcomes of the processed keys, and what blocks the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from cdc_daemon.model.key import Key
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.watch import DocumentOutcome
from cdc_daemon.sources.requests.outcome import KeyResult


class RequestedKeys:
    """Waits for keys, rows or whole partitions, and collects their documents' outcomes under one alias."""

    def __init__(self, alias: str) -> None:
        self.closed = False
        self.results: dict[Key, KeyResult] = {}
        self.open: set[Key] = set()
        self.trouble: Trouble | None = None
        self.refusal: Trouble | None = None
        self._alias = alias
        self._moved = asyncio.Event()

    def expect(self, keys: Iterable[Key]) -> None:
        """Start to wait for further keys; they must be new."""
        for key in keys:
            self.open.add(key)
            self.results[key] = KeyResult()

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        """Record a processed key: one that is waited for, or a row of a partition that is waited for."""
        for asked in (key, key._replace(clustering=None)):
            if asked in self.open:
                for document in documents:
                    if document.alias in {self._alias, ""}:
                        self.results[asked].add(key.clustering, document)
        if key in self.open:
            self.open.remove(key)
            self._moved.set()

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Record what delays a key."""
        if key in self.open or key._replace(clustering=None) in self.open:
            self.trouble = trouble

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        """Record that a key is blocked by the requested alias, or by other aliases, which do not matter here."""
        if self._alias not in troubles:
            self.settled(key, documents)
        elif key in self.open or key._replace(clustering=None) in self.open:
            self.refusal = troubles[self._alias]
            self._moved.set()

    async def wait_moved(self) -> None:
        """Wait until a key was processed or refused since the previous call."""
        await self._moved.wait()
        self._moved.clear()
