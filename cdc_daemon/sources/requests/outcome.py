"""What became of the ids of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc_daemon.model.document_operation import Outcome
from cdc_daemon.pipeline.watch import DocumentOutcome


@dataclass(slots=True)
class SyncOutcome:
    """The ids that are settled, by what they are called in the request, and how many documents that took.

    `settled` tells of each id whether all of its documents are in Elasticsearch as its rows are in Cassandra;
    where it is false, `failures` tells why. `indexed` documents were written, `deleted` ones removed because
    their rows are gone; `missing` had neither a row nor a document.
    """

    settled: dict[str, bool] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    indexed: int = 0
    deleted: int = 0
    missing: int = 0

    @property
    def failed(self) -> int:
        """How many ids are settled without being shown as they are."""
        return len(self.failures)


class KeyResult:
    """What became of the documents of one key: of a partition's, each as it was settled last."""

    # Most keys have a single document, and a request has many keys: a dictionary for each is much to keep.
    __slots__ = ("_first", "_others", "_row")

    def __init__(self) -> None:
        self._row: object = None
        self._first: DocumentOutcome | None = None
        self._others: dict[object, DocumentOutcome] | None = None

    def add(self, row: object, document: DocumentOutcome) -> None:
        """Take in one document of a row; a row of a partition may come more than once."""
        first = self._first
        if first is None or (row, document.alias, document.id) == (self._row, first.alias, first.id):
            self._row, self._first = row, document
            return
        if self._others is None:
            self._others = {}
        self._others[row, document.alias, document.id] = document

    @property
    def failures(self) -> list[str]:
        """Why documents are not shown as their rows are."""
        return [
            f"{document.id}: {document.error_type}: {document.reason}" if document.id else str(document.reason)
            for document in self._documents
            if document.outcome not in {Outcome.INDEXED, Outcome.DELETED}
        ]

    def count(self, outcome: Outcome, *, existed: bool = True) -> int:
        """Tell how many documents were written, removed, or not there to be removed."""
        return sum(each.outcome is outcome and each.existed is existed for each in self._documents)

    @property
    def _documents(self) -> Sequence[DocumentOutcome]:
        if self._first is None:
            return ()
        return (self._first,) if self._others is None else (self._first, *self._others.values())
