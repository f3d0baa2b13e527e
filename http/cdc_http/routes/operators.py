"""What the endpoints for operators share: authorization, query parameters and responses."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import Response

from cdc_http.auth.authorization import Authorizer
from cdc_http.daemon_view import DaemonView
from cdc_http.responses import INTERNAL, NO_STORE, JsonResponse, RequestError, unavailable


def read_parameter(request: Request, name: str) -> str | None:
    """Return a parameter's value, None when it is not given. Raises `RequestError` when it is given twice."""
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise RequestError(400, "", f"{name}: expected once, found {len(given)} times")
    return given[0] if given else None


def read_flag(request: Request, name: str) -> bool:
    """Return a flag, False when it is not given. Raises `RequestError`."""
    given = read_parameter(request, name)
    if given not in {None, "", "true", "false"}:
        raise RequestError(400, "", f"{name}: expected true or false")
    return given in {"", "true"}


def read_limit(request: Request, most: int) -> int:
    """Return the query's limit on the number of results, 100 by default. Raises `RequestError`."""
    given = read_parameter(request, "limit")
    if given is None:
        return 100
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= most):
        raise RequestError(400, "", f"limit: expected a number of 1 to {most}")
    return int(given)


log = structlog.get_logger(__name__)

View = TypeVar("View")


class OperatorEndpoints:
    """Admits operators to a part of the daemon and answers them in plain JSON that is never cached."""

    def __init__(self, daemon: DaemonView, authorizer: Authorizer) -> None:
        self._daemon = daemon
        self._authorizer = authorizer

    def endpoint(
        self, part: Callable[[DaemonView], View | None], handle: Callable[[Request, View], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that handles an operator's request with a part of the daemon.

        `part` returns None until that part runs. `handle` returns the answer's content or a whole answer. It raises
        `RequestError` when the request cannot be done.
        """

        async def handle_authorized(request: Request) -> Response:
            await self._authorizer.authorize(request, "admin")
            running = part(self._daemon)
            if running is None:
                raise unavailable("The daemon is starting or stopping.")
            found = await handle(request, running)
            return found if isinstance(found, Response) else JsonResponse(found, headers=NO_STORE)

        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                response = await handle_authorized(request)
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
    return JsonResponse({"error": problem.message}, status_code=problem.status, headers=headers)
