"""Waiting for keys: what became of those that are settled, and what holds the others up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from cdc_daemon.model.key import Key
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.watch import DocumentOutcome
from cdc_daemon.sources.requests.outcome import KeyResult


class KeyWatch:
    """Waits for keys, rows or whole partitions, and gathers what becomes of their documents under one alias."""

    def __init__(self, alias: str) -> None:
        self.closed = False
        self.results: dict[Key, KeyResult] = {}
        self.open: set[Key] = set()
        self.trouble: Trouble | None = None
        self.refusal: Trouble | None = None
        self._alias = alias
        self._moved = asyncio.Event()

    def expect(self, keys: Iterable[Key]) -> None:
        """Wait for these as well; they must be new."""
        for key in keys:
            self.open.add(key)
            self.results[key] = KeyResult()

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        """Take note of a key that is settled: one of those waited for, or a row of a partition waited for."""
        for asked in (key, key._replace(clustering=None)):
            if asked in self.open:
                for document in documents:
                    if document.alias in {self._alias, ""}:
                        self.results[asked].add(key.clustering, document)
        if key in self.open:
            self.open.remove(key)
            self._moved.set()

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Take note of what holds a key up."""
        if key in self.open or key._replace(clustering=None) in self.open:
            self.trouble = trouble

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        """Note that a key waits for other aliases, whose documents are not asked for here, or for the one asked for."""
        if self._alias not in troubles:
            self.settled(key, documents)
        elif key in self.open or key._replace(clustering=None) in self.open:
            self.refusal = troubles[self._alias]
            self._moved.set()

    async def wait_moved(self) -> None:
        """Wait until a key was settled, or refused, since the last time."""
        await self._moved.wait()
        self._moved.clear()
