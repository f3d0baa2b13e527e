"""A guard against requests that a page of another site makes a browser send.

Such a page has no token of ours, so a request with a valid token passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdc_daemon.config.http import HttpSettings
from cdc_http.access_log import note
from cdc_http.admission import Admission
from cdc_http.hosts import HostCheck
from cdc_http.origins import check_origin
from cdc_http.refusal import refuse
from cdc_http.request_error import RequestError

Check = Callable[[Request], Awaitable[RequestError | None]]
"""Returns why a request is refused, None when it is allowed."""

_NO_SNIFF = (b"x-content-type-options", b"nosniff")


class BrowserGuard:
    """Wraps an application. Each answer tells browsers to trust its content type (no sniffing)."""

    def __init__(self, app: ASGIApp, settings: HttpSettings, admission: Admission) -> None:
        self._app = app
        self._checks: Sequence[tuple[str, Check]] = (("host", HostCheck(settings)), ("origin", check_origin))
        self._admission = admission
        self._tokens = settings.auth.required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_unsniffed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                if all(name != _NO_SNIFF[0] for name, _ in headers):
                    message["headers"] = [*headers, _NO_SNIFF]
            await send(message)

        request = Request(scope)
        problem = await self._problem(request)
        answer = self._app if problem is None else refuse(request, problem)
        await answer(scope, receive, send_unsniffed)

    async def _problem(self, request: Request) -> RequestError | None:
        for name, check in self._checks:
            problem = await check(request)
            if problem is None:
                continue
            try:
                if await self._shows_token(request):
                    return None
            except RequestError as unknown:
                return unknown
            note(request, refused=name)
            return problem
        return None

    async def _shows_token(self, request: Request) -> bool:
        """Return whether the caller shows a valid token. Raises `RequestError` (503) when that cannot be checked."""
        if not self._tokens:
            return False
        try:
            await self._admission.admit(request, "sync")
        except RequestError as problem:
            if problem.status == 503:
                raise
            # 403: the token is valid, but for another scope. The endpoint decides about that.
            return problem.status == 403
        return True
