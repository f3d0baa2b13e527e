"""The published contract of the sync API: its paths, headers and request bodies, and the envelope of its responses."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cdc_daemon.config.http import HttpSettings
from cdc_daemon.sources.requests import Refresh
from cdc_http.responses import NO_STORE, JsonResponse, RequestError, missing_header, unmappable, wrong_type

PATHS = ("/api/data/v1/index/sync", "/v1/data/sync", "/sync")
"""The published path, the path behind the gateway, and a short path."""

MOST_DAYS = 36_500
"""The maximum number of days to catch up: a hundred years."""

_LONGEST_ID = 256
_MESSAGE_ID = "cdc_http.message_id"

_RESPONSE_CODES = {401: "UNAUTHORIZED", 500: "SERVER_ERROR", 503: "SERVICE_UNAVAILABLE"}


def message_id(request: Request) -> str:
    """Return the caller's id of the request, or a generated one that stays the same for this request."""
    given = request.headers.get("x-request-id") or request.headers.get("x-msgid")
    msgid: str = request.scope.setdefault(_MESSAGE_ID, given[:_LONGEST_ID] if given else str(uuid.uuid4()))
    return msgid


def succeeded(
    msgid: str, result: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """Return the response to a request that was done or accepted."""
    return _answer(msgid, status, result, headers)


def failed(msgid: str, problem: RequestError) -> JsonResponse:
    """Return the response to a request that was not done."""
    return _answer(msgid, problem.status, problem.result, problem.headers, problem)


def _answer(
    msgid: str,
    status: int,
    result: Mapping[str, Any],
    headers: Mapping[str, str] | None,
    problem: RequestError | None = None,
) -> JsonResponse:
    ok = status < 400
    return JsonResponse(
        {
            "id": "api.data.sync",
            "ver": "v1",
            "ts": timestamp(datetime.now(UTC)),
            "params": {
                "resmsgid": msgid,
                "msgid": msgid,
                "err": None if problem is None else problem.code,
                "status": "SUCCESS" if ok else "FAILED",
                "errmsg": None if problem is None else problem.message,
            },
            "responseCode": "OK" if ok else _RESPONSE_CODES.get(status, "CLIENT_ERROR"),
            "result": dict(result),
        },
        status_code=status,
        headers={**NO_STORE, **(headers or {})},
    )


def timestamp(moment: datetime) -> str:
    """Format a moment as live services do: `2023-09-20 12:02:24:452+0000`."""
    return f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03}{moment:%z}"


DOCUMENTED_HEADERS = ("Content-Type", "ts", "X-msgid", "X-Device-ID", "Authorization")
"""The headers that the published documentation requires, in its order."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """A request to replicate rows of a type by their ids: now or as a job, with or without an index refresh first.

    No ids mean all rows of the type, as a job. With `days`, it is for the rows that changed in the last days, as a job.
    With `file`, it is for the ids in this file, as a job. With `reports_invalid`, invalid ids are reported and the
    others are processed.
    """

    object_type: str
    ids: Sequence[Any]
    later: bool
    refresh: Refresh
    days: float | None = None
    file: bytes | None = None
    reports_invalid: bool = False


def check_headers(request: Request, settings: HttpSettings) -> None:
    """Raise `RequestError` for the first header that is missing."""
    required = DOCUMENTED_HEADERS if settings.contract == "documented" else ("Content-Type",)
    for name in required:
        if not request.headers.get(name):
            raise missing_header(name)


def parse_sync_request(request: Request, body: Mapping[str, Any], settings: HttpSettings) -> SyncRequest:
    """Return the request that the body describes. Raises `RequestError`, which names the wrong field."""
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
    operation = inner.get("operationType")
    if operation not in {None, "", "sync", "async"} if isinstance(operation, str | None) else True:
        raise unmappable("operationType", "expected sync or async.")
    whole = inner.get("days") is not None or inner.get("file") is not None
    later = operation == "async" or _prefers_later(request) or whole
    reports_invalid = _reports_invalid(request, later=later)
    if inner.get("days") is not None:
        return SyncRequest(object_type, (), later=True, refresh=refresh, days=_days(inner))
    if inner.get("file") is not None:
        return SyncRequest(object_type, (), later=True, refresh=refresh, file=_file(inner))
    ids = inner.get("objectIds")
    if not isinstance(ids, list):
        raise wrong_type("objectIds", "List")
    lowest = 0 if settings.empty_ids == "all" else 1
    if not lowest <= len(ids) <= settings.max_ids:
        message = f"objectIds should hold {lowest} to {settings.max_ids} ids, found {len(ids)}."
        raise wrong_type("objectIds", "List", message)
    return SyncRequest(object_type, ids, later, refresh, reports_invalid=reports_invalid)


def _file(inner: Mapping[str, Any]) -> bytes:
    content = inner["file"]
    if "objectIds" in inner:
        raise unmappable("file", "expected either file or objectIds, found both.")
    if not isinstance(content, str):
        raise unmappable("file", "expected the content of a file, as a text.")
    return content.encode("utf-8", "surrogatepass")


def _days(inner: Mapping[str, Any]) -> float:
    days = inner["days"]
    if "objectIds" in inner or inner.get("file") is not None:
        raise unmappable("days", "expected days alone, without objectIds and file.")
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= MOST_DAYS:
        raise unmappable("days", f"expected a number above 0, at most {MOST_DAYS}.")
    return float(days)


def _reports_invalid(request: Request, *, later: bool) -> bool:
    given = request.query_params.getlist("invalid")
    if not given:
        return False
    if given != ["report"]:
        raise unmappable("invalid", "expected report, once.")
    if later:
        raise unmappable("invalid", "expected a request that is done before the answer, found one for a job.")
    return True


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


def refuse(request: Request, problem: RequestError) -> Response:
    """Return the error response: the contract's envelope on the contract's paths, otherwise plain JSON."""
    # Not `request.url`: it includes the Host header, with any content.
    if request.scope["path"].startswith(PATHS):
        return failed(message_id(request), problem)
    return JsonResponse({"error": problem.message}, status_code=problem.status, headers={**NO_STORE, **problem.headers})
