"""Parse an operator's request for a job from a JSON object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cdc_daemon.cassandra.ring import TokenRange, parse_range
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.tablejobs.range_job import JobKind, JobRequest
from cdc_http.request_error import RequestError

_KEYS = {
    "backfill": {"types", "ranges", "rate", "dry_run", "new_index"},
    "reconcile": {"types", "ranges", "rate", "repair", "sample"},
}
_MOST = 1000


def read_job_request(kind: JobKind, body: Mapping[str, Any]) -> JobRequest:
    """Return the job request that a body describes. Raises `RequestError`, which names the wrong field."""
    for key in body:
        if key not in _KEYS[kind]:
            raise _wrong(key[:64], f"expected one of {', '.join(sorted(_KEYS[kind]))}")
    if _flag(body, "new_index") and body.get("ranges"):
        raise _wrong("ranges", "expected none, as a new index needs all rows")
    return JobRequest(
        kind=kind,
        types=tuple(dict.fromkeys(_texts(body, "types", least=1))),
        ranges=tuple(_range(text) for text in _texts(body, "ranges", least=0)),
        rate=_number(body, "rate", above=0, to=1e9),
        dry_run=_flag(body, "dry_run"),
        new_index=_flag(body, "new_index"),
        repair=_flag(body, "repair"),
        sample=_number(body, "sample", above=0, to=1) or 1.0,
    )


def _texts(body: Mapping[str, Any], key: str, *, least: int) -> list[str]:
    value = body.get(key, [])
    if (
        not isinstance(value, list)
        or not least <= len(value) <= _MOST
        or not all(isinstance(each, str) for each in value)
    ):
        raise _wrong(key, f"expected a list of {least} to {_MOST} texts")
    return value


def _range(text: str) -> TokenRange:
    try:
        return parse_range(text[:64])
    except ConfigError as error:
        raise _wrong("ranges", error.message) from None


def _number(body: Mapping[str, Any], key: str, *, above: float, to: float) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not above < value <= to
    ):
        raise _wrong(key, f"expected a number above {above:g}, at most {to:g}")
    return float(value)


def _flag(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, "expected true or false")
    return value


def _wrong(field: str, expected: str) -> RequestError:
    return RequestError(400, "", f"{field}: {expected}")
