"""Marks of removed rows on a real index: a document is kept whole, and a later read wins in every order of requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from cdc_daemon.model.document_operation import RemovalMark
from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.model.version_clock import wall_clock
from cdc_daemon.search import BulkWriter, IndexManager, Operation, Outcome
from cdc_daemon.search.engine import DocumentName, SearchEngine
from cdc_daemon.search.removal_marks import check_marking, unmarked_query
from tests.integration.search.conftest import Index

pytestmark = pytest.mark.other_engines

MARK = RemovalMark("deleted", "deleted_at")
SECOND = 1_000_000

MakeWriter = Callable[..., BulkWriter]


class Between:
    """An engine with which something happens between the read of documents and the bulk request."""

    def __init__(self, engine: SearchEngine, happens: Callable[[], Awaitable[Any]]) -> None:
        self._engine = engine
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def documents(self, names: Sequence[DocumentName], **how: Any) -> Any:
        found = await self._engine.documents(names, **how)
        await self._happens()
        return found


@pytest.fixture
async def marked(index: Index) -> Index:
    """The index, with the fields of the mark."""
    fields = {"deleted": {"type": "boolean"}, "deleted_at": {"type": "date"}}
    await IndexManager(index.engine).ensure(replace(index.definition(), extra_properties=fields))
    return index


def mark(index: Index, key: str, version: int) -> Operation:
    return Operation(index.alias, key, version, None, time.monotonic(), mark=MARK)


async def test_a_marked_document_is_kept_whole_and_its_row_may_come_back(marked: Index, writer: BulkWriter) -> None:
    now = wall_clock() - 60 * SECOND
    await writer.write([marked.write("a", now, name="Asha", age=7), marked.write("b", now, name="Binod")])

    results = await writer.write([mark(marked, "a", now + 1), mark(marked, "missing", now + 1)])

    assert [result.outcome for result in results] == [Outcome.MARKED, Outcome.DELETED]
    version, source = cast("tuple[int, dict[str, Any]]", await marked.get("a"))
    at = source.pop("deleted_at")
    assert (version, source) == (now + 1, {"name": "Asha", "age": 7, "deleted": True})
    assert at.endswith("Z")
    assert await marked.get("missing") is None
    await writer.write([mark(marked, "a", now + 2)])
    assert await marked.get("a") == (now + 2, {**source, "deleted_at": at})
    await marked.client.indices.refresh(index=marked.alias)
    hits = await marked.client.search(index=marked.alias, query=unmarked_query(MARK))
    assert [hit["_id"] for hit in hits["hits"]["hits"]] == ["b"]
    await writer.write([marked.write("a", now + 3, name="back")])
    assert await marked.get("a") == (now + 3, {"name": "back"})


@pytest.mark.parametrize("existed", [True, False])
async def test_an_earlier_read_that_arrives_after_the_mark_is_refused(
    marked: Index, writer: BulkWriter, existed: bool
) -> None:
    now = wall_clock()
    if existed:
        await writer.write([marked.write("a", now - 20 * SECOND, name="first")])
    await writer.write([mark(marked, "a", now)])

    (late,) = await writer.write([marked.write("a", now - 10 * SECOND, name="late")])

    assert (late.outcome, late.seen_version) == (Outcome.SUPERSEDED, now)
    found = await marked.get("a")
    assert (found is not None and found[1]["name"]) == ("first" if existed else False)


@pytest.mark.parametrize("existed", [True, False])
async def test_a_later_read_that_is_written_between_the_two_requests_wins(
    marked: Index, make_writer: MakeWriter, writer: BulkWriter, existed: bool
) -> None:
    now = wall_clock()
    if existed:
        await writer.write([marked.write("a", now - 20 * SECOND, name="first")])

    async def come_back() -> None:
        await writer.write([marked.write("a", now, name="later")])

    between = make_writer(cast("SearchEngine", Between(marked.engine, come_back)))
    (result,) = await between.write([mark(marked, "a", now - 10 * SECOND)])

    assert (result.outcome, result.seen_version) == (Outcome.SUPERSEDED, now)
    assert await marked.get("a") == (now, {"name": "later"})


async def test_the_pipeline_of_the_index_does_not_process_a_marked_document_again(
    marked: Index, writer: BulkWriter
) -> None:
    await writer.write([marked.write("a", 10, name="Asha")])
    # A pipeline that does not exist fails every write that would use it.
    await marked.client.indices.put_settings(index=marked.name, settings={"index.default_pipeline": "not-there"})

    (result,) = await writer.write([mark(marked, "a", 11)])

    assert result.outcome is Outcome.MARKED
    found = await marked.get("a")
    assert found is not None
    assert found[1]["deleted"] is True


async def test_an_index_without_sources_and_an_alias_of_two_indices_are_refused(
    marked: Index, index_prefix: str
) -> None:
    await check_marking(marked.engine, marked.alias)
    bare = f"{index_prefix}bare"
    await marked.client.indices.create(
        index=bare, mappings={"_source": {"enabled": False}}, aliases={f"{bare}-alias": {}}
    )
    with pytest.raises(ElasticsearchRefusedError, match="stores whole documents"):
        await check_marking(marked.engine, f"{bare}-alias")
    await marked.client.indices.put_alias(index=bare, name=marked.alias, is_write_index=False)
    with pytest.raises(ElasticsearchRefusedError, match="one index behind the alias"):
        await check_marking(marked.engine, marked.alias)
