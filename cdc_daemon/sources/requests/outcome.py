"""The outcome of a request's ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc_daemon.model.document_operation import Outcome
from cdc_daemon.pipeline.watch import DocumentOutcome


@dataclass(slots=True)
class SyncOutcome:
    """The processed ids, by their labels in the request, and document counts.

    `settled` holds for each id whether all of its documents match its rows in Cassandra; if false, `failures` holds
    the reason. `indexed` counts documents that were written, `deleted` those removed because their rows are gone, and
    `missing` those that had neither a row nor a document.
    """

    settled: dict[str, bool] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    indexed: int = 0
    deleted: int = 0
    missing: int = 0

    @property
    def failed(self) -> int:
        """The number of processed ids with documents that do not match their rows."""
        return len(self.failures)


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
        """Return why documents do not match their rows."""
        return [
            f"{document.id}: {document.error_type}: {document.reason}" if document.id else str(document.reason)
            for document in self._documents
            if document.outcome not in {Outcome.INDEXED, Outcome.DELETED}
        ]

    def count(self, outcome: Outcome, *, existed: bool = True) -> int:
        """Count the documents that were written, removed, or already absent."""
        return sum(each.outcome is outcome and each.existed is existed for each in self._documents)

    @property
    def _documents(self) -> Sequence[DocumentOutcome]:
        if self._first is None:
            return ()
        return (self._first,) if self._others is None else (self._first, *self._others.values())
