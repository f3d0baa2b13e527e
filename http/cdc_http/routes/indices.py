"""The indices behind the aliases: list, roll back, delete. Only for authenticated callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.model.errors import CdcError, IndexSwapError
from cdc_daemon.sources.requests import TooManyJobsError, UnknownObjectTypeError
from cdc_http.auth.authorization import Authorizer
from cdc_http.daemon_view import DaemonView, IndicesView
from cdc_http.responses import RequestError, unavailable
from cdc_http.routes.operators import OperatorEndpoints, read_flag


class IndicesEndpoint:
    """Lists, rolls back and drops indices. Answers are plain JSON."""

    def __init__(self, daemon: DaemonView, authorizer: Authorizer) -> None:
        self._operators = OperatorEndpoints(daemon, authorizer)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/admin/indices", self._endpoint(_list), methods=["GET"]),
            Route("/admin/indices/{type}/rollback", self._endpoint(_rollback), methods=["POST"]),
            Route("/admin/indices/{type}/drop", self._endpoint(_drop), methods=["POST"]),
        ]

    def _endpoint(
        self, handle: Callable[[Request, IndicesView], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        return self._operators.endpoint(lambda daemon: daemon.indices, _with_error_responses(handle))


def _with_error_responses(
    handle: Callable[[Request, IndicesView], Awaitable[Any]],
) -> Callable[[Request, IndicesView], Awaitable[Any]]:
    """Return a handler that answers its errors with an HTTP status."""

    async def handle_with_errors(request: Request, indices: IndicesView) -> Any:
        try:
            return await handle(request, indices)
        except UnknownObjectTypeError as error:
            raise RequestError(404, "", f"{error.message}.") from None
        except IndexSwapError as error:
            raise RequestError(409, "", str(error)) from None
        except TooManyJobsError as error:
            raise RequestError(429, "", f"{error.message}.", headers={"retry-after": "60"}) from None
        except CdcError as error:
            raise unavailable(str(error)) from None

    return handle_with_errors


async def _list(_request: Request, indices: IndicesView) -> Any:
    return {"indices": await indices.list()}


async def _rollback(request: Request, indices: IndicesView) -> Any:
    return await indices.rollback(
        request.path_params["type"], dry_run=read_flag(request, "dry_run"), behind=read_flag(request, "behind")
    )


async def _drop(request: Request, indices: IndicesView) -> Any:
    return await indices.drop(request.path_params["type"], dry_run=read_flag(request, "dry_run"))
