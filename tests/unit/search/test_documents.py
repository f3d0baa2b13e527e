"""Finding documents where something goes wrong half-way."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError
from cdc_daemon.search.documents import find_documents_with
from cdc_daemon.search.engine import SearchEngine
from tests.unit.search.fake import PRODUCT, FakeElasticsearch, refused


class Index:
    """Answers refresh, point in time and searches; what a test sets is answered instead."""

    def __init__(self, server: FakeElasticsearch, ids: list[str]) -> None:
        self.ids = ids
        self.instead: dict[str, web.Response] = {}
        self.searches: list[Any] = []
        self.closed: list[str] = []
        server.other = self.answer

    def answer(self, method: str, path: str, body: Any) -> web.Response:
        name = f"{method} {path.rsplit('/', 1)[1]}"
        if name == "DELETE _pit":
            self.closed.append(body["id"])
        if name in self.instead:
            return self.instead[name]
        if name == "POST _search":
            self.searches.append(body)
            after = body.get("search_after", [-1])[0]
            hits = [
                {"_id": key, "_version": 1, "_source": {"c": 1}, "sort": [at]}
                for at, key in enumerate(self.ids)
                if after < at <= after + body["size"]
            ]
            found = {"pit_id": f"point-{len(self.searches)}", "_shards": {"failed": 0}, "hits": {"hits": hits}}
            return web.json_response(found, headers=PRODUCT)
        return web.json_response({"id": "point-0", "_shards": {"failed": 0}}, headers=PRODUCT)


async def collect(engine: SearchEngine, page: int = 2) -> list[list[str]]:
    return [[each.id for each in found] async for found in find_documents_with(engine, "users", "_key", "k", page=page)]


@pytest.mark.parametrize(
    ("ids", "pages", "searches"),
    [("", [], 1), ("a", [["a"]], 1), ("ab", [["a", "b"]], 2), ("abc", [["a", "b"], ["c"]], 2)],
)
async def test_pages_follow_each_other_in_the_point_in_time_last_given(
    server: FakeElasticsearch, engine: SearchEngine, ids: str, pages: list[list[str]], searches: int
) -> None:
    index = Index(server, list(ids))

    assert await collect(engine) == pages
    assert [body["pit"]["id"] for body in index.searches] == [f"point-{number}" for number in range(searches)]
    assert index.closed == [f"point-{searches}"]


@pytest.mark.parametrize(
    ("step", "answer", "expected"),
    [
        ("POST _refresh", refused(404, "index_not_found_exception"), ElasticsearchRefusedError),
        ("POST _pit", refused(503, "no_shard_available_action_exception"), ElasticsearchUnavailableError),
        ("POST _search", refused(503, "search_phase_execution_exception"), ElasticsearchUnavailableError),
        ("POST _search", refused(400, "search_phase_execution_exception"), ElasticsearchRefusedError),
    ],
)
async def test_a_step_that_fails_is_an_error(
    server: FakeElasticsearch, engine: SearchEngine, step: str, answer: web.Response, expected: type[Exception]
) -> None:
    index = Index(server, ["a"])
    index.instead[step] = answer

    with pytest.raises(expected, match="users"):
        await collect(engine)
    assert index.closed == (["point-0"] if step == "POST _search" else [])


@pytest.mark.parametrize("step", ["POST _refresh", "POST _search"])
async def test_a_shard_that_did_not_answer_is_an_error(
    server: FakeElasticsearch, engine: SearchEngine, step: str
) -> None:
    index = Index(server, ["a"])
    partial = {"_shards": {"failed": 1}, "hits": {"hits": []}}
    index.instead[step] = web.json_response(partial, headers=PRODUCT)

    with pytest.raises(ElasticsearchUnavailableError, match="every shard"):
        await collect(engine)


async def test_an_iteration_broken_off_closes_its_point_in_time(
    server: FakeElasticsearch, engine: SearchEngine
) -> None:
    index = Index(server, list("abcdef"))
    pages = find_documents_with(engine, "users", "_key", "k", page=2)

    async for _ in pages:
        break
    await pages.aclose()

    assert index.closed == ["point-1"]


async def test_a_point_in_time_that_cannot_be_closed_expires_by_itself(
    server: FakeElasticsearch, engine: SearchEngine
) -> None:
    index = Index(server, ["a"])
    index.instead["DELETE _pit"] = refused(404, "resource_not_found_exception")

    assert await collect(engine) == [["a"]]
