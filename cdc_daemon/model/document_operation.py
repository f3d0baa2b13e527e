"""What is to be written to Elasticsearch, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from cdc_daemon.model.errors import DocumentError
from cdc_daemon.model.key import Key
from cdc_daemon.model.reading import Row


@dataclass(frozen=True, slots=True)
class Operation:
    """One document to write or to delete.

    `index` is the alias written to, `id` the document's `_id`. `version` is the moment the row's read
    began, in microseconds since epoch (see architecture, promise 3). `body` is the document's source as
    JSON on one line; None deletes the document. `built` is `time.monotonic()` when that read began, in
    seconds: from it follows when the body is too old to be sent. `routing` is the shard routing value,
    if the index asks for one; `pipeline` the ingest pipeline that the document goes through.
    """

    index: str
    id: str
    version: int
    body: bytes | None
    built: float
    routing: str | None = None
    pipeline: str | None = None


class Outcome(Enum):
    """What became of an operation."""

    INDEXED = "indexed"
    """The document was written."""

    DELETED = "deleted"
    """The document was deleted, or was not there and its deletion is remembered."""

    FILTERED = "filtered"
    """The mapping does not show the row: its document was deleted, or was not there."""

    SUPERSEDED = "superseded"
    """A fresher read's document is already there."""

    REREAD = "reread"
    """Nothing is settled: the row has to be read again and written with a newer version."""

    DEAD = "dead"
    """Elasticsearch cannot take this document; trying again without a change is useless."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one operation, and why.

    `error_type` and `reason` are Elasticsearch's own, or this package's where nothing was sent.
    `seen_version` is the version that a conflict found in the index, in microseconds since epoch if one
    of us wrote it. `status` is the HTTP status of the item or of the request; 0 when there was no answer.
    `unanswered` is True if the operation was sent and nobody knows whether Elasticsearch has applied it: it may
    still do so later.
    """

    outcome: Outcome
    error_type: str | None = None
    reason: str | None = None
    seen_version: int | None = None
    status: int = 200
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A document to be written, or removed when `body` is None.

    `filtered` says that it is removed because its mapping does not show such rows. `pipeline` is the ingest
    pipeline it goes through. With `error` there is nothing to be written: the document cannot be built; `source` is
    then what it would be made of, as JSON, where there is a row.
    """

    alias: str
    id: str
    body: bytes | None
    routing: str | None = None
    pipeline: str | None = None
    filtered: bool = False
    error: DocumentError | None = None
    source: bytes | None = None


RowBuilder = Callable[[Key, Row | None], Sequence[Write]]
"""Builds one write for each mapping of a key's table; no row means removal."""
