"""What the index manager does with answers that a single healthy node does not give."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from cdc_daemon.model.errors import (
    CdcError,
    ElasticsearchRefusedError,
    ElasticsearchUnavailableError,
    IndexRefusedError,
)
from cdc_daemon.search import IndexDefinition, IndexManager
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.indices import _choose_write_index, _parse_seconds
from tests.unit.search.fake import PRODUCT, FakeElasticsearch, refused


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60s", 60), ("1m", 60), ("1500ms", 1.5), ("2h", 7200), ("1d", 86400), ("-1", 0), ("0", 0), ("5micros", 5e-6)],
)
def test_times_are_read_in_seconds(value: str, seconds: float) -> None:
    assert _parse_seconds(value, "users") == pytest.approx(seconds)


@pytest.mark.parametrize("value", [None, "", "60", "soon", "1.5s", "60 s"])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ElasticsearchRefusedError, match=r"gc_deletes"):
        _parse_seconds(value, "users")


@pytest.mark.parametrize(
    ("behind", "chosen"),
    [
        ({"a": {}}, "a"),
        ({"a": {"is_write_index": True}}, "a"),
        ({"a": {}, "b": {"is_write_index": True}}, "b"),
        ({"a": {"is_write_index": False}, "b": {"is_write_index": True}}, "b"),
        ({"a": {"is_write_index": False}}, None),
        ({"a": {}, "b": {}}, None),
    ],
)
def test_the_write_index_is_chosen_as_elasticsearch_does(behind: dict[str, dict[str, Any]], chosen: str | None) -> None:
    if chosen is not None:
        assert _choose_write_index("users", behind) == chosen
    else:
        with pytest.raises(ElasticsearchRefusedError, match="one write index"):
            _choose_write_index("users", behind)


async def test_what_passes_by_itself_is_told_from_what_does_not(
    server: FakeElasticsearch, engine: SearchEngine
) -> None:
    manager, definition = IndexManager(engine), IndexDefinition("users", "users-1")

    server.other = lambda _method, _path, _body: refused(503, "master_not_discovered_exception")
    with pytest.raises(ElasticsearchUnavailableError, match="users"):
        await manager.ensure(definition)
    server.other = lambda _method, _path, _body: refused(403, "security_exception", "unauthorized")
    with pytest.raises(ElasticsearchRefusedError, match="grant write"):
        await manager.ensure(definition)
    await server.stop()
    with pytest.raises(ElasticsearchUnavailableError):
        await manager.gc_deletes("users")


async def test_an_index_that_lost_its_alias_is_not_taken_over(server: FakeElasticsearch, engine: SearchEngine) -> None:
    def answer(method: str, path: str, body: object) -> web.Response:
        if method == "PUT":
            return refused(400, "resource_already_exists_exception")
        return web.json_response({}, status=404, headers=PRODUCT)

    server.other = answer
    with pytest.raises(ElasticsearchRefusedError, match="the alias does not lead to it"):
        await IndexManager(engine).ensure(IndexDefinition("users", "users-1"))


@pytest.mark.parametrize(
    ("status", "error_type", "raised"),
    [
        (400, "mapper_parsing_exception", IndexRefusedError),
        (400, "illegal_argument_exception", IndexRefusedError),
        (400, "invalid_index_name_exception", IndexRefusedError),
        (400, "validation_exception", ElasticsearchRefusedError),  # no room for more shards
        (403, "security_exception", ElasticsearchRefusedError),
        (403, "cluster_block_exception", ElasticsearchRefusedError),
        (429, "circuit_breaking_exception", ElasticsearchUnavailableError),
        (503, "master_not_discovered_exception", ElasticsearchUnavailableError),
        (503, "process_cluster_event_timeout_exception", ElasticsearchUnavailableError),
    ],
)
async def test_what_a_refused_creation_means(
    server: FakeElasticsearch, engine: SearchEngine, status: int, error_type: str, raised: type[CdcError]
) -> None:
    def answer(method: str, path: str, body: object) -> web.Response:
        if method == "PUT":
            return refused(status, error_type, "so it is")
        return web.json_response({}, status=404, headers=PRODUCT)

    server.other = answer
    with pytest.raises(raised, match="so it is") as caught:
        await IndexManager(engine).ensure(IndexDefinition("users", "users-1"))
    assert type(caught.value) is raised
    assert caught.value.where["index"] == "users-1"


async def test_a_field_of_the_daemons_is_not_declared_otherwise(
    server: FakeElasticsearch, engine: SearchEngine
) -> None:
    server.other = lambda _method, _path, _body: web.json_response({}, status=404, headers=PRODUCT)
    definition = IndexDefinition(
        "users",
        "users-1",
        mappings={"properties": {"cdc_key": {"type": "text"}}},
        extra_properties={"cdc_key": {"type": "keyword"}},
    )
    with pytest.raises(IndexRefusedError, match="'cdc_key' to be mapped as 'keyword', found 'text'"):
        await IndexManager(engine).ensure(definition)
