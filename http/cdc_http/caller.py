"""Who asks."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from cdc_daemon.config.http import Scope

UNAUTHENTICATED = "unauthenticated local"
"""What a caller without a token is called."""

_CALLER = "cdc_http.caller"


class Caller(NamedTuple):
    """A caller whose token is known: what they are called in the log, and what they may do."""

    name: str
    scopes: frozenset[Scope]


def keep_caller(request: Request, caller: Caller) -> None:
    """Keep with a request whose token it shows."""
    request.scope[_CALLER] = caller


def kept_caller(request: Request) -> Caller | None:
    """Return whose valid token a request shows; None without one."""
    caller = request.scope.get(_CALLER)
    return caller if isinstance(caller, Caller) else None


def caller_name(request: Request) -> str:
    """Return the name of the token's owner: its `name` in the configuration, or the subject of a signed token."""
    caller = kept_caller(request)
    return UNAUTHENTICATED if caller is None else caller.name
