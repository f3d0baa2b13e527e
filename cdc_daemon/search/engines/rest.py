"""The requests of the search port: one set of them for all engines, which differ in the client and in a few answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from elastic_transport.client_utils import percent_encode

from cdc_daemon.search.engine import (
    Aliases,
    BulkItem,
    DocumentName,
    EngineInfo,
    IndexSettings,
    Product,
    StoredDocument,
    of_index,
)
from cdc_daemon.search.engines.answers import (
    ACKNOWLEDGEMENT,
    ALIASES,
    COUNT,
    HEALTH,
    MAPPINGS,
    MULTI_GET,
    NODE_TIMES,
    NODES,
    PRIVILEGES,
    REFRESHED,
    SETTINGS,
    SIMULATED,
    Got,
    Page,
    read,
    required,
)
from cdc_daemon.search.engines.product import hides_vectors
from cdc_daemon.search.failure import EngineError, Failure, broken_answer

_FILTER = "error,errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
"""The filter keeps the status of each item: with errors alone, they could not be matched to operations.

The filter also applies to the response to a request rejected as a whole, hence `error`. The response to 1000
successful operations is about 30 kB instead of 250 kB.
"""

_JSON = {"accept": "application/json", "content-type": "application/json"}
_NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}
_ACCEPT_JSON = {"accept": "application/json"}

_FOREMOST = 2_000_000_011
"""The priority of a simulated template: no other template may have the same."""

_NO_PRIVILEGES = (400, 403, 404, 405)
"""The statuses of a cluster without security, and of a login that may not ask."""


Body = bytes | Mapping[str, Any] | None
"""The body of a request: encoded, or to be encoded as JSON."""


class Answer(NamedTuple):
    """The status and the decoded body of a response."""

    status: int
    body: Any


class RestEngine(ABC):
    """A `SearchEngine` over HTTP. A subclass has the client (`_send`), the engine's name, and the way to page."""

    name: str
    """The name of the engine, for people."""

    product: Product | None
    """The engine that answered last; None before the first answer."""

    @abstractmethod
    async def identify(self) -> Product:
        """Ask which engine answers, and return it. Raises `UnsupportedEngineError` and `EngineError`."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, seconds: float | None
    ) -> Answer:
        """Send a request; return the response, whatever its status.

        `target` is the encoded path with its query, `seconds` the timeout, if it is not the usual one. Raises
        `EngineError` if there is no response, or one that is no JSON.
        """

    @abstractmethod
    def _pages(self, target: str, search: dict[str, Any], kept: str) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield the documents that a search finds, page by page, from one snapshot that is `kept` between two pages.

        `search` is the body of the search without its order; it has the `size` of a page.
        """

    async def info(self) -> EngineInfo:
        """Return the engine and the releases of its nodes."""
        answer = await self._ask("GET", ["_nodes", "http"], {"filter_path": "nodes.*.version"})
        nodes = read(NODES, answer.body).get("nodes", {})
        return EngineInfo(self.name, [node["version"] for node in nodes.values()])

    async def time(self) -> float | None:
        """Return the clock of the node that answers, from its statistics: the engines send no `Date` header."""
        parameters = {"filter_path": "nodes.*.timestamp"}
        answer = await self._ask("GET", ["_nodes", "_local", "stats", "jvm"], parameters, seconds=5.0)
        times = [node["timestamp"] for node in read(NODE_TIMES, answer.body).get("nodes", {}).values()]
        return max(times) / 1000 if times else None

    async def bulk(self, body: bytes, count: int, *, seconds: float, every: bool = False) -> Sequence[BulkItem] | None:
        """Send a bulk request; the engine waits only half as long for a shard or for a mapping update.

        So it answers before the connection times out.
        """
        path = f"/_bulk?require_alias=true&timeout={int(seconds * 500)}ms&filter_path={_FILTER}"
        answer = await self._send("POST", path, _NDJSON, body, seconds)
        check_status(answer)
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
        parameters: dict[str, Any] = {"_source": source if isinstance(source, bool) else ",".join(source)}
        if source is True and self.product is not None and hides_vectors(self.product):
            parameters["_source_exclude_vectors"] = False
        answer = await self._ask("POST", ["_mget"], parameters, {"docs": wanted}, seconds=seconds)
        found = read(MULTI_GET, answer.body)["docs"]
        if len(found) != len(names):
            raise broken_answer(
                f"the answer has an unexpected shape: expected {len(names)} documents, found {len(found)}"
            )
        return [_document(name, each) for name, each in zip(names, found, strict=True)]

    def scan(
        self,
        target: str,
        *,
        query: Mapping[str, Any] | None = None,
        part: tuple[int, int] | None = None,
        source: Sequence[str] = (),
        page: int = 1000,
        keep_alive: float = 60.0,
    ) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield every document that matches a query, page by page, from one snapshot."""
        search: dict[str, Any] = {
            "query": query or {"match_all": {}},
            "_source": {"includes": list(source)} if source else False,
            "size": page,
            "version": True,
        }
        if part is not None and part[1] > 1:  # a slice needs at least two parts
            search["slice"] = {"id": part[0], "max": part[1]}
        return self._pages(target, search, f"{int(keep_alive)}s")

    async def count(self, target: str) -> int:
        """Return the number of documents that searches find."""
        answer = await self._ask("POST", [target, "_count"])
        return read(COUNT, answer.body)["count"]

    async def refresh(self, target: str) -> None:
        """Make all writes visible to searches. A shard that does not refresh is a failure."""
        answer = await self._ask("POST", [target, "_refresh"])
        check_shards(read(REFRESHED, answer.body)["_shards"]["failed"])

    async def index_exists(self, name: str) -> bool:
        """Return whether an index or an alias has this name."""
        answer = await self._ask("HEAD", [name], allowed=(404,))
        return answer.status != 404

    async def create_index(
        self, index: str, *, settings: Mapping[str, Any], mappings: Mapping[str, Any], aliases: Aliases
    ) -> None:
        """Create an index with its aliases in one step."""
        body = {"aliases": dict(aliases), "mappings": await self.fit_mapping(mappings), "settings": settings}
        answer = await self._ask("PUT", [index], body=body)
        read(ACKNOWLEDGEMENT, answer.body)

    async def try_index(self, index: str, *, settings: Mapping[str, Any], mappings: Mapping[str, Any]) -> None:
        """Check whether an index could be created, without creating it.

        The engine simulates a template with that content, which checks settings, analyzers and fields
        (`TransportSimulateTemplateAction`, 8.19). The login needs the privilege for it.
        """
        template = {"settings": dict(settings), "mappings": dict(await self.fit_mapping(mappings))}
        body = {"index_patterns": [index], "template": template, "priority": _FOREMOST}
        answer = await self._ask("POST", ["_index_template", "_simulate"], body=body)
        read(SIMULATED, answer.body)

    async def delete_index(self, index: str) -> None:
        """Delete an index, if it exists."""
        answer = await self._ask("DELETE", [index], allowed=(404,))
        if answer.status != 404:
            read(ACKNOWLEDGEMENT, answer.body)

    async def settings(
        self, target: str, names: Sequence[str] = (), *, defaults: bool = False
    ) -> Mapping[str, IndexSettings]:
        """Return the settings of each index, or only those with these names."""
        path = [target, "_settings", *([",".join(names)] if names else [])]
        parameters: dict[str, Any] = {"flat_settings": True}
        if defaults:
            parameters["include_defaults"] = True
        answer = await self._ask("GET", path, parameters)
        found = {}
        for index, entry in read(SETTINGS, answer.body).items():
            settings = entry.get("settings", {}) if names else required(entry.get("settings"), "settings")
            found[index] = IndexSettings(settings, entry.get("defaults", {}))
        return found

    async def put_settings(self, index: str, settings: Mapping[str, Any]) -> None:
        """Change settings of an index. A setting of None gets its default value."""
        answer = await self._ask("PUT", [index, "_settings"], body=settings)
        read(ACKNOWLEDGEMENT, answer.body)

    async def mappings(self, target: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the mapping of each index."""
        answer = await self._ask("GET", [target, "_mapping"])
        return {index: entry["mappings"] for index, entry in read(MAPPINGS, answer.body).items()}

    async def fit_mapping(self, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping as this engine can have it. Elasticsearch 8 and later know every field."""
        return mapping

    async def put_mapping(self, index: str, properties: Mapping[str, Any]) -> None:
        """Add fields to the mapping of an index."""
        body = await self.fit_mapping({"properties": properties})
        answer = await self._ask("PUT", [index, "_mapping"], body=body)
        read(ACKNOWLEDGEMENT, answer.body)

    async def wait_for_shards(self, index: str, *, seconds: int) -> None:
        """Wait until no shard of an index is being initialised, or the time is over."""
        parameters = {"wait_for_no_initializing_shards": True, "timeout": f"{seconds}s"}
        answer = await self._ask("GET", ["_cluster", "health", index], parameters, seconds=seconds + 10)
        read(HEALTH, answer.body)

    async def aliases(self, targets: Sequence[str]) -> Mapping[str, Aliases]:
        """Return all aliases of each index that one of the targets names. Missing targets are ignored."""
        parameters = {"ignore_unavailable": True, "expand_wildcards": "all"}
        answer = await self._ask("GET", [",".join(targets), "_alias"], parameters)
        return {index: entry["aliases"] for index, entry in read(ALIASES, answer.body).items()}

    async def indices_of(self, alias: str) -> Aliases | None:
        """Return the options of an alias by index, or None if there is no such alias."""
        answer = await self._ask("GET", ["_alias", alias], allowed=(404,))
        if answer.status == 404:
            return None
        return {index: of_index(entry["aliases"], alias) for index, entry in read(ALIASES, answer.body).items()}

    async def update_aliases(self, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Add and remove aliases in one atomic step; return whether all nodes have acknowledged it."""
        try:
            answer = await self._ask("POST", ["_aliases"], body={"actions": list(actions)})
        except EngineError as error:
            if "must_exist" not in error.failure.reason:
                raise
            # Elasticsearch 7.10 and OpenSearch 1 do not know the option, so what it demands is checked before.
            possible = [each for action in actions for each in await self._without_option(action)]
            answer = await self._ask("POST", ["_aliases"], body={"actions": possible})
        return read(ACKNOWLEDGEMENT, answer.body)["acknowledged"]

    async def _without_option(self, action: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Return an action without `must_exist`, or none if it would remove an alias that may be missing and is.

        Raises `EngineError` if the alias has to exist and does not.
        """
        ((kind, options),) = action.items()
        if "must_exist" not in options:
            return [action]
        if options["index"] in (await self.indices_of(options["alias"]) or {}):
            return [{kind: {name: value for name, value in options.items() if name != "must_exist"}}]
        if options["must_exist"]:
            missing = f"the index {options['index']} has no alias {options['alias']}"
            raise EngineError(Failure(404, "aliases_not_found_exception", missing))
        return []

    async def privileges(
        self, names: Sequence[str], privileges: Sequence[str]
    ) -> Mapping[str, Mapping[str, bool]] | None:
        """Return which privileges the login has, by index and privilege, or None if the engine does not say."""
        body = {"index": [{"names": list(names), "privileges": list(privileges)}]}
        answer = await self._ask("POST", ["_security", "user", "_has_privileges"], body=body, allowed=_NO_PRIVILEGES)
        return read(PRIVILEGES, answer.body)["index"] if answer.status == 200 else None

    async def _ask(
        self,
        method: str,
        path: Sequence[str],
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float | None = None,
        allowed: Collection[int] = (),
    ) -> Answer:
        """Send a request with a JSON body; return a response of a status of success, or of one that is `allowed`.

        `path` has its parts as they are, for example the name of an index: they are encoded here. Raises `EngineError`
        for any other status.
        """
        target = "/" + "/".join(map(_quote, path))
        if parameters:
            target += "?" + "&".join(_parameter(*each) for each in parameters.items())
        answer = await self._send(method, target, _ACCEPT_JSON if body is None else _JSON, body, seconds)
        check_status(answer, allowed)
        return answer


def _quote(name: str) -> str:
    return percent_encode(name, safe=",*")


def _parameter(name: str, value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{name}={_quote(text)}"


def check_status(answer: Answer, allowed: Collection[int] = ()) -> None:
    """Raise `EngineError` for a status that is neither one of success nor allowed."""
    if not 200 <= answer.status < 300 and answer.status not in allowed:
        raise EngineError(failure_in(answer))


def failure_in(answer: Answer) -> Failure:
    """Return the failure that an answer of another status than success holds."""
    body = answer.body
    return Failure.from_error(answer.status, body.get("error") if isinstance(body, dict) else body)


def hits_of(found: Page) -> list[StoredDocument]:
    """Return the documents of a page of a search in which every shard has answered. Raises `EngineError`."""
    check_shards(found["_shards"]["failed"], late=found.get("timed_out", False))
    hits = found["hits"]["hits"]
    return [StoredDocument(hit["_id"], hit.get("_routing"), hit["_version"], hit.get("_source")) for hit in hits]


def _document(name: DocumentName, found: Got) -> StoredDocument | Failure | None:
    if "error" in found:
        return Failure.from_error(0, found["error"])
    if not required(found.get("found"), "found"):
        return None
    version = required(found.get("_version"), "_version")
    return StoredDocument(name.id, found.get("_routing"), version, found.get("_source"))


def check_shards(failed: int, *, late: bool = False) -> None:
    """Raise `EngineError` if shards have failed, or if the answer is incomplete because it came `late`."""
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
