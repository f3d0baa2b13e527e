"""JSON responses, and errors as exceptions that become responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import JSONResponse
from starlette.types import Receive

from cdc_daemon.values.messages import json_bytes

NO_STORE = {"cache-control": "no-store"}


class JsonResponse(JSONResponse):
    """Plain values as JSON."""

    def render(self, content: Any) -> bytes:
        """Encode as JSON; a value without a JSON form becomes text."""
        return json_bytes(content, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


class RequestError(Exception):
    """A request that is answered with an error.

    `status` is the HTTP status, `code` the contract's error code, `message` the text shown. `result` has further
    values, such as the wrong `field`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        **result: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.result = {name: value for name, value in result.items() if value is not None}


CLOSE = {"connection": "close"}
"""Header that ends the connection with the answer when the rest of the body is not read."""

WRONG_TYPE = "UOS_0003"
"""A mandatory parameter is missing or of the wrong type."""

UNMAPPABLE = "UOS_0028"
"""The body, or a value in it, cannot be used."""

WRONG_OBJECT_TYPE = "UOS_0072"
"""No such object type."""

WRONG_HEADER = "UOS_0061"
"""A mandatory header is missing, or the content type is not supported."""

INTERNAL = "UOS_0069"
"""The daemon failed; the log has the reason under the same message id."""


def wrong_type(field: str, expected: str, message: str | None = None) -> RequestError:
    """Return the error for a parameter that is missing or of the wrong type."""
    return RequestError(400, WRONG_TYPE, message or f"Data type of {field} should be {expected}.", field=field)


def unmappable(field: str, message: str) -> RequestError:
    """Return the error for a value that cannot be used."""
    return RequestError(
        400, UNMAPPABLE, f"Requested data for this operation is not valid. {field}: {message}", field=field
    )


def missing_header(name: str) -> RequestError:
    """Return the error for a missing header that the contract requires."""
    return RequestError(400, WRONG_HEADER, f"Mandatory header parameter {name} is missing.", field=name)


def unavailable(message: str, *, retry_after: int = 5, **result: Any) -> RequestError:
    """Return the error for an unavailable service; `retry_after` is in seconds."""
    return RequestError(503, "SERVICE_UNAVAILABLE", message, headers={"retry-after": str(retry_after)}, **result)


def too_many(message: str, retry_after: int, *, close: bool = False) -> RequestError:
    """Return the error for a caller that exceeds its share; `retry_after` is in seconds.

    `close` ends the connection when the rest of the body is not read.
    """
    headers = {"retry-after": str(retry_after), **(CLOSE if close else {})}
    return RequestError(429, "TOO_MANY_REQUESTS", message, headers=headers)


def broken_off() -> RequestError:
    """Return the error for a caller that has closed its connection."""
    return RequestError(400, "REQUEST_BROKEN_OFF", "The connection ended before the answer.", headers=CLOSE)


async def wait_for_disconnect(receive: Receive) -> None:
    """Wait until the caller closes the connection. The request's body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
