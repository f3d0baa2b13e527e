"""Protection against requests that another site's page makes a browser send.

Such a page has no token of ours, so a request with a valid token passes.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdc_daemon.config.http import HttpSettings
from cdc_http.access_log import note
from cdc_http.auth.authorization import Authorizer
from cdc_http.contract import refuse
from cdc_http.responses import RequestError

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?", re.IGNORECASE | re.ASCII)
_SHOWN = 256

_RESERVED: Final = ("*.localhost", "*.internal", "*.svc", "*.svc.cluster.local")
"""Names that nobody can register: RFC 6761 (6.3), ICANN's resolution 2024.07.29.06, and names of a cluster's Services,
which end in no top-level domain."""

_TRUSTED = "cdc_http.host"


class HostCheck:
    """Refuses requests whose Host header names none of `http.allowed_hosts`.

    IP addresses are always accepted: DNS rebinding needs a name, and probes of the kubelet carry the pod's address.
    Without the setting, names that no stranger can own are accepted: those without a dot, reserved ones,
    `http.host`, and the machine's name. HTTP/1.0 needs no Host; a browser always sends one.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._usual = settings.allowed_hosts is None
        names = settings.allowed_hosts
        if names is None:
            names = (*_RESERVED, settings.host, socket.gethostname())
        # Only its verdict is used: its own answer is a text that does not help the caller.
        self._middleware = TrustedHostMiddleware(_trusted, allowed_hosts=names, www_redirect=False)

    async def __call__(self, request: Request) -> RequestError | None:
        """Return why the request is refused, None when it is allowed."""
        given = request.headers.get("host")
        if given is None:
            return None
        found = _HOST.fullmatch(given)
        if found is not None and await self._is_known(found[1].strip("[]").rstrip(".").lower()):
            return None
        note(request, host=given[:_SHOWN])
        return RequestError(
            400,
            "CLIENT_ERROR",
            "The name in the Host header is not allowed. Add it to http.allowed_hosts, send a valid token, or use an "
            "IP address.",
        )

    async def _is_known(self, name: str) -> bool:
        if _is_address(name) or (self._usual and name and "." not in name):
            return True
        scope: Scope = {"type": "http", "headers": [(b"host", name.encode())]}
        await self._middleware(scope, _receive, _send)
        return _TRUSTED in scope


async def _trusted(scope: Scope, _receive: Receive, _send: Send) -> None:
    scope[_TRUSTED] = True


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(_message: Message) -> None:
    pass


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""

_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""Content types that a page may send to any site without a preflight (Fetch, CORS-safelisted request-header)."""

_OF_BROWSERS: Final = ("origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")


async def check_origin(request: Request) -> RequestError | None:
    """Return why a request that would change something is refused, None when it is allowed."""
    if request.method in _SAFE:
        return None
    headers = request.headers
    if _is_foreign(headers):
        return _refusal("It comes from another site's page.")
    if _is_form(headers) and _is_from_browser(headers):
        return _refusal("It is a form that a browser sent.")
    return None


def _is_foreign(headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in {"same-origin", "none"}
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").split(";")[0].strip().lower() in _FORMS


def _is_from_browser(headers: Headers) -> bool:
    return any(name in headers for name in _OF_BROWSERS) or headers.get("user-agent", "").startswith("Mozilla/")


def _refusal(why: str) -> RequestError:
    return RequestError(403, "FORBIDDEN", f"The request needs a valid token. {why}")


Check = Callable[[Request], Awaitable[RequestError | None]]
"""Returns why a request is refused, None when it is allowed."""

_NO_SNIFF = (b"x-content-type-options", b"nosniff")


class BrowserGuard:
    """Wraps an application. Each answer tells browsers to trust its content type (no sniffing)."""

    def __init__(self, app: ASGIApp, settings: HttpSettings, authorizer: Authorizer) -> None:
        self._app = app
        self._checks: Sequence[tuple[str, Check]] = (("host", HostCheck(settings)), ("origin", check_origin))
        self._authorizer = authorizer
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
            await self._authorizer.authorize(request, "sync")
        except RequestError as problem:
            if problem.status == 503:
                raise
            # 403: the token is valid, but for another scope. The endpoint decides about that.
            return problem.status == 403
        return True
