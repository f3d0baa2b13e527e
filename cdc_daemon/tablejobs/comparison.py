"""Compares rows with their documents. It uses the reader and builder of the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from cdc_daemon.document.bookkeeping import whole_source
from cdc_daemon.model.document_operation import FailedBuild, Operation
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.ports import DocumentBuilder, ExtendingReader, MappingUpdater
from cdc_daemon.search.documents import fetch_documents
from cdc_daemon.search.engine import DocumentName, SearchEngine, StoredDocument
from cdc_daemon.search.removal_marks import is_marked
from cdc_daemon.tablejobs.findings import Mismatch, MismatchKind
from cdc_daemon.values.messages import json_bytes

NoteExpiries = Callable[[Sequence[tuple[Key, int]]], None]
"""Stores the next expiry of rows, in seconds since epoch, where none is known. It blocks."""


def ignore_expiries(_expiries: Sequence[tuple[Key, int]]) -> None:
    """Store nothing."""


class ExpectedDocument(NamedTuple):
    """The expected document of a key: the operation that would write or delete it."""

    key: Key
    operation: Operation


class ComparisonResult(NamedTuple):
    """The mismatches by key, the ids of existing documents, and the keys of rows without a possible document."""

    mismatches: Mapping[Key, Mismatch]
    existing: Sequence[str]
    unreadable: Sequence[Key]


class Comparison:
    """Compares rows of one table with their documents behind one alias, or in another `index` meant to equal it.

    A document that is marked as removed equals an absent row, if the mapping marks instead of removing.
    `changed` is true if an ingest pipeline changes the documents; then only their existence can be compared.
    `clock` decides whether a document's version proves when its row was read: not if another program, or a daemon whose
    clock was ahead, wrote it. `note_expiries` records when values of the rows expire: the changes that wrote them may
    be lost, and equal rows are not handed to the pipeline, which records it otherwise.
    """

    def __init__(
        self,
        engine: SearchEngine,
        reader: ExtendingReader,
        updater: MappingUpdater,
        builder: DocumentBuilder,
        *,
        table: TableName,
        alias: str,
        changed: bool,
        index: str | None = None,
        clock: HybridClock | None = None,
        note_expiries: NoteExpiries = ignore_expiries,
    ) -> None:
        self.engine = engine
        """The engine used for queries."""
        self._reader = reader
        self._updater = updater
        self._builder = builder
        self._table = table
        self._alias = alias
        self._index = index or alias
        self._changed = changed
        self._clock = clock or HybridClock()
        self._note_expiries = note_expiries

    async def expected_documents(
        self, keys: Sequence[Key], reading: Reading | None = None
    ) -> tuple[list[ExpectedDocument], list[Key]]:
        """Return the expected documents of rows, and the keys of rows from which no document can be built.

        With the `reading` of a scan, use that. Raises what reading raises.
        """
        if reading is None:
            reading = await self._reader.read(self._table, keys)
        else:
            reading = await self._reader.extend(self._table, reading)
        if found := _expiries(keys, reading):
            await asyncio.to_thread(self._note_expiries, found)
        await self._updater.update(self._table, keys, reading)
        return self._expected(keys, reading)

    async def compare(self, keys: Sequence[Key], reading: Reading | None = None) -> ComparisonResult:
        """Compare the keys' current rows and documents. Raises what reading and fetching raise."""
        expected, unreadable = await self.expected_documents(keys, reading)
        names = [DocumentName(self._index, each.operation.id, each.operation.routing) for each in expected]
        mark = next((each.operation.mark for each in expected if each.operation.mark is not None), None)
        source: bool | Sequence[str] = not self._changed
        if self._changed and mark is not None:
            source = [mark.field]
        documents = await fetch_documents(self.engine, names, source=source)
        mismatches = {}
        existing: list[str] = []
        for each, document in zip(expected, documents, strict=True):
            if (mismatch := self._compare(each, document)) is not None:
                mismatches[each.key] = mismatch
            if document is not None and each.operation.body is not None:
                existing.append(document.id)
        return ComparisonResult(mismatches, existing, unreadable)

    def _expected(self, keys: Sequence[Key], reading: Reading) -> tuple[list[ExpectedDocument], list[Key]]:
        build = self._builder.of(self._table, reading.columns)
        expected: list[ExpectedDocument] = []
        unreadable: list[Key] = []
        for key, state in zip(keys, reading.states, strict=True):
            if state.error is not None:
                unreadable.append(key)
                continue
            for built in build(key, state.row, reading.version, reading.began):
                if built.alias != self._alias:
                    continue
                if isinstance(built, FailedBuild):
                    unreadable.append(key)
                else:
                    expected.append(ExpectedDocument(key, built))
        return expected, unreadable

    def _compare(self, expected: ExpectedDocument, document: StoredDocument | None) -> Mismatch | None:
        operation = expected.operation
        if document is not None and operation.body is None and is_marked(document, operation.mark):
            return None
        if document is None:
            if operation.body is None:
                return None
            return Mismatch(MismatchKind.MISSING, operation.id, expected.key, expected=hash(operation.body))
        honest = self._clock.trusts(document.version)
        seen = {"version": document.version, "fresh": honest and document.version > operation.version}
        if operation.body is None:
            return Mismatch(MismatchKind.SURPLUS, operation.id, expected.key, found=_hash(document), **seen)  # type: ignore[arg-type]
        if self._changed or document.source is None:
            return None
        source = whole_source(document.source)
        if json_bytes(source) == operation.body:
            return None
        fields = tuple(sorted(_differing(orjson.loads(operation.body), source)))
        if not fields:
            return None
        return Mismatch(
            MismatchKind.DIFFERENT,
            operation.id,
            expected.key,
            fields,
            hash(operation.body),
            _hash(document),
            **seen,  # type: ignore[arg-type]
        )


def _expiries(keys: Sequence[Key], reading: Reading) -> list[tuple[Key, int]]:
    """Return the next expiry of each row that has one."""
    found = []
    for key, state in zip(keys, reading.states, strict=True):
        joined = () if state.joined_expires is None else (state.joined_expires,)
        if state.row is not None and (moments := (*state.expires, *joined)):
            found.append((key, min(moments)))
    return found


def _differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> set[str]:
    """Return the fields that differ as JSON values: true is not 1.

    A null field equals a missing field, as in every search: documents may be older than an added column.
    """
    return {name for name in wanted.keys() | found.keys() if _plain(wanted.get(name)) != _plain(found.get(name))}


def _plain(value: Any) -> bytes:
    return json_bytes(_without_nulls(value), option=orjson.OPT_SORT_KEYS)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _hash(document: StoredDocument) -> int:
    return hash(_plain(document.source))
