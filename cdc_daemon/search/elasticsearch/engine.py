"""The search port over Elasticsearch 8 and 9."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cache
from typing import Any

import structlog
from elasticsearch import AsyncElasticsearch

from cdc_daemon.search.elasticsearch.answers import (
    ACKNOWLEDGEMENT,
    ALIASES,
    COUNT,
    HEALTH,
    MAPPINGS,
    MULTI_GET,
    NODES,
    PAGE,
    POINT_IN_TIME,
    PRIVILEGES,
    REFRESHED,
    SETTINGS,
    SIMULATED,
    Got,
    read,
    required,
)
from cdc_daemon.search.elasticsearch.client import ElasticsearchOptions, make_client, translated
from cdc_daemon.search.engine import (
    Aliases,
    BulkItem,
    DocumentName,
    EngineInfo,
    IndexSettings,
    SearchEngine,
    StoredDocument,
    of_index,
)
from cdc_daemon.search.failure import EngineError, Failure, broken_answer

log = structlog.get_logger(__name__)

_FILTER = "error,errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
"""The filter keeps the status of each item: with errors alone, they could not be matched to operations.

The filter also applies to the response to a request rejected as a whole, hence `error`. The response to 1000
successful operations is about 30 kB instead of 250 kB.
"""

_NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}

_FOREMOST = 2_000_000_011
"""The priority of a simulated template: no other template may have the same."""

_NO_PRIVILEGES = (400, 403, 404, 405)
"""The statuses of a cluster without security, and of a login that may not ask."""


def make_engine(options: ElasticsearchOptions) -> SearchEngine:
    """Return the port to a cluster, without sending anything. Raises `ConfigError` if the options are invalid."""
    return ElasticsearchEngine(make_client(options))


class ElasticsearchEngine:
    """A `SearchEngine`: a connection to an Elasticsearch cluster."""

    def __init__(self, client: AsyncElasticsearch) -> None:
        self._client = client
        self._within: dict[float, AsyncElasticsearch] = {}

    async def info(self) -> EngineInfo:
        """Return the engine and the releases of its nodes."""
        with translated():
            answer = await self._client.nodes.info(metric="http", filter_path="nodes.*.version")
        nodes = read(NODES, answer).get("nodes", {})
        return EngineInfo("Elasticsearch", [node["version"] for node in nodes.values()])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def bulk(self, body: bytes, count: int, *, seconds: float, every: bool = False) -> Sequence[BulkItem] | None:
        """Send a bulk request; Elasticsearch waits only half as long for a shard or for a mapping update.

        So it answers before the connection times out.
        """
        path = f"/_bulk?require_alias=true&timeout={int(seconds * 500)}ms&filter_path={_FILTER}"
        with translated():
            answer = await self._client_within(seconds).perform_request("POST", path, headers=_NDJSON, body=body)
        return _read_bulk(answer.body, count, every=every)

    async def documents(
        self, names: Sequence[DocumentName], *, source: bool | Sequence[str], seconds: float | None = None
    ) -> list[StoredDocument | Failure | None]:
        """Return the current state of each document, without a refresh.

        https://www.elastic.co/guide/en/elasticsearch/reference/8.19/docs-multi-get.html
        """
        wanted: list[dict[str, Any]] = [
            {"_index": name.alias, "_id": name.id, **({} if name.routing is None else {"routing": name.routing})}
            for name in names
        ]
        client = self._client if seconds is None else self._client_within(seconds)
        with translated():
            answer = await client.mget(docs=wanted, source=source if isinstance(source, bool) else list(source))
        found = read(MULTI_GET, answer)["docs"]
        if len(found) != len(names):
            raise broken_answer(
                f"the answer has an unexpected shape: expected {len(names)} documents, found {len(found)}"
            )
        return [_document(name, each) for name, each in zip(names, found, strict=True)]

    async def scan(
        self,
        target: str,
        *,
        query: Mapping[str, Any] | None = None,
        part: tuple[int, int] | None = None,
        source: Sequence[str] = (),
        page: int = 1000,
        keep_alive: float = 60.0,
    ) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield every document that matches a query, page by page, from one point in time."""
        kept = f"{int(keep_alive)}s"
        with translated():
            opened = await self._client.open_point_in_time(index=target, keep_alive=kept)
        point = read(POINT_IN_TIME, opened)["id"]
        after: list[Any] | None = None
        try:
            while True:
                with translated():
                    answer = await self._client.search(
                        pit={"id": point, "keep_alive": kept},
                        query=query,
                        slice=None if part is None else {"id": part[0], "max": part[1]},
                        source={"includes": list(source)} if source else False,
                        sort=[{"_shard_doc": "asc"}],
                        search_after=after,
                        size=page,
                        track_total_hits=False,
                        allow_partial_search_results=False,
                        version=True,
                    )
                found = read(PAGE, answer)
                hits = found["hits"]["hits"]
                last = required(hits[-1].get("sort"), "sort") if hits else None
                if last is not None and last == after:
                    raise broken_answer("the answer repeats the page before it")
                _check_shards(found["_shards"]["failed"], late=found.get("timed_out", False))
                point = found.get("pit_id", point)
                if hits:
                    yield [
                        StoredDocument(hit["_id"], hit.get("_routing"), hit["_version"], hit.get("_source"))
                        for hit in hits
                    ]
                if len(hits) < page:
                    return
                after = last
        finally:
            try:
                with translated():
                    await self._client.close_point_in_time(id=point)
            except EngineError:
                log.debug("elasticsearch.point_in_time_left", expires=kept)

    async def count(self, target: str) -> int:
        """Return the number of documents that searches find."""
        with translated():
            answer = await self._client.count(index=target)
        return read(COUNT, answer)["count"]

    async def refresh(self, target: str) -> None:
        """Make all writes visible to searches. A shard that does not refresh is a failure."""
        with translated():
            answer = await self._client.indices.refresh(index=target)
        _check_shards(read(REFRESHED, answer)["_shards"]["failed"])

    async def index_exists(self, name: str) -> bool:
        """Return whether an index or an alias has this name."""
        with translated():
            return bool(await self._client.indices.exists(index=name))

    async def create_index(
        self, index: str, *, settings: Mapping[str, Any], mappings: Mapping[str, Any], aliases: Aliases
    ) -> None:
        """Create an index with its aliases in one step."""
        with translated():
            answer = await self._client.indices.create(
                index=index, aliases=dict(aliases), mappings=mappings, settings=settings
            )
        read(ACKNOWLEDGEMENT, answer)

    async def try_index(self, index: str, *, settings: Mapping[str, Any], mappings: Mapping[str, Any]) -> None:
        """Check whether an index could be created, without creating it.

        Elasticsearch simulates a template with that content, which checks settings, analyzers and fields
        (`TransportSimulateTemplateAction`, 8.19). The login needs the privilege for it.
        """
        with translated():
            answer = await self._client.indices.simulate_template(
                index_patterns=[index],
                template={"settings": dict(settings), "mappings": dict(mappings)},
                priority=_FOREMOST,
            )
        read(SIMULATED, answer)

    async def delete_index(self, index: str) -> None:
        """Delete an index, if it exists."""
        with translated():
            answer = await self._client.options(ignore_status=404).indices.delete(index=index)
        if answer.meta.status != 404:
            read(ACKNOWLEDGEMENT, answer)

    async def settings(
        self, target: str, names: Sequence[str] = (), *, defaults: bool = False
    ) -> Mapping[str, IndexSettings]:
        """Return the settings of each index, or only those with these names."""
        with translated():
            answer = await self._client.indices.get_settings(
                index=target, name=list(names) or None, include_defaults=defaults or None, flat_settings=True
            )
        found = {}
        for index, entry in read(SETTINGS, answer).items():
            settings = entry.get("settings", {}) if names else required(entry.get("settings"), "settings")
            found[index] = IndexSettings(settings, entry.get("defaults", {}))
        return found

    async def put_settings(self, index: str, settings: Mapping[str, Any]) -> None:
        """Change settings of an index. A setting of None gets its default value."""
        with translated():
            answer = await self._client.indices.put_settings(index=index, settings=settings)
        read(ACKNOWLEDGEMENT, answer)

    async def mappings(self, target: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the mapping of each index."""
        with translated():
            answer = await self._client.indices.get_mapping(index=target)
        return {index: entry["mappings"] for index, entry in read(MAPPINGS, answer).items()}

    async def put_mapping(self, index: str, properties: Mapping[str, Any]) -> None:
        """Add fields to the mapping of an index."""
        with translated():
            answer = await self._client.indices.put_mapping(index=index, properties=properties)
        read(ACKNOWLEDGEMENT, answer)

    async def wait_for_shards(self, index: str, *, seconds: int) -> None:
        """Wait until no shard of an index is being initialised, or the time is over."""
        with translated():
            answer = await self._client.options(request_timeout=seconds + 10).cluster.health(
                index=index, wait_for_no_initializing_shards=True, timeout=f"{seconds}s"
            )
        read(HEALTH, answer)

    async def aliases(self, targets: Sequence[str]) -> Mapping[str, Aliases]:
        """Return all aliases of each index that one of the targets names. Missing targets are ignored."""
        with translated():
            answer = await self._client.indices.get_alias(
                index=list(targets), ignore_unavailable=True, expand_wildcards="all"
            )
        return {index: entry["aliases"] for index, entry in read(ALIASES, answer).items()}

    async def indices_of(self, alias: str) -> Aliases | None:
        """Return the options of an alias by index, or None if there is no such alias."""
        with translated():
            answer = await self._client.options(ignore_status=404).indices.get_alias(name=alias)
        if answer.meta.status == 404:
            return None
        return {index: of_index(entry["aliases"], alias) for index, entry in read(ALIASES, answer).items()}

    async def update_aliases(self, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Add and remove aliases in one atomic step; return whether all nodes have acknowledged it."""
        with translated():
            answer = await self._client.indices.update_aliases(actions=actions)
        return read(ACKNOWLEDGEMENT, answer)["acknowledged"]

    async def privileges(
        self, names: Sequence[str], privileges: Sequence[str]
    ) -> Mapping[str, Mapping[str, bool]] | None:
        """Return which privileges the login has, by index and privilege, or None if the engine does not say."""
        with translated():
            answer = await self._client.options(ignore_status=_NO_PRIVILEGES).security.has_privileges(
                index=[{"names": list(names), "privileges": list(privileges)}]
            )
        return read(PRIVILEGES, answer)["index"] if answer.meta.status == 200 else None

    def _client_within(self, seconds: float) -> AsyncElasticsearch:
        """Return the client with this request timeout. There are only a few different ones."""
        client = self._within.get(seconds)
        if client is None:
            client = self._within[seconds] = self._client.options(request_timeout=seconds)
        return client


def _document(name: DocumentName, found: Got) -> StoredDocument | Failure | None:
    if "error" in found:
        return Failure.from_error(0, found["error"])
    if not required(found.get("found"), "found"):
        return None
    version = required(found.get("_version"), "_version")
    return StoredDocument(name.id, found.get("_routing"), version, found.get("_source"))


def _check_shards(failed: int, *, late: bool = False) -> None:
    if failed or late:
        raise EngineError(Failure(503, "shards_failed", f"expected an answer of every shard, {failed} failed"))


def _read_bulk(answer: Any, count: int, *, every: bool) -> Sequence[BulkItem] | None:
    try:
        items, errors = answer["items"], answer["errors"]
        if len(items) != count:
            raise broken_answer(f"expected {count} items in the answer, found {len(items)}")
        failed = False
        for entry in items:
            ((action, item),) = entry.items()
            status, error = item["status"], item.get("error")
            failed = failed or error is not None
            # Check the exact type, as `True` is no status. A deletion of a missing document has 404 and no error.
            if type(status) is not int or not (error or 200 <= status < 300 or (status == 404 and action == "delete")):
                raise _no_bulk_answer()
        if type(errors) is not bool:
            raise _no_bulk_answer()
    except (KeyError, TypeError, AttributeError, ValueError):
        raise _no_bulk_answer() from None
    if not (every or errors or failed):
        return None
    return [
        _succeeded(item["status"])
        if (error := item.get("error")) is None
        else BulkItem(item["status"], Failure.from_error(item["status"], error))
        for entry in items
        for item in entry.values()
    ]


_succeeded = cache(BulkItem)
"""One item for each status: most items of a request are the same."""


def _no_bulk_answer() -> EngineError:
    return broken_answer("expected the answer to a bulk request, found something else")
