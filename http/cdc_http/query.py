"""Query parameters, each at most once, so that no proxy or client reads another value than the daemon does."""

from __future__ import annotations

from starlette.requests import Request

from cdc_http.request_error import RequestError


def read_parameter(request: Request, name: str) -> str | None:
    """Return a parameter's value, None when it is not given. Raises `RequestError` when it is given twice."""
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise RequestError(400, "", f"{name}: expected once, found {len(given)} times")
    return given[0] if given else None


def read_flag(request: Request, name: str) -> bool:
    """Return a flag, False when it is not given. Raises `RequestError`."""
    given = read_parameter(request, name)
    if given not in {None, "", "true", "false"}:
        raise RequestError(400, "", f"{name}: expected true or false")
    return given in {"", "true"}


def read_limit(request: Request, most: int) -> int:
    """Return the query's limit on the number of results, 100 by default. Raises `RequestError`."""
    given = read_parameter(request, "limit")
    if given is None:
        return 100
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= most):
        raise RequestError(400, "", f"limit: expected a number of 1 to {most}")
    return int(given)
