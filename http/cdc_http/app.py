"""The routes, as a Starlette application."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cdc_http.view import DaemonView

_NO_STORE = {"cache-control": "no-store"}


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


def create_app(daemon: DaemonView) -> Starlette:
    """Make the application that answers for `daemon`.

    `GET /metrics` is Prometheus' text format, or OpenMetrics where the Accept header asks for it;
    `GET /livez` is 200 while every loop beats and 503 otherwise; `GET /status` is JSON.
    """

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(daemon.registry), headers={"content-type": content_type, **_NO_STORE})

    async def livez(_request: Request) -> Response:
        loops = daemon.livez()
        ok = all(loop.ok for loop in loops.values())
        states = {name: {"ok": loop.ok, "last_beat": _moment(loop.last_beat)} for name, loop in loops.items()}
        return _Json({"ok": ok, "loops": states}, status_code=200 if ok else 503, headers=_NO_STORE)

    async def status(_request: Request) -> Response:
        return _Json(dict(daemon.status()), headers=_NO_STORE)

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/livez", livez), Route("/status", status)],
        exception_handlers={HTTPException: _refuse},
    )


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _Json({"error": error.detail}, status_code=error.status_code, headers=error.headers)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
