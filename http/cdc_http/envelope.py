"""The envelope of every answer of the sync contract: it always has all keys, with null for missing values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from cdc_http.answer import NO_STORE, Json
from cdc_http.request_error import RequestError

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
) -> Json:
    """Return the answer to a request that was done or accepted."""
    return _answer(msgid, status, result, headers)


def failed(msgid: str, problem: RequestError) -> Json:
    """Return the answer to a request that was not done."""
    return _answer(msgid, problem.status, problem.result, problem.headers, problem)


def _answer(
    msgid: str,
    status: int,
    result: Mapping[str, Any],
    headers: Mapping[str, str] | None,
    problem: RequestError | None = None,
) -> Json:
    ok = status < 400
    return Json(
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
