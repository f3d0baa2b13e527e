"""The answer to a request that is refused before it reaches an endpoint, in the format of its path."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cdc_http.answer import NO_STORE, Json
from cdc_http.envelope import failed, message_id
from cdc_http.request_error import RequestError
from cdc_http.sync import PATHS


def refuse(request: Request, problem: RequestError) -> Response:
    """Return the answer: the contract's envelope on the contract's paths, otherwise plain JSON."""
    # Not `request.url`: it includes the Host header, with any content.
    if request.scope["path"].startswith(PATHS):
        return failed(message_id(request), problem)
    return Json({"error": problem.message}, status_code=problem.status, headers={**NO_STORE, **problem.headers})
