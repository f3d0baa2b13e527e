"""The parts that run meet answers of another shape: at the start they wait, while they run they go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
from aiohttp import web

from cdc_daemon.app.parts.index_preparation import Preparation
from cdc_daemon.cli.checks.elasticsearch import check_elasticsearch
from cdc_daemon.config import ElasticsearchSettings, MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.partition_expansion import PartitionDocuments
from cdc_daemon.search import Outcome
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_watch import SwapWatch
from cdc_daemon.search.swap_writer import SwapWriter
from cdc_daemon.sources.unlogged_removals.sweep import DocumentedRows, MappedAlias
from tests.segments import USERS
from tests.unit.search.conftest import Bench
from tests.unit.search.fake import ACKNOWLEDGED, PRODUCT, REFRESHED, SHAPES, FakeElasticsearch

TABLE = TableName("shop", "users")
SETTINGS = MappingSettings(table=TABLE, alias="users", index="users-1")
MAPPING = {"dynamic": "strict", "properties": {"id": {"type": "keyword"}, "v": {"type": "keyword"}}}
SECURE = {"create_index": True, "write": True}


class Cluster:
    """A healthy cluster with one index, in which a number of answers are replaced by others."""

    def __init__(self, server: FakeElasticsearch) -> None:
        self.bad: dict[str, list[Any]] = {}
        self.asked: set[str] = set()
        self.good: dict[str, Any] = {
            "GET /": {"version": {"number": "8.19.4"}},
            "GET /_alias/users": {"users-1": {"aliases": {"users": {}}}},
            "GET /users,*/_alias": {"users-1": {"aliases": {"users": {}}}},
            "GET /*/_mapping": {"users-1": {"mappings": MAPPING}},
            "PUT /*/_mapping": ACKNOWLEDGED,
            "GET /*/_settings*": {"users-1": {"settings": {"index.gc_deletes": "60s"}}},
            "GET /_nodes/_local/stats/jvm": {"nodes": {"n": {"timestamp": 1_700_000_000_000}}},
            "GET /_nodes/http": {"nodes": {"n": {"version": "8.19.4"}}},
            "POST /_security/user/_has_privileges": {"index": {"users": SECURE, "users-1": SECURE}},
            "POST /*/_refresh": REFRESHED,
        }
        server.other = self.answer

    def answer(self, method: str, path: str, _body: Any) -> web.Response:
        route = next(route for route in self.good if fnmatchcase(f"{method} {path}", route))
        self.asked.add(route)
        bad = self.bad.get(route)
        return web.json_response(bad.pop() if bad else self.good[route], headers=PRODUCT)


@pytest.fixture
def cluster(server: FakeElasticsearch) -> Cluster:
    return Cluster(server)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next", lambda *_: 0.0)


async def test_the_start_waits_while_answers_have_another_shape(engine: SearchEngine, cluster: Cluster) -> None:
    cluster.bad = {route: list(SHAPES) for route in cluster.good}
    waited: list[str] = []
    mapping = DocumentMapping("users", SETTINGS, USERS)

    preparation = Preparation(engine, {"users": SETTINGS}, {TABLE: [mapping]})
    await preparation.at_start(report_wait=lambda _what, error: waited.append(error or ""))

    assert preparation.remembered == 60
    for route in ("GET /_alias/users", "GET /*/_mapping", "GET /*/_settings*"):
        assert cluster.bad[route] == [], f"{route} was asked until its answer was good"
    assert any("unexpected shape" in error for error in waited)


async def test_a_check_of_answers_of_another_shape_has_findings(server: FakeElasticsearch, cluster: Cluster) -> None:
    options = ElasticsearchSettings(hosts=(server.url,), username="u", password="p")  # type: ignore[arg-type]
    assert not [each for each in await check_elasticsearch(options, {"users": SETTINGS}) if each.status == "fail"]
    for route in cluster.asked:
        for shape in SHAPES:
            cluster.bad = {route: [shape]}
            findings = await check_elasticsearch(options, {"users": SETTINGS})
            failed = [each for each in findings if each.status == "fail"]
            told = ("unexpected shape", "does not contain", "no search engine")
            assert any(text in each.found for each in failed for text in told), route


async def test_the_look_at_the_aliases_and_writes_go_on(bench: Bench, cluster: Cluster) -> None:
    watch = SwapWatch(bench.engine, ["users"], clock=bench.monotonic)
    changes = SwapSteps(bench.engine, watch, seconds=0)
    writer = SwapWriter(
        bench.writer(), bench.writer, watch, stop_writes=changes.stop_writes, mark_behind=changes.mark_behind
    )
    for shape in SHAPES:
        cluster.bad = {"GET /users,*/_alias": [shape]}
        bench.monotonic_offset += 10  # what was seen is too old to be relied on
        [result] = await writer.write([bench.index("a")])
        assert (result.outcome, result.error_type) == (Outcome.REREAD, "aliases_unknown")
        await writer.wait_available()
        [result] = await writer.write([bench.index("a")])
        assert result.outcome is Outcome.INDEXED

    seen = asyncio.Event()
    watch.changed = lambda _pairs: seen.set()
    cluster.bad = {"GET /users,*/_alias": list(SHAPES)}
    running = asyncio.create_task(watch.run(interval=0.001))
    async with asyncio.timeout(10):
        await seen.wait()
    assert not running.done()
    assert cluster.bad["GET /users,*/_alias"] == []
    running.cancel()


def _sources() -> Iterator[dict[str, Any]]:
    wrongs: list[Any] = ["not hexadecimal", 7, None, {}, [], ["zz"], [7], [[]]]
    for wrong in wrongs:
        yield {"cdc_clustering": wrong, "cdc_partition_key": "61"}
        yield {"cdc_clustering": ["62"], "cdc_partition_key": wrong}
    yield {}


async def test_a_document_whose_own_fields_are_wrong_hides_no_other(
    server: FakeElasticsearch, engine: SearchEngine
) -> None:
    sources = [*_sources(), {"cdc_clustering": ["62", None], "cdc_partition_key": "61"}]
    hits = [{"_id": str(at), "_version": 1, "_source": each, "sort": [at]} for at, each in enumerate(sources)]
    page = {"_shards": {"failed": 0}, "hits": {"hits": hits}, "id": "point"}
    server.other = lambda _method, _path, _body: web.json_response(page, headers=PRODUCT)

    found = [each async for pages in PartitionDocuments(engine, {TABLE: ["users"]}).find(TABLE, b"a") for each in pages]
    assert (b"b", None) in found

    rows = DocumentedRows(engine, {TABLE: [MappedAlias("users", lambda _id: None)]})
    keys = [key async for pages in rows.find(TABLE) for key in pages]
    assert (keys[-1].partition_key, keys[-1].clustering) == (b"a", (b"b", None))
    assert {key.partition_key for key in keys} == {b"a"}
