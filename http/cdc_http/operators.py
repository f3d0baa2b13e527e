"""Endpoints for operators only: admission and answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import Response

from cdc_http.admission import Admission
from cdc_http.answer import NO_STORE, Json
from cdc_http.request_error import INTERNAL, RequestError, unavailable
from cdc_http.view import DaemonView

log = structlog.get_logger(__name__)

View = TypeVar("View")


class Operators:
    """Admits operators to a part of the daemon and answers them in plain JSON that is never cached."""

    def __init__(self, daemon: DaemonView, admission: Admission) -> None:
        self._daemon = daemon
        self._admission = admission

    def admitted(
        self, part: Callable[[DaemonView], View | None], handle: Callable[[Request, View], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that handles an operator's request with a part of the daemon.

        `part` returns None until that part runs. `handle` returns the answer's content or a whole answer. It raises
        `RequestError` when the request cannot be done.
        """

        async def admit(request: Request) -> Response:
            await self._admission.admit(request, "admin")
            running = part(self._daemon)
            if running is None:
                raise unavailable("The daemon is starting or stopping.")
            found = await handle(request, running)
            return found if isinstance(found, Response) else Json(found, headers=NO_STORE)

        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                response = await admit(request)
            except RequestError as problem:
                response = _refused(problem)
            except Exception:
                log.exception("http.failed", route="admin")
                response = _refused(RequestError(500, INTERNAL, "server error"))
            self._daemon.answered("admin", response.status_code, time.monotonic() - started)
            return response

        return answer


def _refused(problem: RequestError) -> Response:
    headers = {**NO_STORE, **problem.headers}
    return Json({"error": problem.message}, status_code=problem.status, headers=headers)
