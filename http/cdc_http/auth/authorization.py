"""Authorization: checks a caller's token against the scopes that the configuration allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request

from cdc_daemon.config.http import AuthSettings, Scope
from cdc_http.access_log import note
from cdc_http.auth.tokens import Caller, ConfiguredTokens, JsonWebTokens, KeysUnavailableError
from cdc_http.responses import RequestError, unavailable

UNAUTHENTICATED = "unauthenticated local"
"""Name of a caller without a token."""

_CALLER = "cdc_http.caller"


def set_caller(request: Request, caller: Caller) -> None:
    """Record the owner of a request's token with the request."""
    request.scope[_CALLER] = caller


def caller_of(request: Request) -> Caller | None:
    """Return the owner of a request's valid token; None without one."""
    caller = request.scope.get(_CALLER)
    return caller if isinstance(caller, Caller) else None


def caller_name(request: Request) -> str:
    """Return the name of the token's owner: its `name` in the configuration, or the subject of a signed token."""
    caller = caller_of(request)
    return UNAUTHENTICATED if caller is None else caller.name


class TokenRegistry(Protocol):
    """Identifies callers by their tokens."""

    async def find(self, token: str) -> Caller | None:
        """Return the token's owner, None for an unknown token. Raises `KeysUnavailableError`."""
        ...


class Authorizer:
    """Admits or refuses callers. The log may name a token's owner, but shows no part of the token."""

    def __init__(self, settings: AuthSettings) -> None:
        registries: list[TokenRegistry] = []
        if settings.tokens:
            registries.append(ConfiguredTokens(settings.tokens))
        if settings.jwt is not None:
            registries.append(JsonWebTokens(settings.jwt))
        self._registries: Sequence[TokenRegistry] = registries

    async def authorize(self, request: Request, scope: Scope) -> None:
        """Check that the caller may do this. Raises `RequestError` (401, 403, or 503 when the keys are unavailable)."""
        if not self._registries:
            if scope == "sync":
                return
            raise RequestError(403, "FORBIDDEN", "Administration requires http.auth in the configuration.")
        token = _bearer(request)
        if token is None:
            raise _unauthorized("A bearer token is required.", 'Bearer realm="cdc-daemon"')
        unknown_for_now = False
        for registry in self._registries:
            try:
                caller = await registry.find(token)
            except KeysUnavailableError:
                unknown_for_now = True
                continue
            if caller is None:
                continue
            note(request, caller=caller.name)
            set_caller(request, caller)
            if scope not in caller.scopes:
                raise RequestError(403, "FORBIDDEN", "The token does not allow this.")
            return
        if unknown_for_now:
            raise unavailable("The keys that verify tokens are unavailable.", service="daemon")
        raise _unauthorized("The token is not valid.", 'Bearer realm="cdc-daemon", error="invalid_token"')


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token else None


def _unauthorized(message: str, challenge: str) -> RequestError:
    return RequestError(401, "UNAUTHORIZED", message, headers={"www-authenticate": challenge})


LOCAL_OPERATOR = Caller("local operator", frozenset({"sync", "admin"}))
"""The caller on the control socket, which only processes of the daemon's user can open."""


class LocalAuthorizer(Authorizer):
    """Admits each caller as the local operator, for the control socket."""

    def __init__(self) -> None:
        super().__init__(AuthSettings())

    async def authorize(self, request: Request, scope: Scope) -> None:  # noqa: ARG002 -- all scopes are allowed
        """Record the caller with the request."""
        note(request, caller=LOCAL_OPERATOR.name)
        set_caller(request, LOCAL_OPERATOR)
