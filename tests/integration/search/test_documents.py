"""Finding the documents of a partition in a real index."""

from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.search import BulkWriter, Operation, Outcome
from cdc_daemon.search.documents import find_documents, find_documents_with
from cdc_daemon.search.engine import StoredDocument
from cdc_daemon.search.searched_field import read_fields
from tests.integration.search.conftest import Index
from tests.servers import records_ignored_values


async def find(index: Index, value: str, **options: object) -> list[list[StoredDocument]]:
    found = find_documents_with(index.engine, index.alias, "_partition", value, **options)  # type: ignore[arg-type]
    return [page async for page in found]


async def test_every_document_is_found_over_many_pages_just_after_it_was_written(
    index: Index, writer: BulkWriter
) -> None:
    await index.client.indices.delete(index=index.name)
    await index.ensure(number_of_shards=3, refresh_interval="-1")
    ours = [index.write(f"a{number}", _partition="ours", name=f"n{number}", age=number) for number in range(53)]
    others = [index.write(f"b{number}", _partition="our", age=number) for number in range(20)]
    results = await writer.write([*ours, *others])
    assert {result.outcome for result in results} == {Outcome.INDEXED}

    pages = await find(index, "ours", source=["name"], page=10)

    assert [len(page) for page in pages] == [10, 10, 10, 10, 10, 3]
    documents = [each for page in pages for each in page]
    assert {each.id: each.source for each in documents} == {
        f"a{number}": {"name": f"n{number}"} for number in range(53)
    }
    assert [len(page) for page in await find(index, "ours", page=53)] == [53]
    assert await find(index, "nobody") == []


async def test_a_deleted_document_is_not_found(index: Index, writer: BulkWriter) -> None:
    await writer.write([index.write(key, 5, _partition="p") for key in "abc"])
    await writer.write([index.delete("b", 6)])

    ((a, c),) = await find(index, "p")

    assert (a, c) == (StoredDocument("a", None, 5, None), StoredDocument("c", None, 5, None))


async def test_pages_show_one_moment(index: Index, writer: BulkWriter) -> None:
    await writer.write([index.write(str(number), 5, _partition="p") for number in range(30)])
    seen: list[str] = []

    async for page in find_documents_with(index.engine, index.alias, "_partition", "p", page=10):
        seen.extend(each.id for each in page)
        await writer.write([index.delete(str(number), 6) for number in range(30)])
        await index.client.indices.refresh(index=index.alias)

    assert sorted(seen, key=int) == [str(number) for number in range(30)]


async def test_routing_values_come_along(index: Index, writer: BulkWriter) -> None:
    plain = index.write("a")
    await writer.write([Operation(index.alias, "a", 1, b'{"_partition":"p"}', plain.read_at, routing="r")])

    assert await find(index, "p") == [[StoredDocument("a", "r", 1, None)]]


async def test_no_point_in_time_is_left_open(index: Index, writer: BulkWriter) -> None:
    await writer.write([index.write(str(number), 5, _partition="p") for number in range(30)])
    before = await open_contexts(index)

    await find(index, "p", page=7)
    broken_off = find_documents_with(index.engine, index.alias, "_partition", "p", page=7)
    await anext(broken_off)
    await broken_off.aclose()

    assert await open_contexts(index) == before


async def open_contexts(index: Index) -> int:
    stats = await index.client.indices.stats(index=index.name, metric="search")
    count: int = stats["_all"]["total"]["search"]["open_contexts"]
    return count


async def test_an_absent_alias_is_told(index: Index) -> None:
    gone = Index(index.client, index.engine, "no-such-alias", "-")
    with pytest.raises(ElasticsearchRefusedError, match="no-such-alias"):
        await find(gone, "p")


async def test_a_closed_index_is_told(index: Index) -> None:
    await index.client.indices.close(index=index.name)
    with pytest.raises(ElasticsearchRefusedError, match="index_closed_exception"):
        await find(index, "p")


ORGS: dict[str, dict[str, Any]] = {
    "whole": {"type": "keyword", "ignore_above": 20},
    "words": {"type": "text"},
    "both": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 20}}},
    "orgs": {"type": "nested", "properties": {"id": {"type": "text", "fields": {"raw": {"type": "keyword"}}}}},
}


@pytest.mark.parametrize("field", ["whole", "words", "both", "orgs.id"])
@pytest.mark.parametrize("value", ["Org-1", "org " * 9 + "1", "---"])
async def test_every_kind_of_field_tells_its_documents(
    index: Index, writer: BulkWriter, field: str, value: str
) -> None:
    await index.client.indices.put_mapping(index=index.name, properties=ORGS)
    others = ["Org-2", "another " * 9]
    fields = {
        key: {"whole": each, "words": each, "both": each, "orgs": [{"id": "none"}, {"id": each}]}
        for key, each in zip("abc", [value, *others], strict=True)
    }
    await writer.write([index.write(key, 5, **found) for key, found in fields.items()])

    (asked,) = await read_fields(index.engine, index.alias, field)
    found = [hit.id async for page in find_documents(index.engine, index.alias, asked.query(value)) for hit in page]

    too_long = len(value) > 20 and field in {"whole", "both"}
    finds_everything = too_long and not records_ignored_values()
    assert "a" in found
    assert "b" not in found or value == "---" or finds_everything  # no word at all, or a value that nobody records
