"""The host names that the daemon answers to: none that a stranger can bind to its address (DNS rebinding).

A page that a browser has loaded from a name may read all answers from that name's address. The owner of a name can
bind it to any address, also to a loopback or private one, after the page is loaded.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from cdc_daemon.config.http import HttpSettings
from cdc_http.access_log import note
from cdc_http.request_error import RequestError

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
            "The Host header has a name that is not answered. List it in http.allowed_hosts, show a valid token, or "
            "use an address.",
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
