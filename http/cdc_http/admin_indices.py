"""The indices behind the aliases: told of, put back, removed. Always for known callers only."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.errors import CdcError, IndexPairError
from cdc_daemon.sync import TooManyJobsError, UnknownObjectTypeError
from cdc_http.admission import Admission
from cdc_http.answer import NO_STORE, Json
from cdc_http.letters import read_flag
from cdc_http.request_error import RequestError, unavailable
from cdc_http.view import DaemonView, IndicesView


class IndicesEndpoint:
    """Answers an operator in plain JSON."""

    def __init__(self, daemon: DaemonView, admission: Admission) -> None:
        self._daemon = daemon
        self._admission = admission

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/admin/indices", self._admitted(_list), methods=["GET"]),
            Route("/admin/indices/{type}/rollback", self._admitted(_rollback), methods=["POST"]),
            Route("/admin/indices/{type}/drop", self._admitted(_drop), methods=["POST"]),
        ]

    def _admitted(
        self, handle: Callable[[Request, IndicesView], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                await self._admission.admit(request, "admin")
                indices = self._daemon.indices
                if indices is None:
                    raise unavailable("The daemon is starting or stopping.")
                response = Json(await _handle(handle, request, indices), headers=NO_STORE)
            except RequestError as problem:
                headers = {**NO_STORE, **problem.headers}
                response = Json({"error": problem.message}, status_code=problem.status, headers=headers)
            self._daemon.answered("admin", response.status_code, time.monotonic() - started)
            return response

        return answer


async def _handle(
    handle: Callable[[Request, IndicesView], Awaitable[Any]], request: Request, indices: IndicesView
) -> Any:
    try:
        return await handle(request, indices)
    except UnknownObjectTypeError as error:
        raise RequestError(404, "", f"{error.message}.") from None
    except IndexPairError as error:
        raise RequestError(409, "", str(error)) from None
    except TooManyJobsError as error:
        raise RequestError(429, "", f"{error.message}.", headers={"retry-after": "60"}) from None
    except CdcError as error:
        raise unavailable(str(error)) from None


async def _list(_request: Request, indices: IndicesView) -> Any:
    return {"indices": await indices.list()}


async def _rollback(request: Request, indices: IndicesView) -> Any:
    return await indices.rollback(
        request.path_params["type"], dry_run=read_flag(request, "dry_run"), behind=read_flag(request, "behind")
    )


async def _drop(request: Request, indices: IndicesView) -> Any:
    return await indices.drop(request.path_params["type"], dry_run=read_flag(request, "dry_run"))
