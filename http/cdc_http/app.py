"""The applications: all routes with their middleware, and the probes of the health port."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from cdc_daemon.config.http import HttpSettings
from cdc_http.access_log import AccessLog
from cdc_http.auth.authorization import Authorizer, LocalAuthorizer
from cdc_http.auth.browser_guard import BrowserGuard
from cdc_http.contract import refuse
from cdc_http.daemon_view import DaemonView, HealthView
from cdc_http.limits.body_memory import BodyMemory
from cdc_http.limits.request_queue import RequestQueue
from cdc_http.responses import RequestError
from cdc_http.routes.admin import AdminEndpoint
from cdc_http.routes.health import health_routes
from cdc_http.routes.indices import IndicesEndpoint
from cdc_http.routes.pages import page_routes
from cdc_http.routes.status import StatusStream
from cdc_http.routes.sync import SyncEndpoint
from cdc_http.routes.table_jobs import TableJobsEndpoint


def create_app(
    daemon: DaemonView,
    settings: HttpSettings | None = None,
    *,
    events: StatusStream | None = None,
    authorizer: Authorizer | None = None,
) -> Starlette:
    """Create the application that answers for `daemon`; `openapi.yaml` describes its answers.

    The caller closes `events` before it stops the server. Without an `authorizer`, `settings.auth` is used.
    Raises `ConfigError` when files of `settings.auth` cannot be used.
    """
    settings = settings or HttpSettings()
    authorizer = authorizer or Authorizer(settings.auth)
    events = events or StatusStream(daemon)
    queue = RequestQueue(
        settings.max_requests,
        max_waiting=settings.max_waiting,
        max_wait=min(settings.queue_timeout, settings.sync_timeout / 2),
    )
    body_memory = BodyMemory(settings.most_body_bytes, queue.retry_after)

    app = Starlette(
        routes=[
            *health_routes(daemon),
            *events.routes(),
            *page_routes(),
            *SyncEndpoint(daemon, settings, authorizer, body_memory=body_memory, queue=queue).routes(),
            *AdminEndpoint(daemon, authorizer).routes(),
            *TableJobsEndpoint(daemon, settings, authorizer, body_memory=body_memory).routes(),
            *IndicesEndpoint(daemon, authorizer).routes(),
        ],
        exception_handlers={HTTPException: _refuse},
        middleware=[Middleware(AccessLog), Middleware(BrowserGuard, settings, authorizer)],
    )
    # A redirect would be built from the Host header.
    app.router.redirect_slashes = False
    return app


def create_control_app(
    daemon: DaemonView, settings: HttpSettings | None = None, *, events: StatusStream | None = None
) -> Starlette:
    """Create the application of the control socket: the same routes, for callers that need no token.

    No browser reaches the socket, so each Host header is accepted.
    """
    local = (settings or HttpSettings()).model_copy(update={"allowed_hosts": ("*",)})
    return create_app(daemon, local, events=events, authorizer=LocalAuthorizer())


def create_health_app(daemon: HealthView) -> Starlette:
    """Create the application of the health port: only the probes and the metrics."""
    app = Starlette(routes=health_routes(daemon), middleware=[Middleware(AccessLog)])
    # A redirect would be built from the Host header, which a caller can choose.
    app.router.redirect_slashes = False
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "RESOURCE_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "CLIENT_ERROR")
    return refuse(request, RequestError(error.status_code, code, f"{error.detail}.", headers=error.headers))
