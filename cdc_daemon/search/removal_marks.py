"""Marks of removed rows: each document is read, and sent back with the mark, at the version of its removal.

A bulk request cannot change a part of a document at an external version: an update has no external version, and a
condition (`if_seq_no`) cannot be combined with one. So the document is read first, all of a request at once, from the
shard and not from a search. The version then decides as for any other write. If a later read was written in between,
the mark is refused. An earlier read that arrives afterwards is refused by the mark. One case remains: another daemon
writes an earlier read in the few milliseconds between the two requests. It is overwritten by the document that was read
before it, with the mark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cdc_daemon.model.document_operation import Operation, Outcome, RemovalMark, Result
from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.search.engine import DocumentName, SearchEngine, StoredDocument
from cdc_daemon.search.failure import Failure, attempting
from cdc_daemon.values.dates import timestamp_text
from cdc_daemon.values.messages import json_bytes

AT_ONCE = 100
"""Documents that are read by one request: a limit for its size."""

NO_PIPELINE = "_none"
"""The name that switches off the ingest pipeline: it has processed the document before."""

_STATUSES = {"index_not_found_exception": 404, "illegal_argument_exception": 400}
"""The statuses of failures to read one document. The answer to a multi-get does not contain them."""

_UNREAD_STATUS = 503


async def marked_operations(
    engine: SearchEngine, operations: Sequence[Operation], *, seconds: float, now: Callable[[], int]
) -> list[Operation | Failure | Result]:
    """Return each operation with the body that marks its document, as the document is now.

    A missing document has nothing to mark. Its deletion is returned, so that the index remembers the version and
    refuses earlier reads. A document that could not be read is a failure, one that cannot be marked a result. `now`
    returns the time of the mark in microseconds since epoch. Raises `EngineError`.
    """
    names = [DocumentName(each.alias, each.id, each.routing) for each in operations]
    documents = await engine.documents(names, source=True, seconds=seconds)
    return [_marked(*pair, now) for pair in zip(operations, documents, strict=True)]


async def check_marking(engine: SearchEngine, alias: str) -> None:
    """Check whether the documents behind an alias can be marked.

    Raises `ElasticsearchRefusedError` if they cannot, and `ElasticsearchUnavailableError`.
    """
    with attempting("read the mapping", alias=alias):
        behind = await engine.indices_of(alias) or {}
        mappings = await engine.mappings(alias)
    if len(behind) > 1:
        raise ElasticsearchRefusedError(
            f"expected one index behind the alias with on_row_delete: mark, found {', '.join(sorted(behind))}",
            hint="a document can be read by its id from one index only: remove the others from the alias, or use "
            "on_row_delete: remove",
            alias=alias,
        )
    for index, mapping in mappings.items():
        source = mapping.get("_source") or {}
        stored = source.get("enabled") is not False and source.get("mode") in {None, "stored"}
        if not stored or source.get("includes") or source.get("excludes"):
            raise ElasticsearchRefusedError(
                "expected an index that stores whole documents with on_row_delete: mark, found settings of _source",
                hint="create a new index without _source in its mapping, or use on_row_delete: remove",
                index=index,
            )


def is_marked(document: StoredDocument, mark: RemovalMark | None) -> bool:
    """Return whether a document, read with the field of the mark, is marked as removed."""
    return mark is not None and mark.is_set(document.source)


def unmarked_query(mark: RemovalMark | None) -> Mapping[str, Any] | None:
    """Return the query for all documents that are not marked; None finds every document."""
    return None if mark is None else {"bool": {"must_not": [{"term": {mark.field: True}}]}}


def _marked(
    operation: Operation, document: StoredDocument | Failure | None, now: Callable[[], int]
) -> Operation | Failure | Result:
    mark = operation.mark
    assert mark is not None
    if document is None:
        return replace(operation, mark=None)
    if isinstance(document, Failure):
        return replace(document, status=_STATUSES.get(document.error_type, _UNREAD_STATUS))
    if document.source is None:
        reason = "expected the source of the document, found none: the index does not store it (_source)"
        return Result(Outcome.DEAD, "source_not_stored", reason)
    source = dict(document.source)
    if not mark.is_set(source):
        source[mark.field] = True
        if mark.time_field is not None:
            source[mark.time_field] = timestamp_text(datetime.fromtimestamp(now() / 1e6, UTC))
    return replace(operation, body=json_bytes(source), pipeline=NO_PIPELINE)
