"""A small Elasticsearch over real HTTP, whose answers a test decides one by one."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from cdc_daemon.search.bulk_body import GUARD_ID

PRODUCT = {"X-Elastic-Product": "Elasticsearch"}

SHAPES: tuple[Any, ...] = ([], None, {"x": True}, True, 7, "text", [[]], [None])
"""What stands in an answer's place, or in that of a part of it."""

ACKNOWLEDGED = {"acknowledged": True}
REFRESHED = {"_shards": {"total": 1, "successful": 1, "failed": 0}}

Reply = Callable[["Seen", web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """One `_bulk` request as it came: each action with its metadata and its document."""

    query: dict[str, str]
    size: int
    actions: list[tuple[str, dict[str, Any], Any]]

    @property
    def ids(self) -> list[str]:
        return [meta["_id"] for _, meta, _ in self.actions]

    @property
    def is_probe(self) -> bool:
        return all(action == "update" for action, _, _ in self.actions)


class FakeElasticsearch:
    """Answers each `_bulk` by the next scripted reply; without one, every operation succeeds.

    Probes (requests of guards alone) have a script of their own. `other` answers everything else.
    """

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.probe_script: deque[Reply] = deque()
        self.requests: list[Seen] = []
        self.probes: list[Seen] = []
        self.others: list[tuple[str, str, Any]] = []
        self.other: Callable[[str, str, Any], web.Response] = lambda _method, _path, _body: refused(404, "not_scripted")
        self.under_way = 0
        self.most_under_way = 0
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._arrival = asyncio.Condition()

    async def wait_for_requests(self, count: int) -> None:
        """Wait until so many bulk requests (probes not counted) have arrived."""
        async with self._arrival, asyncio.timeout(10):
            await self._arrival.wait_for(lambda: len(self.requests) >= count)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if request.path != "/_bulk":
            body = json.loads(raw) if raw else None
            self.others.append((request.method, request.path_qs, body))
            return self.other(request.method, request.path, body)
        seen = Seen(dict(request.query), len(raw), parse_bulk(raw))
        if seen.is_probe:
            self.probes.append(seen)
            reply = self.probe_script.popleft() if self.probe_script else succeed
        else:
            self.requests.append(seen)
            reply = self.script.popleft() if self.script else succeed
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        async with self._arrival:
            self._arrival.notify_all()
        try:
            return await reply(seen, request)
        finally:
            self.under_way -= 1


def parse_bulk(raw: bytes) -> list[tuple[str, dict[str, Any], Any]]:
    assert raw.endswith(b"\n")
    lines = iter(raw.decode().split("\n")[:-1])
    actions: list[tuple[str, dict[str, Any], Any]] = []
    for line in lines:
        ((action, meta),) = json.loads(line).items()
        actions.append((action, meta, None if action == "delete" else json.loads(next(lines))))
    return actions


def answer(items: list[dict[str, Any]], *, errors: bool, status: int = 200) -> web.Response:
    return web.json_response({"errors": errors, "items": items}, status=status, headers=PRODUCT)


def error(status: int, error_type: str, reason: str = "because") -> dict[str, Any]:
    return {"status": status, "error": {"type": error_type, "reason": reason}}


def good_item(action: str, meta: dict[str, Any]) -> dict[str, Any]:
    if action == "update" and meta["_id"] == GUARD_ID:
        return {action: error(404, "document_missing_exception")}
    return {action: {"status": 201 if action == "index" else 200}}


async def succeed(seen: Seen, request: web.Request) -> web.StreamResponse:
    items = [good_item(action, meta) for action, meta, _ in seen.actions]
    return answer(items, errors=any(action == "update" for action, _, _ in seen.actions))


def failing(failures: dict[str, dict[str, Any]]) -> Reply:
    """Answer the named ids with these items, all others with success."""

    async def reply(seen: Seen, request: web.Request) -> web.StreamResponse:
        items = [
            {action: failures[meta["_id"]]} if meta["_id"] in failures else good_item(action, meta)
            for action, meta, _ in seen.actions
        ]
        return answer(items, errors=True)

    return reply


def all_failing(status: int, error_type: str, reason: str = "because") -> Reply:
    async def reply(seen: Seen, request: web.Request) -> web.StreamResponse:
        return answer([{action: error(status, error_type, reason)} for action, _, _ in seen.actions], errors=True)

    return reply


def refused(status: int, error_type: str, reason: str = "because") -> web.Response:
    body = {"error": {"root_cause": [], "type": error_type, "reason": reason}, "status": status}
    return web.json_response(body, status=status, headers=PRODUCT)


def refusing(status: int, error_type: str, reason: str = "because") -> Reply:
    async def reply(seen: Seen, request: web.Request) -> web.StreamResponse:
        return refused(status, error_type, reason)

    return reply


def saying(status: int, text: str, content_type: str = "text/html") -> Reply:
    async def reply(seen: Seen, request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=text.encode(), headers={"Content-Type": content_type})

    return reply


async def reset_mid_body(seen: Seen, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={**PRODUCT, "Content-Type": "application/json", "Content-Length": "5000"})
    await response.prepare(request)
    await response.write(b'{"errors":false,"items":[')
    assert request.transport is not None
    request.transport.abort()
    return response


async def truncated(seen: Seen, request: web.Request) -> web.StreamResponse:
    return web.Response(
        body=b'{"errors":false,"items":[{"index":{"sta', headers={**PRODUCT, "Content-Type": "application/json"}
    )


async def never(seen: Seen, request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return await succeed(seen, request)


class SwapAliases:
    """The aliases of a live index and of one that is being built, which may or may not be changed."""

    def __init__(self) -> None:
        self.changeable = False
        self.indices: dict[str, dict[str, Any]] = {
            "users-1": {"users": {}, "users-1-direct": {}},
            "users-2": {"users-building": {}, "users-2-direct": {}},
        }

    def reply(self, method: str, _path: str, body: Any) -> web.Response:
        if method == "GET":
            told = {index: {"aliases": names} for index, names in self.indices.items()}
            return web.json_response(told, headers=PRODUCT)
        if not self.changeable:
            return refused(503, "process_cluster_event_timeout_exception")
        for action in body["actions"]:
            self.indices[action["add"]["index"]][action["add"]["alias"]] = {}
        return web.json_response({"acknowledged": True}, headers=PRODUCT)
