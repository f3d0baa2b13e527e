"""The caller of a request."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from cdc_daemon.config.http import Scope

UNAUTHENTICATED = "unauthenticated local"
"""Name of a caller without a token."""

_CALLER = "cdc_http.caller"


class Caller(NamedTuple):
    """A caller with a known token: the name for the log, and the allowed scopes."""

    name: str
    scopes: frozenset[Scope]


def keep_caller(request: Request, caller: Caller) -> None:
    """Record the owner of a request's token with the request."""
    request.scope[_CALLER] = caller


def kept_caller(request: Request) -> Caller | None:
    """Return the owner of a request's valid token; None without one."""
    caller = request.scope.get(_CALLER)
    return caller if isinstance(caller, Caller) else None


def caller_name(request: Request) -> str:
    """Return the name of the token's owner: its `name` in the configuration, or the subject of a signed token."""
    caller = kept_caller(request)
    return UNAUTHENTICATED if caller is None else caller.name
