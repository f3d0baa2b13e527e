"""What only operators may ask, and how they are answered."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from cdc_http.admission import Admission
from cdc_http.answer import NO_STORE, Json
from cdc_http.request_error import RequestError, unavailable
from cdc_http.view import DaemonView

View = TypeVar("View")


class Operators:
    """Admits operators to a part of the daemon and answers them in plain JSON that nobody keeps."""

    def __init__(self, daemon: DaemonView, admission: Admission) -> None:
        self._daemon = daemon
        self._admission = admission

    def admitted(
        self, part: Callable[[DaemonView], View | None], handle: Callable[[Request, View], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that has an operator's request handled with the part, which is None until it runs.

        `handle` returns the answer's content or a whole answer, and raises `RequestError` for what cannot be done.
        """

        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                await self._admission.admit(request, "admin")
                running = part(self._daemon)
                if running is None:
                    raise unavailable("The daemon is starting or stopping.")
                found = await handle(request, running)
                response = found if isinstance(found, Response) else Json(found, headers=NO_STORE)
            except RequestError as problem:
                headers = {**NO_STORE, **problem.headers}
                response = Json({"error": problem.message}, status_code=problem.status, headers=headers)
            self._daemon.answered("admin", response.status_code, time.monotonic() - started)
            return response

        return answer
