"""An answer with status 200 and another shape is an error that passes, for every request, wherever it is wrong.

Each call is made against good answers first. Then each of its answers is replaced, as a whole and at every place in it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pytest
from aiohttp import web

from cdc_daemon.cli.expected_documents import _beside
from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, ElasticsearchUnavailableError, IndexSwapError
from cdc_daemon.search import Operation, Outcome
from cdc_daemon.search.availability import WriteProbe
from cdc_daemon.search.bulk_body import Target
from cdc_daemon.search.documents import DocumentWalk, fetch_documents, find_documents, find_versions
from cdc_daemon.search.engine import BulkItem, DocumentName, SearchEngine
from cdc_daemon.search.failure import EngineError, Failure, FailureKind
from cdc_daemon.search.index_drift import find_drift
from cdc_daemon.search.index_swap import AliasIndices, Phase
from cdc_daemon.search.indices import IndexDefinition, IndexManager, has_pipeline
from cdc_daemon.search.searched_field import find_field, read_fields
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_watch import SwapWatch, look_up_indices
from cdc_daemon.sources.requests.refresh import Refresh, Refresher
from tests.unit.search.conftest import NOW, Bench
from tests.unit.search.fake import ACKNOWLEDGED, PRODUCT, REFRESHED, SHAPES, FakeElasticsearch, Seen, error, failing

ALIASES = {"users-1": {"aliases": {"users": {"is_write_index": True}, "users-1-direct": {"is_hidden": True}}}}
PAIRED = {
    "users-1": {"aliases": {"users": {}, "users-1-direct": {"is_hidden": True}}},
    "users-2": {"aliases": {"users-dropping": {"is_hidden": True}}},
}
MAPPING = {
    "users-1": {
        "mappings": {
            "dynamic": "strict",
            "properties": {
                "name": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 256}}},
                "home": {"properties": {"city": {"type": "keyword"}}},
                "_partition": {"type": "keyword"},
            },
        }
    }
}
SETTINGS = {"users-1": {"settings": {"index.refresh_interval": "1s"}, "defaults": {"index.gc_deletes": "60s"}}}
PAGE = {
    "pit_id": "point",
    "timed_out": False,
    "_shards": {"failed": 0},
    "hits": {"hits": [{"_id": "a", "_version": 5, "_routing": "r", "_source": {"n": 1}, "sort": [1]}]},
}
MULTI_GET = {
    "docs": [
        {"_id": "a", "found": True, "_version": 5, "_source": {"n": 1}},
        {"_id": "b", "found": False},
    ]
}
WALKED = {"POST /users/_refresh": REFRESHED, "POST /users/_pit": {"id": "point"}, "POST /_search": PAGE}
DEFINITION = IndexDefinition(
    "users",
    "users-1",
    settings={"refresh_interval": "1s"},
    mappings={"properties": {"name": {"type": "text"}}},
    extra_properties={"_partition": {"type": "keyword"}},
)
PROPERTIES = {"name": {"type": "text"}, "home": {"properties": {"street": {"type": "text"}}}, "age": {"type": "long"}}
NAMES = [DocumentName("users", "a"), DocumentName("users", "b")]
PAIR = AliasIndices("users", "users-1", other="users-2", phase=Phase.DROPPING)


@dataclass(frozen=True)
class Call:
    """One call, and the good answers that it gets, by method and path."""

    make: Callable[[SearchEngine], Awaitable[object]]
    answers: Mapping[str, Any]
    statuses: Mapping[str, int] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()
    """Routes whose answers change nothing."""


async def _collect(pages: Any) -> list[Any]:
    async with aclosing(pages) as found:
        return [each async for page in found for each in page]


def _changes(engine: SearchEngine) -> SwapSteps:
    return SwapSteps(engine, SwapWatch(engine, ["users"]), seconds=0)


async def _shared_refresh(engine: SearchEngine) -> None:
    refresher = Refresher(engine, interval=0)
    await refresher.refresh("users", Refresh.SHARED)


CALLS = {
    "look_up_indices": Call(lambda engine: look_up_indices(engine, ["users"]), {"GET /users,*/_alias": ALIASES}),
    "ensure": Call(
        lambda engine: IndexManager(engine).ensure(DEFINITION),
        {
            "GET /_alias/users": ALIASES,
            "GET /users-1/_mapping": {"users-1": {"mappings": {}}},
            "PUT /users-1/_mapping": ACKNOWLEDGED,
            "GET /users/_settings/index.gc_deletes": SETTINGS,
        },
    ),
    "create": Call(
        lambda engine: IndexManager(engine).create(DEFINITION, {}),
        {"PUT /users-1": {**ACKNOWLEDGED, "shards_acknowledged": True, "index": "users-1"}},
    ),
    "try_out": Call(
        lambda engine: IndexManager(engine).try_out(DEFINITION),
        {"POST /_index_template/_simulate": {"template": {"settings": {}}, "overlapping": []}},
    ),
    "gc_deletes": Call(
        lambda engine: IndexManager(engine).gc_deletes("users"), {"GET /users/_settings/index.gc_deletes": SETTINGS}
    ),
    "complete": Call(
        lambda engine: IndexManager(engine).complete("users", PROPERTIES, add=True),
        {
            "GET /_alias/users": ALIASES,
            "GET /users-1/_mapping": MAPPING,
            "PUT /users-1/_mapping": ACKNOWLEDGED,
        },
    ),
    "find_drift": Call(
        lambda engine: find_drift(
            engine, "users-1", settings={"refresh_interval": "1s"}, mappings={"properties": PROPERTIES}
        ),
        {"GET /users-1/_settings": SETTINGS, "GET /users-1/_mapping": MAPPING},
    ),
    "read_fields": Call(lambda engine: read_fields(engine, "users", "name"), {"GET /users/_mapping": MAPPING}),
    "find_documents": Call(
        lambda engine: _collect(find_documents(engine, "users", source=["n"])),
        {**WALKED, "DELETE /_pit": {"succeeded": True}},
        harmless=("DELETE /_pit",),
    ),
    "walk": Call(
        lambda engine: _collect(DocumentWalk(engine, "users", part=(0, 2)).pages()),
        {**WALKED, "DELETE /_pit": {"succeeded": True}},
        harmless=("DELETE /_pit",),
    ),
    "count": Call(lambda engine: DocumentWalk(engine, "users").count(), {"POST /users/_count": {"count": 3}}),
    "find_versions": Call(lambda engine: find_versions(engine, NAMES), {"POST /_mget": MULTI_GET}),
    "fetch_documents": Call(lambda engine: fetch_documents(engine, NAMES), {"POST /_mget": MULTI_GET}),
    "pair_create": Call(
        lambda engine: _changes(engine).create(DEFINITION, AliasIndices("users", "users-0")),
        {
            "GET /users-*": {},
            "POST /_aliases": ACKNOWLEDGED,
            "PUT /users-1": ACKNOWLEDGED,
        },
    ),
    "pair_complete": Call(
        lambda engine: _changes(engine).complete(DEFINITION, "users-1"),
        {
            "PUT /users-1/_settings": ACKNOWLEDGED,
            "POST /users-1/_refresh": REFRESHED,
            "GET /_cluster/health/users-1": {"status": "green", "timed_out": False},
        },
    ),
    "pair_exchange": Call(
        lambda engine: _changes(engine).exchange(
            AliasIndices("users", "users-1", other="users-2", phase=Phase.BUILDING, aliases={"users-1": {}})
        ),
        {"POST /users-2/_refresh": REFRESHED, "POST /_aliases": ACKNOWLEDGED, "GET /users,*/_alias": ALIASES},
    ),
    "pair_drop": Call(
        lambda engine: _changes(engine).drop(PAIR), {"GET /users,*/_alias": PAIRED, "DELETE /users-2": ACKNOWLEDGED}
    ),
    "preview": Call(
        lambda engine: _beside(engine, Operation("users", "a", NOW, b"{}", 0.0), has_row=True),
        {"POST /_mget": {"docs": [{"_id": "a", "found": True, "_version": 5, "_source": {"n": 1}}]}},
    ),
    "has_pipeline": Call(lambda engine: has_pipeline(engine, "users"), {"GET /users/_settings/*": SETTINGS}),
    "refresh": Call(_shared_refresh, {"POST /users/_refresh": REFRESHED}),
}


class Answers:
    """Gives a call its answers, one of them another than it should be."""

    def __init__(self, server: FakeElasticsearch, call: Call) -> None:
        self.bodies = dict(call.answers)
        self.call = call
        self.given: set[str] = set()
        server.other = self.answer

    def answer(self, method: str, path: str, _body: Any) -> web.Response:
        for route, body in self.bodies.items():
            if fnmatchcase(f"{method} {path}", route):
                self.given.add(route)
                return web.json_response(body, status=self.call.statuses.get(route, 200), headers=PRODUCT)
        return web.json_response({"error": {"type": "not_scripted"}}, status=404, headers=PRODUCT)


@pytest.fixture(params=CALLS, ids=str)
def call(request: pytest.FixtureRequest) -> Call:
    return CALLS[request.param]


async def test_good_answers_are_taken(server: FakeElasticsearch, engine: SearchEngine, call: Call) -> None:
    answers = Answers(server, call)
    await call.make(engine)
    assert answers.given == set(call.answers), "every answer is asked for, so every one is tried below"


@pytest.mark.parametrize("shape", SHAPES, ids=json.dumps)
async def test_an_answer_of_another_shape_is_an_error_that_passes(
    server: FakeElasticsearch, engine: SearchEngine, call: Call, shape: Any
) -> None:
    for route in call.answers.keys() - set(call.harmless):
        Answers(server, call).bodies[route] = shape
        with pytest.raises(ElasticsearchUnavailableError, match=r"unexpected shape|does not contain") as caught:
            await call.make(engine)
        assert caught.value.retryable
        assert caught.value.hint


async def test_an_answer_that_is_wrong_anywhere_is_one_of_our_errors_or_does_not_matter(
    server: FakeElasticsearch, engine: SearchEngine, call: Call
) -> None:
    refused = 0
    for route, body in call.answers.items():
        for wrong in _wrong(body):
            Answers(server, call).bodies[route] = wrong
            try:
                await call.make(engine)
            except CdcError as raised:
                # Another state of the indices, told as it should be, may be none in which the call can be made.
                assert raised.retryable or isinstance(raised, IndexSwapError), raised  # noqa: PT017 -- it need not be raised
                refused += 1
    assert refused


def _wrong(body: Any) -> Iterator[Any]:
    """Return the answer with each place in it replaced by each shape, and with each member left out."""
    for path in _paths(body):
        for shape in SHAPES:
            changed = copy.deepcopy(body)
            _parent(changed, path)[path[-1]] = shape
            yield changed
        changed = copy.deepcopy(body)
        del _parent(changed, path)[path[-1]]
        yield changed


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def _parent(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        node = node[key]
    return node


async def test_an_alias_that_leads_in_circles_ends() -> None:
    mapping = {"properties": {"a": {"type": "alias", "path": "b"}, "b": {"type": "alias", "path": "a"}}}
    assert not find_field(mapping, "a").answers


async def test_a_time_of_thousands_of_digits_is_refused(server: FakeElasticsearch, engine: SearchEngine) -> None:
    answers = Answers(server, CALLS["gc_deletes"])
    answers.bodies = {"GET /*": {"users-1": {"settings": {"index.gc_deletes": "9" * 5000 + "s"}}}}
    with pytest.raises(ElasticsearchRefusedError, match="gc_deletes"):
        await IndexManager(engine).gc_deletes("users")


@pytest.mark.parametrize("content", ["application/x-ndjson", "application/vnd.elasticsearch+x-ndjson", "text/html", ""])
async def test_an_answer_of_another_content_type_is_an_error_that_passes(
    server: FakeElasticsearch, engine: SearchEngine, content: str
) -> None:
    headers = {**PRODUCT, "Content-Type": content}
    server.other = lambda _method, _path, _body: web.Response(body=b"{}\n{}\n", headers=headers)
    with pytest.raises(ElasticsearchUnavailableError):
        await look_up_indices(engine, ["users"])


ITEMS = {
    "errors": True,
    "items": [{"index": {"status": 201}}, {"index": {"status": 400, "error": {"type": "t", "reason": "r"}}}],
}


def _saying(body: Any) -> Callable[[Seen, web.Request], Awaitable[web.StreamResponse]]:
    async def reply(_seen: Seen, _request: web.Request) -> web.StreamResponse:
        return web.json_response(body, headers=PRODUCT)

    return reply


@pytest.mark.parametrize("errors", [True, False])
async def test_a_bulk_answer_that_is_wrong_anywhere_settles_nothing_it_does_not_tell(
    server: FakeElasticsearch, bench: Bench, *, errors: bool
) -> None:
    body = b'{"index":{"_index":"users","_id":"%s"}}\n{}\n'
    for wrong in [*SHAPES, *_wrong({**ITEMS, "errors": errors})]:
        server.script.append(_saying(wrong))
        answer: Sequence[BulkItem] | Failure | None
        try:
            answer = await bench.engine.bulk(body % b"a" + body % b"b", 2, seconds=5)
        except EngineError as raised:
            answer = raised.failure
        assert answer is not None, "with the second one failed, this is never the answer that all is well"
        if isinstance(answer, Failure):
            assert answer.kind is FailureKind.UNAVAILABLE
        else:
            assert all(type(item.status) is int for item in answer)


@pytest.mark.parametrize("shape", [*SHAPES, {"errors": False, "items": [None]}, {"errors": False, "items": [{}]}])
async def test_a_write_whose_answer_has_another_shape_is_read_again(
    server: FakeElasticsearch, bench: Bench, shape: Any
) -> None:
    server.script.append(_saying(shape))
    writer = bench.writer()
    [result] = await writer.write([bench.index("a")])
    assert (result.outcome, result.error_type) == (Outcome.REREAD, "broken_answer")
    await writer.wait_available()
    [result] = await writer.write([bench.index("a")])
    assert result.outcome is Outcome.INDEXED


@pytest.mark.parametrize("item", [{"status": 500}, {"status": 0}, {"status": True}, {"status": 201, "error": None}])
async def test_an_item_that_tells_neither_success_nor_an_error_is_read_again(
    server: FakeElasticsearch, bench: Bench, item: dict[str, Any]
) -> None:
    server.script.append(_saying({"errors": False, "items": [{"index": item}]}))
    [result] = await bench.writer().write([bench.index("a")])
    assert result.outcome is (Outcome.INDEXED if item["status"] == 201 else Outcome.REREAD)


async def test_a_probe_of_another_shape_goes_on_probing(server: FakeElasticsearch, bench: Bench) -> None:
    probe = WriteProbe(bench.engine, seconds=5)
    for shape in SHAPES:
        server.probe_script.append(_saying(shape))
        failure = await probe([Target("users", "a")])
        assert isinstance(failure, Failure)
        assert failure.error_type == "broken_answer"


async def test_a_conflict_whose_version_is_told_in_another_shape_is_read_again(
    server: FakeElasticsearch, bench: Bench
) -> None:
    good = {"docs": [{"found": True, "_version": NOW - 1}, {"found": True, "_version": NOW - 2}]}
    answers = Answers(server, Call(look_up_indices, {"POST /_mget": good}))  # type: ignore[arg-type]
    conflict = error(409, "version_conflict_engine_exception", "somebody was faster")
    for wrong in [good, *SHAPES, *_wrong(good)]:
        answers.bodies["POST /_mget"] = wrong
        server.script.append(failing({"a": conflict, "b": conflict}))
        results = await bench.writer().write([bench.index("a"), bench.index("b")])
        assert {result.outcome for result in results} == {Outcome.REREAD}
        seen = {result.seen_version for result in results}
        assert seen == {NOW - 1, NOW - 2} if wrong is good else seen <= {NOW - 1, NOW - 2, 7, None}
