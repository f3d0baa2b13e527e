"""Build documents as they would be written now, and fetch those in the index. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import orjson

from cdc_daemon.app.parts.tables import make_mapping
from cdc_daemon.app.startup import connect_elasticsearch
from cdc_daemon.cassandra.joined import JoinedRowReader
from cdc_daemon.cassandra.reader import CassandraRowReader
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import Settings
from cdc_daemon.document.bookkeeping import whole_source
from cdc_daemon.document.documents import MappedDocuments
from cdc_daemon.model.document_operation import FailedBuild, Operation, RemovalMark
from cdc_daemon.model.errors import DocumentError
from cdc_daemon.model.signal import Key
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.routing import related_of
from cdc_daemon.search.documents import fetch_source
from cdc_daemon.search.engine import DocumentName, SearchEngine
from cdc_daemon.sources.requests.errors import UnknownObjectTypeError
from cdc_daemon.sources.requests.ids import IdParser
from cdc_daemon.values.messages import json_bytes

CHUNK = 100
"""The number of rows that are read together."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The expected and the indexed version of a document.

    `expected` is the source that the daemon would send, or None if there would be no document. `indexed` is the source
    in the index, or None. If an ingest pipeline changes fields, these differ. If the document cannot be built, `error`
    is set, and `source` is the JSON of its row. `has_row` is whether Cassandra has the row; if it has and `expected` is
    None, the mapping excludes the row. `mark` is set if the document of a removed row is kept and marked.
    """

    id: str
    alias: str
    expected: bytes | None
    indexed: dict[str, Any] | None
    error: DocumentError | None = None
    source: bytes | None = None
    has_row: bool = True
    mark: RemovalMark | None = None

    @property
    def is_marked(self) -> bool:
        """Whether the row is gone and the document in the index is marked as removed, as the mapping demands."""
        return self.expected is None and self.mark is not None and self.mark.is_set(self.indexed)

    @property
    def document(self) -> dict[str, Any] | None:
        """The expected document."""
        found: dict[str, Any] | None = None if self.expected is None else orjson.loads(self.expected)
        return found

    @property
    def differing(self) -> list[str]:
        """The fields in which the two versions differ, as JSON values: true differs from 1, and 1 from 1.0."""
        if self.is_marked:
            return []
        expected, indexed = self.document or {}, self.indexed or {}
        return sorted(
            field
            for field in {*expected, *indexed}
            if (field in expected) != (field in indexed) or _plain(expected[field]) != _plain(indexed[field])
        )

    @property
    def is_equal(self) -> bool:
        """Whether the index has the expected document, or neither exists, or the document is marked as it should be."""
        present = self.is_marked or (self.expected is None) == (self.indexed is None)
        return self.error is None and present and not self.differing


async def preview(settings: Settings, object_type: str, ids: Sequence[Any]) -> list[Preview]:
    """Build the documents of ids as the daemon would, and fetch those in the index.

    The id of a partition selects all of its rows; if it has none, the result contains the id itself. Raises `CdcError`:
    `UnknownObjectTypeError`, `InvalidIdError`, `CassandraRefusedError` if a table of the mapping does not exist,
    `ConfigError` if the mapping does not fit the table, and other errors if a server does not answer.
    """
    declared = settings.mappings.get(object_type)
    if declared is None:
        raise UnknownObjectTypeError(object_type, sorted(settings.mappings))
    async with AsyncExitStack() as stack:
        session = await asyncio.to_thread(connect, settings.cassandra)
        stack.push_async_callback(asyncio.to_thread, session.cluster.shutdown)
        engine = connect_elasticsearch(settings.elasticsearch)
        stack.push_async_callback(engine.close)
        schema = SchemaSource(session)
        await schema.refresh()
        # Unlike the daemon this does not wait for missing tables, and it ignores the other mappings.
        mapping = make_mapping(object_type, declared, schema)
        only = {declared.table: [mapping]}
        reader = JoinedRowReader(CassandraRowReader(session, schema, HybridClock()), schema, related_of(only))
        documents = MappedDocuments(only)
        keys: list[Key] = []
        empty: list[tuple[int, Preview]] = []
        for asked in IdParser(declared, mapping.table).parse(ids):
            if asked.key.clustering is not None:
                keys.append(asked.key)
                continue
            before = len(keys)
            async for page in reader.clusterings(declared.table, asked.key.partition_key):
                keys += [asked.key._replace(clustering=each) for each in page]
            if len(keys) == before:
                empty.append((before, Preview(asked.label, declared.alias, None, None, has_row=False)))
        found: list[Preview] = []
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            reading = await reader.read(declared.table, chunk)
            build = documents.of(declared.table, reading.columns)
            for key, state in zip(chunk, reading.states, strict=True):
                has_row = state.row is not None or state.error is not None
                error = state.error if isinstance(state.error, DocumentError) else None
                made = build(key, state.row, reading.version, reading.began)
                found += [await _beside(engine, built, error, has_row=has_row) for built in made]
        for at, each in reversed(empty):  # each row has one document, as there is one mapping
            found.insert(at, each)
        return found


async def _beside(
    engine: SearchEngine, built: Operation | FailedBuild, error: DocumentError | None = None, *, has_row: bool
) -> Preview:
    """Return the built document with the one in the index. `error` is set if the row cannot be read."""
    body = source = routing = mark = None
    if isinstance(built, FailedBuild):
        error, source = built.error, built.source
    else:
        body, routing, mark = built.body, built.routing, built.mark
    if error is not None and not built.id:
        return Preview(built.id, built.alias, None, None, error, source, has_row)
    found = await fetch_source(engine, DocumentName(built.alias, built.id, routing))
    indexed = None if found is None else dict(whole_source(found))
    return Preview(built.id, built.alias, body, indexed, error, source, has_row, mark)


def _plain(value: Any) -> bytes:
    return json_bytes(value, option=orjson.OPT_SORT_KEYS)
