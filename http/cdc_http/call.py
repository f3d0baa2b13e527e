"""A request for rows: checks its headers and body against the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from cdc_daemon.config.http import HttpSettings
from cdc_daemon.sources.requests import Refresh
from cdc_http.request_error import missing_header, unmappable, wrong_type

DOCUMENTED_HEADERS = ("Content-Type", "ts", "X-msgid", "X-Device-ID", "Authorization")
"""The headers that the published documentation requires, in its order."""


@dataclass(frozen=True, slots=True)
class SyncCall:
    """A call for rows of a type by their ids: now or later, and with or without a refresh before the answer.

    No ids mean all rows of the type, later.
    """

    object_type: str
    ids: Sequence[Any]
    later: bool
    refresh: Refresh


def check_headers(request: Request, settings: HttpSettings) -> None:
    """Raise `RequestError` for the first header that is missing."""
    required = DOCUMENTED_HEADERS if settings.contract == "documented" else ("Content-Type",)
    for name in required:
        if not request.headers.get(name):
            raise missing_header(name)


def read_call(request: Request, body: Mapping[str, Any], settings: HttpSettings) -> SyncCall:
    """Return the call that the body describes. Raises `RequestError`, which names the wrong field."""
    refresh = _refresh(request.query_params.getlist("refresh"))
    documented = settings.contract == "documented"
    params = body.get("params")
    if params is None and documented:
        raise wrong_type("params", "Object")
    if params is not None and not isinstance(params, dict):
        raise wrong_type("params", "Object")
    inner = body.get("request")
    if not isinstance(inner, dict):
        raise unmappable("request", "expected an object.")
    object_type = inner.get("objectType")
    if not isinstance(object_type, str) or not object_type:
        raise wrong_type("objectType", "String")
    ids = inner.get("objectIds")
    if not isinstance(ids, list):
        raise wrong_type("objectIds", "List")
    lowest = 0 if settings.empty_ids == "all" else 1
    if not lowest <= len(ids) <= settings.max_ids:
        message = f"objectIds should hold {lowest} to {settings.max_ids} ids, found {len(ids)}."
        raise wrong_type("objectIds", "List", message)
    operation = inner.get("operationType")
    if operation not in {None, "", "sync", "async"} if isinstance(operation, str | None) else True:
        raise unmappable("operationType", "expected sync or async.")
    return SyncCall(object_type, ids, operation == "async" or _prefers_later(request), refresh)


def _refresh(given: Sequence[str]) -> Refresh:
    if not given:
        return Refresh.NO
    if len(given) > 1:
        raise unmappable("refresh", f"expected once, found {len(given)} times.")
    try:
        return Refresh(given[0] or "true")
    except ValueError:
        raise unmappable("refresh", "expected true, wait_for or false.") from None


def _prefers_later(request: Request) -> bool:
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return any(preference.split(";")[0].strip().lower() == "respond-async" for preference in preferences)
