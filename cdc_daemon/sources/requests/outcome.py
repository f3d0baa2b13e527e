"""The keys of a request while they are processed, and their outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CdcError, Trouble
from cdc_daemon.model.signal import Key
from cdc_daemon.model.slices import in_slices
from cdc_daemon.sources.requests.ids import RequestedId


@dataclass(slots=True)
class SyncOutcome:
    """The processed ids of a request, by their labels, and document counts.

    `replicated` holds for each id whether all of its documents match its rows in Cassandra; if false, `failures` holds
    the reason. `indexed` counts documents that were written, `deleted` those removed, or marked as removed, because
    their rows are gone, and `missing` those that had neither a row nor a document.
    """

    replicated: dict[str, bool] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    indexed: int = 0
    deleted: int = 0
    missing: int = 0

    @property
    def failed(self) -> int:
        """The number of processed ids with documents that do not match their rows."""
        return len(self.failures)


class NotReplicatedError(CdcError):
    """Some ids of a request could not be processed in time.

    `service` is the unavailable service: `cassandra`, `elasticsearch` or `daemon`. `alias` is the alias that accepts no
    writes, if that is the reason. `outcome` covers the ids that were processed; the request drops the others.
    """

    retryable = True

    def __init__(self, message: str, *, service: str, outcome: SyncOutcome, alias: str | None = None) -> None:
        super().__init__(message, service=service, alias=alias)
        self.service = service
        self.alias = alias
        self.outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return CdcError, (self.message,)


class KeyResult:
    """The outcomes of one key's documents; for a partition, the latest outcome of each document."""

    # Most keys have a single document, and a request has many keys: a dictionary for each costs much memory.
    __slots__ = ("_first", "_others", "_row")

    def __init__(self) -> None:
        self._row: object = None
        self._first: DocumentOutcome | None = None
        self._others: dict[object, DocumentOutcome] | None = None

    def add(self, row: object, document: DocumentOutcome) -> None:
        """Add the outcome of a row's document; a row of a partition may be added more than once."""
        first = self._first
        if first is None or (row, document.alias, document.id) == (self._row, first.alias, first.id):
            self._row, self._first = row, document
            return
        if self._others is None:
            self._others = {}
        self._others[row, document.alias, document.id] = document

    @property
    def failures(self) -> list[str]:
        """The reasons why documents do not match their rows."""
        return [
            f"{document.id}: {document.error_type}: {document.reason}" if document.id else str(document.reason)
            for document in self._documents
            if document.outcome not in {Outcome.INDEXED, Outcome.DELETED, Outcome.MARKED}
        ]

    def count(self, outcome: Outcome, *, existed: bool = True) -> int:
        """Count the documents that were written, removed, or already absent."""
        return sum(each.outcome is outcome and each.existed is existed for each in self._documents)

    @property
    def _documents(self) -> Sequence[DocumentOutcome]:
        if self._first is None:
            return ()
        return (self._first,) if self._others is None else (self._first, *self._others.values())


class RequestedKeys:
    """Waits for the keys of a request, rows or whole partitions, and collects the outcomes of their documents.

    Only documents under the request's alias count. `trouble` is the cause of a delayed key, and `refusal` the
    reason why the alias accepts no writes.
    """

    def __init__(self, alias: str) -> None:
        self.closed = False
        self.results: dict[Key, KeyResult] = {}
        self.open: set[Key] = set()
        self.trouble: Trouble | None = None
        self.refusal: Trouble | None = None
        self._alias = alias
        self._progress = asyncio.Event()

    def expect(self, keys: Iterable[Key]) -> None:
        """Start to wait for further keys; they must be new."""
        for key in keys:
            self.open.add(key)
            self.results[key] = KeyResult()

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        """Record a processed key: a requested one, or a row of a requested partition."""
        for requested in (key, key._replace(clustering=None)):
            if requested in self.open:
                for document in documents:
                    if document.alias in {self._alias, ""}:
                        self.results[requested].add(key.clustering, document)
        if key in self.open:
            self.open.remove(key)
            self._progress.set()

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
            self._progress.set()

    async def wait_progress(self) -> None:
        """Wait until a key has been processed or refused since the previous call."""
        await self._progress.wait()
        self._progress.clear()


class DistinctKeys(NamedTuple):
    """The distinct keys of a request, each with its first id, and the labels of further ids with the same key."""

    first: Mapping[Key, RequestedId]
    further_labels: Mapping[Key, Sequence[str]]

    def labels(self, key: Key) -> Iterable[str]:
        """Return all labels of a key."""
        return self.first[key].label, *self.further_labels.get(key, ())


async def distinct_keys(requested: Sequence[RequestedId]) -> DistinctKeys:
    """Return the distinct keys of a request; other tasks run between slices of it."""
    first: dict[Key, RequestedId] = {}
    further_labels: dict[Key, list[str]] = {}

    def add(_start: int, part: Sequence[RequestedId]) -> None:
        for each in part:
            if first.setdefault(each.key, each) is not each:
                further_labels.setdefault(each.key, []).append(each.label)

    await in_slices(requested, add)
    return DistinctKeys(first, further_labels)


async def outcome_of(watch: RequestedKeys, keys: DistinctKeys) -> SyncOutcome:
    """Return the outcome of the keys processed so far; other tasks run between slices of them."""
    outcome = SyncOutcome()

    def gather(_start: int, results: Sequence[tuple[Key, KeyResult]]) -> None:
        for key, result in results:
            outcome.indexed += result.count(Outcome.INDEXED)
            outcome.deleted += result.count(Outcome.DELETED) + result.count(Outcome.MARKED)
            outcome.missing += result.count(Outcome.DELETED, existed=False)
            if key in watch.open:
                continue
            failures = result.failures
            for label in keys.labels(key):
                outcome.replicated[label] = not failures and outcome.replicated.get(label, True)
                if failures:
                    outcome.failures[label] = "; ".join(failures[:10])

    await in_slices(list(watch.results.items()), gather)
    return outcome
