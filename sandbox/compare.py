"""Are Cassandra and Elasticsearch equal? Every row against its document, and every document against a row.

    for comparison in await compare(load(Path("config.yaml"))):
        assert comparison.is_equal, comparison

Rows become documents by the daemon's own mapping, so what is compared is the flow, not the mapping. Both sides
are streamed: memory does not grow with the table; the ids seen go to a temporary file. Nothing is written to
either server. While the daemon is at work a comparison may find changes that are on their way.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import tuple_factory

from cdc_daemon.app.parts.tables import make_mappings
from cdc_daemon.app.startup import connect_elasticsearch
from cdc_daemon.cassandra.joined import JoinedRowReader
from cdc_daemon.cassandra.query import pages, prepare
from cdc_daemon.cassandra.read_plan import ReadPlan, quote, serialisers
from cdc_daemon.cassandra.reader import CassandraRowReader
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping, RowKey
from cdc_daemon.model.errors import DocumentError
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.routing import related_of
from cdc_daemon.search.documents import find_documents
from cdc_daemon.search.engine import DocumentName, SearchEngine
from cdc_daemon.search.failure import Failure, attempting

EXAMPLES = 5
"""The most ids shown for each kind of difference."""

PAGE_ROWS = 500
"""Rows of one page from Cassandra, and documents of the `_mget` that answers it."""

PAGE_IDS = 5000
"""Ids of one page of all documents."""

_LONGEST_VALUE = 80


@dataclass(slots=True)
class Differences:
    """How many differences of one kind there are, and the first few of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass(slots=True)
class Comparison:
    """What was found for one mapping.

    `missing` are rows without a document, `extra` documents without a row, `different` rows whose document
    says something else.
    """

    mapping: str
    rows: int = 0
    documents: int = 0
    missing: Differences = field(default_factory=Differences)
    extra: Differences = field(default_factory=Differences)
    different: Differences = field(default_factory=Differences)

    @property
    def is_equal(self) -> bool:
        """Whether there is no difference at all."""
        return not (self.missing.count or self.extra.count or self.different.count)

    def __str__(self) -> str:
        found = f"{self.rows:,} rows, {self.documents:,} documents"
        if self.is_equal:
            return f"{self.mapping}: EQUAL, {found}"
        lines = [f"{self.mapping}: NOT EQUAL, {found}"]
        for name, differences in (("missing", self.missing), ("extra", self.extra), ("different", self.different)):
            if differences.count:
                lines.append(f"  {name}: {differences.count:,}")
                lines += [f"    {example}" for example in differences.examples]
                lines += ["    ..."] if differences.count > len(differences.examples) else []
        return "\n".join(lines)


async def compare(settings: Settings) -> list[Comparison]:
    """Compare everything that a daemon with these settings keeps equal, mapping by mapping.

    Raises `CdcError` when a server does not answer, or refuses.
    """
    async with AsyncExitStack() as stack:
        session = await asyncio.to_thread(connect, settings.cassandra)
        stack.push_async_callback(asyncio.to_thread, session.cluster.shutdown)
        engine = connect_elasticsearch(settings.elasticsearch)
        stack.push_async_callback(engine.close)
        schema = SchemaSource(session)
        mappings = await make_mappings(settings, schema)
        reader = JoinedRowReader(CassandraRowReader(session, schema, HybridClock()), schema, related_of(mappings))
        return [
            await compare_mapping(session, engine, mapping, reader)
            for several in mappings.values()
            for mapping in several
        ]


async def compare_mapping(
    session: Session, engine: SearchEngine, mapping: DocumentMapping, reader: JoinedRowReader | None = None
) -> Comparison:
    """Compare one table, and what is joined to it by `reader`, with the index it feeds. Raises as `compare` does."""
    comparison = Comparison(mapping.name)
    with closing(_Ids()) as ids:
        async for page in _projected(session, mapping, comparison, reader):
            comparison.rows += len(page)
            ids.add(document.id for document in page)
            await _compare_page(engine, mapping.alias, page, comparison)
        async with aclosing(find_documents(engine, mapping.alias, page=PAGE_IDS)) as walk:
            async for found in walk:
                comparison.documents += len(found)
                for extra in ids.without(document.id for document in found):
                    comparison.extra.add(extra)
    return comparison


class _Document(NamedTuple):
    id: str
    body: bytes
    routing: str | None


async def _projected(
    session: Session, mapping: DocumentMapping, comparison: Comparison, reader: JoinedRowReader | None = None
) -> AsyncIterator[list[_Document]]:
    """Read the whole table page by page, each row as the document that it should be."""
    table = mapping.table
    columns = ReadPlan(table, newest_of_collections=False).columns
    names = ", ".join(map(quote, columns))
    prepared = await prepare(session, f"SELECT {names} FROM {quote(table.keyspace)}.{quote(table.name)}")  # noqa: S608
    statement = prepared.bind(())
    statement.fetch_size = PAGE_ROWS
    profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
    key_of = _key_reader(table, serialisers(prepared))
    document_of = mapping.compile(columns)
    name = TableName(table.keyspace, table.name)
    width = len(table.partition_key) + len(table.clustering)
    first_clustering = len(table.partition_key) if table.clustering else 0
    async for rows in pages(session, statement, execution_profile=profile):
        documents = []
        # A partition that has nothing but static columns shows a row of nulls.
        shown: Sequence[Sequence[Any]] = [row for row in rows if row[first_clustering] is not None]
        if reader is not None:
            names_joined, shown = await reader.joined(name, columns, shown)
            document_of = mapping.compile(names_joined)
        for row in shown:
            key = key_of(row)
            try:
                made = document_of(row, key, 0, 0.0)
            except DocumentError as error:
                comparison.rows += 1
                comparison.missing.add(f"{row[:width]!r}: cannot be a document: {error.message}")
            else:
                if made.body is not None:
                    documents.append(_Document(made.id, made.body, made.routing))
        yield documents


def _key_reader(table: TableMetadata, serialise: Sequence[Callable[[Any], bytes]]) -> Callable[[Any], RowKey]:
    """Return what gives a row's serialised key, as the commit log has it."""
    depth = len(table.partition_key)
    width = depth + len(table.clustering)

    def read(row: Sequence[Any]) -> RowKey:
        parts = [serialise[at](row[at]) for at in range(width)]
        return (parts[0] if depth == 1 else join_key(parts[:depth])), parts[depth:]

    return read


def join_key(parts: Sequence[bytes]) -> bytes:
    """Return the partition key of several components (`CompositeType`: length, bytes, zero)."""
    return b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in parts)


async def _compare_page(engine: SearchEngine, alias: str, page: Sequence[_Document], comparison: Comparison) -> None:
    if not page:
        return
    with attempting("get documents", alias=alias):
        stored = await engine.documents([DocumentName(alias, each.id, each.routing) for each in page], source=True)
    for document, found in zip(page, stored, strict=True):
        if found is None:
            comparison.missing.add(document.id)
        elif isinstance(found, Failure):
            comparison.missing.add(f"{document.id}: {found.reason}")
        elif told := differing(orjson.loads(document.body), found.source or {}):
            comparison.different.add(f"{document.id}: {told}")


def differing(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> str:
    """Return the fields in which two documents differ, none where they are equal as JSON.

    Unlike in Python, `true` is not 1 and 1 is not 1.0.
    """
    names = sorted({*expected, *actual})
    return ", ".join(
        f"{name}: {_short(expected, name)} in Cassandra, {_short(actual, name)} in Elasticsearch"
        for name in names
        if (name in expected) != (name in actual) or _canonical(expected[name]) != _canonical(actual[name])
    )


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _short(document: Mapping[str, Any], name: str) -> str:
    if name not in document:
        return "absent"
    text = _canonical(document[name]).decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


class _Ids:
    """A set of ids of any size, in a temporary file (SQLite's unnamed database) instead of in memory."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.execute("BEGIN")

    def add(self, ids: Iterable[str]) -> None:
        self._connection.executemany("INSERT OR IGNORE INTO ids VALUES (?)", ((each,) for each in ids))

    def without(self, ids: Iterable[str]) -> Iterator[str]:
        """Return those of `ids` that are not in the set."""
        find = "SELECT 1 FROM ids WHERE id = ?"
        return (each for each in ids if self._connection.execute(find, (each,)).fetchone() is None)

    def close(self) -> None:
        self._connection.close()
