"""The conformance suite of the search port: what every engine behind it does alike.

Another engine joins with an entry in the sandbox's `ENGINES`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from cdc_daemon.search.bulk_body import Target, encode_guard, guard_failure
from cdc_daemon.search.engine import BulkItem, DocumentName, SearchEngine, StoredDocument
from cdc_daemon.search.engines.client import ElasticsearchOptions
from cdc_daemon.search.engines.detection import make_engine
from cdc_daemon.search.failure import EngineError, Failure, FailureKind
from sandbox import FAST_START, Sandbox, SearchNode
from sandbox.engines import DEFAULT_ENGINE, ENGINES, Engine, find_engine

MAPPINGS = {"dynamic": "strict", "properties": {"name": {"type": "keyword"}, "age": {"type": "integer"}}}
SETTINGS = {"number_of_shards": 3, "number_of_replicas": 0}

Observed = Callable[[str, object], None]
"""Records what an engine showed, for docs/compatibility.md: pytest's `record_property`."""


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.title)
def server(request: pytest.FixtureRequest) -> Iterator[SearchNode]:
    """A node of each engine, one after the other; that of the other tests where it is the same."""
    wanted: Engine = request.param
    if wanted == find_engine(DEFAULT_ENGINE):
        box: Sandbox = request.getfixturevalue("box")
        yield box.elasticsearch
        return
    search = f"{wanted.name}:{wanted.version}"
    with Sandbox(cassandra=None, search=search, java_options=FAST_START) as own:
        yield own.elasticsearch


@pytest.fixture
async def engine(server: SearchNode) -> AsyncIterator[SearchEngine]:
    engine = make_engine(ElasticsearchOptions((server.url,), flavor="auto"))
    yield engine
    await engine.close()


@dataclass(frozen=True)
class Place:
    """An index with an alias, and how to write to it."""

    engine: SearchEngine
    alias: str
    index: str

    async def bulk(self, *actions: bytes, every: bool = True) -> Sequence[BulkItem] | None:
        return await self.engine.bulk(b"\n".join([*actions, b""]), len(actions), seconds=10, every=every)

    async def write(self, key: str, version: int = 1, **source: Any) -> BulkItem:
        return only(await self.bulk(index_action(self.alias, key, version, **source)))

    async def scan(self, **options: Any) -> list[list[StoredDocument]]:
        async with aclosing(self.engine.scan(self.alias, **options)) as pages:
            return [page async for page in pages]


@pytest.fixture
async def place(engine: SearchEngine) -> AsyncIterator[Place]:
    name = f"test-{secrets.token_hex(6)}"
    place = Place(engine, f"{name}-alias", f"{name}-1")
    await engine.create_index(
        place.index, settings=SETTINGS, mappings=MAPPINGS, aliases={place.alias: {"is_write_index": True}}
    )
    yield place
    await engine.delete_index(place.index)
    await engine.delete_index(f"{place.index}-other")


def index_action(alias: str, key: str, version: int, *, routing: str | None = None, **source: Any) -> bytes:
    meta: dict[str, Any] = {"_index": alias, "_id": key, "version": version, "version_type": "external_gte"}
    if routing is not None:
        meta["routing"] = routing
    return orjson.dumps({"index": meta}) + b"\n" + orjson.dumps(source)


def delete_action(alias: str, key: str, version: int) -> bytes:
    meta = {"_index": alias, "_id": key, "version": version, "version_type": "external_gte"}
    return orjson.dumps({"delete": meta})


def only(items: Sequence[BulkItem] | None) -> BulkItem:
    assert items is not None
    (item,) = items
    return item


def failure_of(item: BulkItem) -> Failure:
    assert item.failure is not None
    return item.failure


def ask(server: SearchNode, method: str, path: str, body: Any = None, media_type: str = "application/json") -> int:
    """Send a request without the port; return its status."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": media_type, "Accept": media_type.replace("x-ndjson", "json")}
    request = urllib.request.Request(server.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def release(server: SearchNode) -> tuple[str, tuple[int, ...]]:
    """Return the name of the engine and its version as numbers."""
    return server.engine.name, tuple(int(part) for part in server.version.split("."))


async def refusal(engine: SearchEngine, name: str) -> Failure:
    """Return the failure of a refresh of what is not there."""
    with pytest.raises(EngineError) as caught:
        await engine.refresh(name)
    return caught.value.failure


# The server


async def test_the_engine_and_the_releases_of_its_nodes_are_known(engine: SearchEngine, server: SearchNode) -> None:
    product = await engine.identify()
    assert (product.name.lower(), product.version) == (server.engine.name, server.version)
    assert engine.product == product
    info = await engine.info()
    assert info.name.lower() == server.engine.name
    assert list(info.versions) == [server.version]


async def test_a_server_that_is_away_is_a_failure_with_nothing_sent() -> None:
    engine = make_engine(ElasticsearchOptions(("http://127.0.0.1:9",)))
    try:
        with pytest.raises(EngineError) as caught:
            await engine.bulk(b"{}\n", 1, seconds=1)
    finally:
        await engine.close()
    assert caught.value.failure.kind is FailureKind.UNAVAILABLE
    assert not caught.value.failure.sent


async def test_privileges_are_told_or_none_is_known(place: Place, record_property: Observed) -> None:
    held = await place.engine.privileges([place.index], ["read", "index"])
    assert held is None or held[place.index] == {"read": True, "index": True}
    record_property("observed", "without security: not said" if held is None else "said")


# Bulk requests


async def test_a_bulk_request_without_a_failure_has_no_items_unless_all_are_wanted(place: Place) -> None:
    actions = [index_action(place.alias, key, 1, name=key) for key in "ab"]
    assert await place.bulk(*actions, every=False) is None
    assert await place.bulk(delete_action(place.alias, "a", 2), delete_action(place.alias, "none", 2)) == [
        BulkItem(200),
        BulkItem(404),
    ]


async def test_items_are_in_the_order_of_the_actions_and_tell_their_failures(place: Place) -> None:
    await place.write("newer", 9)
    items = await place.bulk(
        index_action(place.alias, "a", 1, name="a"),
        index_action(place.alias, "newer", 5, name="old"),
        index_action(place.alias, "bad", 1, unknown="field"),
        every=False,
    )
    assert items is not None
    assert [item.status for item in items] == [201, 409, 400]
    assert items[0].failure is None
    assert failure_of(items[1]).kind is FailureKind.CONFLICT
    assert failure_of(items[2]).kind is FailureKind.DOCUMENT
    assert "current version [9] is higher than the one provided [5]" in failure_of(items[1]).reason


async def test_the_same_version_is_written_again(place: Place) -> None:
    assert (await place.write("a", 5, name="first")).status == 201
    assert (await place.write("a", 5, name="second")).status == 200
    assert failure_of(await place.write("a", 4, name="older")).kind is FailureKind.CONFLICT


async def test_a_deletion_is_remembered_with_its_version(place: Place) -> None:
    await place.bulk(delete_action(place.alias, "a", 7))
    assert failure_of(await place.write("a", 6, name="older")).kind is FailureKind.CONFLICT
    assert (await place.write("a", 8, name="newer")).status == 201


async def test_only_an_alias_is_written_to_and_nothing_is_created(place: Place) -> None:
    missing = f"{place.alias}-missing"
    for target in (place.index, missing):
        item = only(await place.bulk(index_action(target, "a", 1, name="a")))
        assert failure_of(item).kind is FailureKind.OPERATOR
        assert failure_of(item).error_type == "index_not_found_exception"
    assert not await place.engine.index_exists(missing)


async def test_a_guard_requires_an_alias_for_deletions_and_writes_nothing(place: Place) -> None:
    missing = f"{place.alias}-missing"
    items = await place.bulk(delete_action(missing, "a", 1), encode_guard(Target(missing, "a")))
    assert items is not None
    failure = guard_failure(items[1])
    assert failure is not None
    assert failure.kind is FailureKind.OPERATOR
    assert not await place.engine.index_exists(missing)
    assert guard_failure(only(await place.bulk(encode_guard(Target(place.alias, "a"))))) is None
    await place.engine.refresh(place.alias)
    assert await place.engine.count(place.alias) == 0


async def test_a_request_that_is_no_bulk_request_is_a_failure(place: Place) -> None:
    with pytest.raises(EngineError) as caught:
        await place.engine.bulk(b'{"nonsense":{}}\n', 1, seconds=10)
    assert caught.value.failure.status == 400


async def test_a_large_request_arrives_whole(place: Place) -> None:
    name = "x" * 8000
    actions = [index_action(place.alias, str(number), 1, name=name) for number in range(300)]
    assert await place.bulk(*actions, every=False) is None
    await place.engine.refresh(place.alias)
    assert await place.engine.count(place.alias) == 300


# Documents


async def test_documents_are_read_before_a_refresh_in_the_order_of_their_names(place: Place) -> None:
    await place.write("a", 5, name="a", age=1)
    await place.bulk(index_action(place.alias, "r", 6, routing="elsewhere", name="r"))
    names = [
        DocumentName(place.alias, "r", "elsewhere"),
        DocumentName(place.alias, "missing"),
        DocumentName(place.alias, "a"),
        DocumentName(f"{place.alias}-missing", "a"),
    ]
    routed, missing, plain, unread = await place.engine.documents(names, source=True)
    assert routed == StoredDocument("r", "elsewhere", 6, {"name": "r"})
    assert missing is None
    assert plain == StoredDocument("a", None, 5, {"name": "a", "age": 1})
    assert isinstance(unread, Failure)
    assert unread.error_type == "index_not_found_exception"


@pytest.mark.parametrize(("source", "found"), [(False, None), (["age"], {"age": 1}), (True, {"name": "a", "age": 1})])
async def test_the_source_is_as_much_as_is_wanted(
    place: Place, source: bool | list[str], found: dict[str, Any] | None
) -> None:
    await place.write("a", 5, name="a", age=1)
    documents = await place.engine.documents([DocumentName(place.alias, "a")], source=source, seconds=5)
    assert documents == [StoredDocument("a", None, 5, found)]


# Searches


async def _fill(place: Place, count: int) -> set[str]:
    actions = [index_action(place.alias, str(number), number + 1, name="n", age=number) for number in range(count)]
    if actions:
        assert await place.bulk(*actions, every=False) is None
    await place.engine.refresh(place.alias)
    return {str(number) for number in range(count)}


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (7, [7]), (10, [10]), (23, [10, 10, 3])])
async def test_a_scan_finds_each_document_once_page_by_page(place: Place, count: int, sizes: list[int]) -> None:
    keys = await _fill(place, count)
    pages = await place.scan(page=10)
    assert [len(page) for page in pages] == sizes
    found = [document for page in pages for document in page]
    assert {document.id for document in found} == keys
    assert len(found) == count
    assert all(document.version == int(document.id) + 1 for document in found)
    assert all(document.source is None for document in found)


async def test_a_name_of_unusual_characters_names_the_same_index_in_each_request(engine: SearchEngine) -> None:
    alias = f"test-ü%41+{secrets.token_hex(6)}"
    place = Place(engine, alias, f"{alias}-1")
    await engine.create_index(place.index, settings=SETTINGS, mappings=MAPPINGS, aliases={alias: {}})
    try:
        assert await engine.index_exists(alias)
        assert (await place.write("a", 1, name="a")).status == 201
        await engine.refresh(alias)
        assert await engine.count(alias) == 1
        assert await place.scan(page=1) == [[StoredDocument("a", None, 1, None)]]
        assert set(await engine.mappings(alias)) == set(await engine.settings(alias)) == {place.index}
        assert set(await engine.aliases([alias])) == set(await engine.indices_of(alias) or ()) == {place.index}
    finally:
        await engine.delete_index(place.index)


async def test_a_scan_finds_what_a_query_matches_with_the_wanted_fields(place: Place) -> None:
    await _fill(place, 20)
    (page,) = await place.scan(query={"range": {"age": {"gte": 18}}}, source=["age"])
    assert sorted((document.id, document.source) for document in page) == [("18", {"age": 18}), ("19", {"age": 19})]


async def test_the_parts_of_a_scan_are_the_whole(place: Place) -> None:
    keys = await _fill(place, 100)
    found = [document.id for part in range(4) for page in await place.scan(part=(part, 4)) for document in page]
    assert sorted(found) == sorted(keys)


async def test_a_scan_shows_one_moment(place: Place) -> None:
    keys = await _fill(place, 30)
    found: set[str] = set()
    async with aclosing(place.engine.scan(place.alias, page=10)) as pages:
        async for page in pages:
            found |= {document.id for document in page}
            await place.bulk(*(delete_action(place.alias, key, 1000) for key in keys))
            await place.engine.refresh(place.alias)
    assert found == keys


async def test_routing_values_come_with_a_scan(place: Place) -> None:
    await place.bulk(index_action(place.alias, "a", 3, routing="r", name="a"))
    await place.engine.refresh(place.alias)
    assert await place.scan(source=["name"]) == [[StoredDocument("a", "r", 3, {"name": "a"})]]


async def test_a_scan_that_is_abandoned_can_be_closed(place: Place) -> None:
    await _fill(place, 30)
    scan = place.engine.scan(place.alias, page=7)
    await anext(scan)
    await scan.aclose()
    assert len(await place.scan(page=7)) == 5


async def test_a_refresh_makes_writes_visible(place: Place) -> None:
    await place.write("a", 1, name="a")
    await place.engine.refresh(place.index)
    assert await place.engine.count(place.index) == 1


async def test_what_is_missing_is_refused_by_its_type(place: Place) -> None:
    missing = f"{place.alias}-missing"
    assert (await refusal(place.engine, missing)).error_type == "index_not_found_exception"
    with pytest.raises(EngineError, match="index_not_found_exception"):
        await place.engine.count(missing)
    with pytest.raises(EngineError, match="index_not_found_exception"):
        await anext(place.engine.scan(missing))
    with pytest.raises(EngineError, match="index_not_found_exception"):
        await place.engine.mappings(missing)
    with pytest.raises(EngineError, match="index_not_found_exception"):
        await place.engine.settings(missing)
    with pytest.raises(EngineError) as caught:
        await place.engine.put_mapping(missing, {"name": {"type": "keyword"}})
    assert caught.value.failure.kind is FailureKind.OPERATOR


# Indices


async def test_an_index_is_created_with_its_aliases_and_deleted(place: Place) -> None:
    assert await place.engine.index_exists(place.index)
    assert await place.engine.index_exists(place.alias)
    assert await place.engine.indices_of(place.alias) == {place.index: {"is_write_index": True}}
    await place.engine.delete_index(place.index)
    assert not await place.engine.index_exists(place.index)
    assert await place.engine.indices_of(place.alias) is None
    await place.engine.delete_index(place.index)


async def test_an_index_that_exists_is_not_created_again(place: Place) -> None:
    with pytest.raises(EngineError) as caught:
        await place.engine.create_index(place.index, settings={}, mappings={}, aliases={})
    assert caught.value.failure.error_type == "resource_already_exists_exception"


async def test_an_index_is_tried_without_being_created(place: Place) -> None:
    name = f"{place.index}-tried"
    await place.engine.try_index(name, settings=SETTINGS, mappings=MAPPINGS)
    with pytest.raises(EngineError) as caught:
        await place.engine.try_index(name, settings=SETTINGS, mappings={"properties": {"a": {"type": "no-such-type"}}})
    assert caught.value.failure.kind is FailureKind.DOCUMENT
    assert not await place.engine.index_exists(name)


async def test_settings_are_read_and_changed(place: Place) -> None:
    await place.engine.put_settings(place.index, {"index.refresh_interval": "-1"})
    found = (await place.engine.settings(place.alias))[place.index].settings
    assert found["index.refresh_interval"] == "-1"
    assert found["index.number_of_shards"] == "3"
    named = (await place.engine.settings(place.alias, ["index.gc_deletes"], defaults=True))[place.index]
    assert "index.gc_deletes" not in named.settings
    assert named.defaults["index.gc_deletes"] == "60s"
    await place.engine.put_settings(place.index, {"index.refresh_interval": None})
    assert "index.refresh_interval" not in (await place.engine.settings(place.index))[place.index].settings


async def test_fields_are_added_to_a_mapping(place: Place) -> None:
    await place.engine.put_mapping(place.index, {"city": {"type": "keyword"}})
    mapping = (await place.engine.mappings(place.alias))[place.index]
    assert mapping["dynamic"] == "strict"
    assert mapping["properties"] == {**MAPPINGS["properties"], "city": {"type": "keyword"}}  # type: ignore[dict-item]
    with pytest.raises(EngineError):
        await place.engine.put_mapping(place.index, {"city": {"type": "integer"}})


async def test_a_vector_is_a_field_of_every_engine(place: Place) -> None:
    vector = {"type": "dense_vector", "dims": 2, "index": True, "similarity": "l2_norm"}
    await place.engine.put_mapping(place.index, {"vector": vector})
    fitting = (await place.engine.fit_mapping({"properties": {"vector": vector}}))["properties"]["vector"]
    found = (await place.engine.mappings(place.alias))[place.index]["properties"]["vector"]
    assert found == (found | fitting)
    assert (await place.write("a", vector=[0.5, 1.0])).failure is None
    (stored,) = await place.engine.documents([DocumentName(place.alias, "a")], source=True)
    assert isinstance(stored, StoredDocument)
    assert stored.source == {"vector": [0.5, 1.0]}


async def test_shards_that_are_ready_are_not_waited_for(place: Place) -> None:
    async with asyncio.timeout(20):
        await place.engine.wait_for_shards(place.index, seconds=30)


# Aliases


async def test_all_aliases_of_the_named_indices_are_found(place: Place) -> None:
    hidden = f"{place.alias}-hidden"
    changed = await place.engine.update_aliases([{"add": {"index": place.index, "alias": hidden, "is_hidden": True}}])
    assert changed
    wanted = {place.index: {place.alias: {"is_write_index": True}, hidden: {"is_hidden": True}}}
    assert await place.engine.aliases([hidden, f"{place.alias}-missing"]) == wanted
    assert await place.engine.aliases([place.index]) == wanted
    assert await place.engine.aliases([f"{place.alias}-missing"]) == {}


async def test_a_change_of_aliases_is_done_wholly_or_not_at_all(place: Place) -> None:
    other = f"{place.index}-other"
    await place.engine.create_index(other, settings=SETTINGS, mappings=MAPPINGS, aliases={})
    move = [
        {"remove": {"index": place.index, "alias": place.alias, "must_exist": True}},
        {"add": {"index": other, "alias": place.alias, "is_write_index": True}},
    ]
    with pytest.raises(EngineError) as caught:
        await place.engine.update_aliases(
            [*move, {"remove": {"index": other, "alias": f"{place.alias}-missing", "must_exist": True}}]
        )
    assert caught.value.failure.kind is FailureKind.OPERATOR
    assert await place.engine.indices_of(place.alias) == {place.index: {"is_write_index": True}}
    assert await place.engine.update_aliases(move)
    assert await place.engine.indices_of(place.alias) == {other: {"is_write_index": True}}


async def test_an_alias_that_may_be_missing_is_removed_or_passed_over(place: Place) -> None:
    extra = f"{place.alias}-extra"
    for _ in range(2):
        remove = {"remove": {"index": place.index, "alias": extra, "must_exist": False}}
        assert await place.engine.update_aliases([remove, {"add": {"index": place.index, "alias": f"{extra}-2"}}])
    assert set((await place.engine.aliases([place.index]))[place.index]) == {place.alias, f"{extra}-2"}


# What differs between the engines (docs/compatibility.md)


async def test_a_deletion_is_forgotten_after_gc_deletes(place: Place) -> None:
    await place.engine.put_settings(place.index, {"index.gc_deletes": "1ms"})
    await place.bulk(delete_action(place.alias, "a", 7))
    async with asyncio.timeout(60):
        while (await place.write("a", 6, name="older")).failure is not None:
            await place.engine.refresh(place.alias)
            await asyncio.sleep(0.1)
    (stored,) = await place.engine.documents([DocumentName(place.alias, "a")], source=True)
    assert stored == StoredDocument("a", None, 6, {"name": "older"})


async def test_counts_and_scans_are_whole_beyond_ten_thousand_documents(place: Place) -> None:
    keys = await _fill(place, 10_050)
    assert await place.engine.count(place.alias) == len(keys)
    found = [document.id for page in await place.scan(page=5000) for document in page]
    assert len(found) == len(keys)
    assert set(found) == keys


async def test_the_default_limits_are_those_that_the_daemon_knows(place: Place) -> None:
    many = {"properties": {f"f{number}": {"type": "keyword"} for number in range(1001)}}
    with pytest.raises(EngineError, match=r"[Ll]imit of total fields \[1000\]"):
        await place.engine.create_index(f"{place.index}-other", settings=SETTINGS, mappings=many, aliases={})
    assert (await place.write("k" * 512, name="a")).status == 201
    assert failure_of(await place.write("a", name="n" * 32_767)).kind is FailureKind.DOCUMENT
    with pytest.raises(EngineError):  # the whole request
        await place.write("k" * 513, name="a")


async def test_a_document_that_does_not_fit_has_the_engines_own_error(
    place: Place, server: SearchNode, record_property: Observed
) -> None:
    failure = failure_of(await place.write("a", age="no number"))
    name, version = release(server)
    own = "document_parsing_exception" if name == "elasticsearch" and version >= (8,) else "mapper_parsing_exception"
    assert (failure.error_type, failure.status, failure.kind) == (own, 400, FailureKind.DOCUMENT)
    record_property("observed", f"`{failure.error_type}`")


@pytest.mark.parametrize("kind", ["flattened", "flat_object", "dense_vector", "knn_vector"])
def test_which_engine_has_a_type_of_field(server: SearchNode, kind: str, record_property: Observed) -> None:
    """The open-source build of Elasticsearch 7 lacks types that its other build has, `flattened` up to 7.10."""
    name, version = release(server)
    has = {
        "flattened": name == "elasticsearch" and version >= (7, 17),
        "flat_object": name == "opensearch" and version >= (2, 7),
        "dense_vector": name == "elasticsearch" and version >= (8,),
        "knn_vector": False,  # a plugin
    }
    options = {"dims": 2} if kind == "dense_vector" else {"dimension": 2} if kind == "knn_vector" else {}
    index = f"/test-{secrets.token_hex(6)}"
    status = ask(server, "PUT", index, {"mappings": {"properties": {"a": {"type": kind, **options}}}})
    assert status == (200 if has[kind] else 400)
    if has[kind]:
        assert ask(server, "DELETE", index) == 200
        record_property("observed", f"`{kind}`")


async def test_which_engine_has_a_point_in_time(place: Place, server: SearchNode, record_property: Observed) -> None:
    name, version = release(server)
    of_elasticsearch = ask(server, "POST", f"/{place.index}/_pit?keep_alive=1s") == 200
    of_opensearch = ask(server, "POST", f"/{place.index}/_search/point_in_time?keep_alive=1s") == 200
    assert of_elasticsearch == (name == "elasticsearch" and version >= (7, 12))
    assert of_opensearch == (name == "opensearch" and version >= (2, 4))
    assert ask(server, "POST", f"/{place.index}/_search?scroll=1s", {"size": 1}) == 200
    kinds = {"`_pit`": of_elasticsearch, "`_search/point_in_time`": of_opensearch, "scroll": True}
    record_property("observed", ", ".join(kind for kind, has in kinds.items() if has))


async def test_foreign_media_types_are_refused_for_the_operator_and_not_for_the_document(
    place: Place, server: SearchNode, record_property: Observed
) -> None:
    body = index_action(place.alias, "a", 1, name="a") + b"\n"
    media_type = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"
    name, version = release(server)
    knows = name == "elasticsearch" and version >= (7, 12)
    status = ask(server, "POST", "/_bulk", body, media_type)
    assert status == (200 if knows else 406)
    assert knows or Failure.from_error(status, None).kind is FailureKind.OPERATOR
    (stored,) = await place.engine.documents([DocumentName(place.alias, "a")], source=False)
    assert (stored is not None) == knows
    record_property("observed", "known" if knows else str(status))
