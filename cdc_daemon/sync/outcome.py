"""What became of the ids of a request."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdc_daemon.elastic.operation import Outcome
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


@dataclass(slots=True)
class KeyResult:
    """What became of the documents of one key."""

    indexed: int = 0
    deleted: int = 0
    missing: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, document: DocumentOutcome) -> None:
        """Take in one document."""
        match document.outcome:
            case Outcome.INDEXED:
                self.indexed += 1
            case Outcome.DELETED if document.existed:
                self.deleted += 1
            case Outcome.DELETED:
                self.missing += 1
            case _:
                of = f"{document.id}: " if document.id else ""
                self.failures.append(f"{of}{document.error_type}: {document.reason}")
