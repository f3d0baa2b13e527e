"""What an operator does: hold the tail and let it go on, look at dead letters. Always for known callers only."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.store.dead_letters import DeadLetter
from cdc_http.admission import Admission
from cdc_http.answer import NO_STORE, Json
from cdc_http.request_error import RequestError, unavailable
from cdc_http.view import ControlView, DaemonView

MOST_LETTERS = 1000


class AdminEndpoint:
    """Answers an operator in plain JSON."""

    def __init__(self, daemon: DaemonView, admission: Admission) -> None:
        self._daemon = daemon
        self._admission = admission

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/admin/pause", self._admitted(self._pause), methods=["POST"]),
            Route("/admin/resume", self._admitted(self._resume), methods=["POST"]),
            Route("/admin/dead-letters", self._admitted(self._dead_letters), methods=["GET"]),
        ]

    def _admitted(
        self, handle: Callable[[Request, ControlView], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                await self._admission.admit(request, "admin")
                control = self._daemon.control
                if control is None:
                    raise unavailable("The daemon is starting or stopping.")
                response = Json(await handle(request, control), headers=NO_STORE)
            except RequestError as problem:
                headers = {**NO_STORE, **problem.headers}
                response = Json({"error": problem.message}, status_code=problem.status, headers=headers)
            self._daemon.answered("admin", response.status_code, time.monotonic() - started)
            return response

        return answer

    async def _pause(self, _request: Request, control: ControlView) -> Any:
        control.pause()
        return {"paused": True}

    async def _resume(self, _request: Request, control: ControlView) -> Any:
        control.resume()
        return {"paused": False}

    async def _dead_letters(self, request: Request, control: ControlView) -> Any:
        given = request.query_params.get("limit", "100")
        if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST_LETTERS):
            raise RequestError(400, "", f"limit: expected a number of 1 to {MOST_LETTERS}")
        return {"dead_letters": [_plain(letter) for letter in await control.dead_letters(int(given))]}


def _plain(letter: DeadLetter) -> dict[str, Any]:
    clustering = letter.clustering
    return {
        "id": letter.id,
        "at": None if letter.at is None else letter.at / 1e6,
        "kind": letter.kind,
        "reason": letter.reason,
        "keyspace": letter.keyspace,
        "table": letter.table,
        "partition_key": None if letter.partition_key is None else letter.partition_key.hex(),
        "clustering": None if clustering is None else [None if part is None else part.hex() for part in clustering],
        "segment_id": letter.segment_id,
        "position": letter.position,
        "detail": dict(letter.detail),
        "payload_bytes": None if letter.payload is None else len(letter.payload),
    }
