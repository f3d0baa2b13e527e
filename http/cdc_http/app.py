"""The routes, as a Starlette application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.config.http import HttpSettings
from cdc_http.access_log import AccessLog
from cdc_http.admin import AdminEndpoint
from cdc_http.admin_indices import IndicesEndpoint
from cdc_http.admin_jobs import JobsEndpoint
from cdc_http.admission import Admission
from cdc_http.answer import NO_STORE, Json
from cdc_http.bodies import Bodies
from cdc_http.description import description
from cdc_http.events import Events
from cdc_http.guard import BrowserGuard
from cdc_http.health import health_routes
from cdc_http.page import page_routes
from cdc_http.refusal import refuse
from cdc_http.request_error import RequestError
from cdc_http.sync import SyncEndpoint
from cdc_http.turns import Turns
from cdc_http.view import DaemonView


def create_app(daemon: DaemonView, settings: HttpSettings | None = None, *, events: Events | None = None) -> Starlette:
    """Create the application that answers for `daemon`; `openapi.yaml` describes its answers.

    The caller closes `events` before it stops the server.
    Raises `ConfigError` when files of `settings.auth` cannot be used.
    """
    settings = settings or HttpSettings()
    admission = Admission(settings.auth)
    events = events or Events(daemon)
    turns = Turns(
        settings.max_requests,
        most_waiting=settings.max_waiting,
        patience=min(settings.queue_timeout, settings.sync_timeout / 2),
    )
    bodies = Bodies(settings.most_body_bytes, turns.retry_after)

    async def status(_request: Request) -> Response:
        return Json(dict(daemon.status()), headers=NO_STORE)

    async def openapi(_request: Request) -> Response:
        return Response(description(), media_type="application/yaml")

    app = Starlette(
        routes=[
            *health_routes(daemon),
            Route("/status", status),
            Route("/openapi.yaml", openapi),
            Route("/events", events.endpoint),
            *page_routes(),
            *SyncEndpoint(daemon, settings, admission, bodies=bodies, turns=turns).routes(),
            *AdminEndpoint(daemon, admission).routes(),
            *JobsEndpoint(daemon, settings, admission, bodies=bodies).routes(),
            *IndicesEndpoint(daemon, admission).routes(),
        ],
        exception_handlers={HTTPException: _refuse},
        middleware=[Middleware(AccessLog), Middleware(BrowserGuard, settings, admission)],
    )
    # A redirect would be built from the Host header.
    app.router.redirect_slashes = False
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "RESOURCE_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "CLIENT_ERROR")
    return refuse(request, RequestError(error.status_code, code, f"{error.detail}.", headers=error.headers))
