"""What an operator does: hold the tail and let it go on. Always for known callers only."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.errors import StoreError
from cdc_http.admission import Admission
from cdc_http.answer import NO_STORE, Json
from cdc_http.letters import drop_letter, list_letters, replay_letter, replay_letters
from cdc_http.request_error import RequestError, unavailable
from cdc_http.view import ControlView, DaemonView


class AdminEndpoint:
    """Answers an operator in plain JSON."""

    def __init__(self, daemon: DaemonView, admission: Admission) -> None:
        self._daemon = daemon
        self._admission = admission

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/admin/pause", self._admitted(_pause), methods=["POST"]),
            Route("/admin/resume", self._admitted(_resume), methods=["POST"]),
            Route("/admin/dead-letters", self._admitted(list_letters), methods=["GET"]),
            Route("/admin/dead-letters/replay", self._admitted(replay_letters), methods=["POST"]),
            Route("/admin/dead-letters/{id:int}/replay", self._admitted(replay_letter), methods=["POST"]),
            Route("/admin/dead-letters/{id:int}", self._admitted(drop_letter), methods=["DELETE"]),
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
                response = Json(await _handle(handle, request, control), headers=NO_STORE)
            except RequestError as problem:
                headers = {**NO_STORE, **problem.headers}
                response = Json({"error": problem.message}, status_code=problem.status, headers=headers)
            self._daemon.answered("admin", response.status_code, time.monotonic() - started)
            return response

        return answer


async def _handle(
    handle: Callable[[Request, ControlView], Awaitable[Any]], request: Request, control: ControlView
) -> Any:
    try:
        return await handle(request, control)
    except StoreError as error:
        raise unavailable(f"The daemon's own state cannot be used: {error.message}") from error


async def _pause(_request: Request, control: ControlView) -> Any:
    control.pause()
    return {"paused": True}


async def _resume(_request: Request, control: ControlView) -> Any:
    control.resume()
    return {"paused": False}
