"""A document to write or to delete, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from cdc_daemon.model.errors import DocumentError
from cdc_daemon.model.reading import Row
from cdc_daemon.model.signal import Key


class RemovalMark(NamedTuple):
    """The fields that mark a document whose row is gone: `field` is true, `time_field` (if any) holds the time."""

    field: str
    time_field: str | None = None

    def is_set(self, source: Mapping[str, Any] | None) -> bool:
        """Return whether a document with this source is marked."""
        return source is not None and source.get(self.field) is True


@dataclass(frozen=True, slots=True)
class Operation:
    """One document to write or to delete: the builder makes it, the bulk writer sends it.

    `alias` is the alias written to, `id` the document's `_id`. `version` is the time the row's read
    began, in microseconds since epoch (docs/guarantees.md, promise 3). `body` is the document's source as
    JSON on one line; None deletes the document. `read_at` is `time.monotonic()` when that read began, in
    seconds: it determines when the body is too old to be sent. `routing` is the shard routing value,
    if the index needs one; `pipeline` is the ingest pipeline for the document. `filtered` means that the document
    is deleted because its mapping does not show such rows. With `mark` and no body, the document is not deleted but
    marked, if it exists. `flattened` names the fields that hold maps, which an index may not accept as they are.
    """

    alias: str
    id: str
    version: int
    body: bytes | None
    read_at: float
    routing: str | None = None
    pipeline: str | None = None
    filtered: bool = False
    mark: RemovalMark | None = None
    flattened: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailedBuild:
    """A document that cannot be built, and why.

    `id` is empty if it is not known. `source` is the input of the document as JSON, if there is a row.
    """

    alias: str
    id: str
    error: DocumentError
    source: bytes | None = None


RowBuilder = Callable[[Key, Row | None, int, float], Sequence[Operation | FailedBuild]]
"""Builds one operation for each mapping of a key's table, or the reason why there is none.

The arguments are the key, its row (None deletes the documents), and the operations' `version` and `read_at`.
"""


class Outcome(Enum):
    """The outcome of an operation."""

    INDEXED = "indexed"
    """The document was written."""

    DELETED = "deleted"
    """The document was deleted, or did not exist and its deletion is remembered."""

    MARKED = "marked"
    """The row is gone: the document was kept, and is marked as removed."""

    FILTERED = "filtered"
    """The mapping does not show the row: its document was deleted, or did not exist."""

    SUPERSEDED = "superseded"
    """A document from a later read is already in the index."""

    REREAD = "reread"
    """Nothing was written: the row has to be read again and written with a newer version."""

    DEAD = "dead"
    """Elasticsearch rejects this document; a retry without a change is useless."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one operation, and the reason.

    `error_type` and `reason` come from Elasticsearch, or from this package if nothing was sent.
    `seen_version` is the version that a conflict found in the index, in microseconds since epoch if a
    daemon wrote it. `status` is the HTTP status of the item or of the request; 0 if there was no answer.
    `unanswered` is True if the operation was sent and it is unknown whether Elasticsearch has applied it: Elasticsearch
    may still apply it later.
    """

    outcome: Outcome
    error_type: str | None = None
    reason: str | None = None
    seen_version: int | None = None
    status: int = 200
    unanswered: bool = False


class DocumentOutcome(NamedTuple):
    """The outcome of one document of a key. `alias` and `id` are empty if it could not be built.

    `existed` is false for a deletion that found nothing to delete.
    """

    alias: str
    id: str
    outcome: Outcome
    error_type: str | None = None
    reason: str | None = None
    existed: bool = True
