"""Elasticsearch's `_bulk` and `_mget` for the bulk writer: sends bytes, returns items or a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from cdc_daemon.model.document_operation import Operation
from cdc_daemon.search.bulk_body import Target, Trouble, encode_guard
from cdc_daemon.search.failure import BROKEN_ANSWER, Failure, Kind, failure_of

Item = dict[str, Any]
"""One entry of a bulk answer: `status`, and `error` if it failed."""

HEALTHY_GUARD = "document_missing_exception"

_FILTER = "error,errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
"""The filter keeps the status of each item: with errors alone, they could not be matched to operations.

The filter also applies to the response to a request rejected as a whole, hence `error`. The response to 1000
successful operations is about 30 kB instead of 250 kB.
"""

_NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}
_JSON = {"accept": "application/json", "content-type": "application/json"}


class BulkEndpoint:
    """Sends bulk requests and probes. It retries nothing and raises no error of Elasticsearch.

    `request_timeout` is in seconds. Elasticsearch waits only half as long for a shard or for a mapping
    update, so that it answers before the connection times out.
    """

    def __init__(self, client: AsyncElasticsearch, *, request_timeout: float, probe_timeout: float) -> None:
        self._client = client.options(request_timeout=request_timeout)
        self._prober = client.options(request_timeout=probe_timeout)
        self._path = _bulk_path(request_timeout)
        self._probe_path = _bulk_path(probe_timeout)

    async def send(self, body: bytes, count: int, *, deletions: bool = False) -> list[Item] | Failure | None:
        """Send a request of `count` actions; return the items in order, or None if none of them failed.

        With `deletions` there are always items: they say whether the document existed.
        A `Failure` is a failure of the whole request.
        """
        return await _send(self._client, self._path, body, count, every=deletions)

    async def probe(self, targets: Sequence[Target]) -> Failure | Sequence[Trouble]:
        """Check whether each target accepts writes now, without writing anything.

        Returns the trouble of single aliases. A `Failure` is a failure of Elasticsearch as a whole: if a request is
        rejected because of one alias, each target is probed alone to find that alias.
        """
        found = await self._probe(targets)
        if not isinstance(found, Failure) or found.kind is not Kind.OPERATOR or len(targets) == 1:
            return found
        alone = [(target, await self._probe([target])) for target in targets]
        if all(isinstance(each, Failure) for _, each in alone):
            return found
        return [
            trouble
            for target, each in alone
            for trouble in ([Trouble(each, (target,))] if isinstance(each, Failure) else each)
        ]

    async def _probe(self, targets: Sequence[Target]) -> Failure | Sequence[Trouble]:
        body = b"\n".join([*map(encode_guard, targets), b""])
        items = await _send(self._prober, self._probe_path, body, len(targets))
        if isinstance(items, Failure):
            return [] if items.kind is Kind.OVERLOAD else items
        found: list[Trouble] = []
        for target, item in zip(targets, items or (), strict=False):
            failure = guard_failure(item)
            if failure is not None and failure.is_of_cluster:
                return failure
            if failure is not None:
                found.append(Trouble(failure, (target,)))
        return found

    async def versions(self, operations: Sequence[Operation]) -> list[int | None]:
        """Return the current versions of the operations' documents; None where no version is available."""
        wanted = [
            {"_index": operation.alias, "_id": operation.id}
            | ({} if operation.routing is None else {"routing": operation.routing})
            for operation in operations
        ]
        path = "/_mget?_source=false&filter_path=docs._id,docs._version"
        try:
            answer = await self._client.perform_request(
                "POST", path, headers=_JSON, body=orjson.dumps({"docs": wanted})
            )
        except (ApiError, TransportError):
            return [None] * len(operations)
        found = answer.body.get("docs") if isinstance(answer.body, dict) else None
        if not isinstance(found, list) or len(found) != len(operations):
            return [None] * len(operations)
        versions = [document.get("_version") if isinstance(document, dict) else None for document in found]
        return [version if type(version) is int else None for version in versions]


def guard_failure(item: Item) -> Failure | None:
    """Return the failure of an alias that a guard's item reports, or None if a write would have succeeded."""
    error = item.get("error")
    if error is None:
        return None
    failure = Failure.from_error(item["status"], error)
    if failure.error_type == HEALTHY_GUARD or failure.kind not in {Kind.OPERATOR, Kind.UNAVAILABLE}:
        return None
    return failure


def _bulk_path(request_timeout: float) -> str:
    return f"/_bulk?require_alias=true&timeout={int(request_timeout * 500)}ms&filter_path={_FILTER}"


async def _send(
    client: AsyncElasticsearch, path: str, body: bytes, count: int, *, every: bool = False
) -> list[Item] | Failure | None:
    try:
        answer = await client.perform_request("POST", path, headers=_NDJSON, body=body)
    except (ApiError, TransportError) as error:
        return failure_of(error)
    return _read(answer.body, count, every=every)


def _read(answer: Any, count: int, *, every: bool) -> list[Item] | Failure | None:
    try:
        items, errors = answer["items"], answer["errors"]
        if len(items) != count:
            return Failure(0, BROKEN_ANSWER, f"expected {count} items in the answer, found {len(items)}")
        flat: list[Item] = []
        failed = False
        for item in items:
            ((action, told),) = item.items()
            status, error = told["status"], told.get("error")
            failed = failed or error is not None
            # Check the exact type, as `True` is no status. A deletion of a missing document has 404 and no error.
            if type(status) is not int or not (error or 200 <= status < 300 or (status == 404 and action == "delete")):
                return _no_answer()
            flat.append(told)
        if type(errors) is not bool:
            return _no_answer()
    except (KeyError, TypeError, AttributeError, ValueError):
        return _no_answer()
    return flat if every or errors or failed else None


def _no_answer() -> Failure:
    return Failure(0, BROKEN_ANSWER, "expected the answer to a bulk request, found something else")
