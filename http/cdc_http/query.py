"""What a request's query says: each parameter once at most, so that no proxy or client takes another than we do."""

from __future__ import annotations

from starlette.requests import Request

from cdc_http.request_error import RequestError


def read_parameter(request: Request, name: str) -> str | None:
    """Return a parameter's value, None where it is not given. Raises `RequestError` where it is given twice."""
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise RequestError(400, "", f"{name}: expected once, found {len(given)} times")
    return given[0] if given else None


def read_flag(request: Request, name: str) -> bool:
    """Return a flag, off where it is not given. Raises `RequestError`."""
    given = read_parameter(request, name)
    if given not in {None, "", "true", "false"}:
        raise RequestError(400, "", f"{name}: expected true or false")
    return given in {"", "true"}


def read_limit(request: Request, most: int) -> int:
    """Return how many things are wanted at most: 100 unless the query says. Raises `RequestError`."""
    given = read_parameter(request, "limit")
    if given is None:
        return 100
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= most):
        raise RequestError(400, "", f"limit: expected a number of 1 to {most}")
    return int(given)
