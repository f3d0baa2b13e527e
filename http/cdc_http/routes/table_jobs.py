"""Jobs on whole tables: start, report, cancel. Only for authenticated callers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.cassandra.ring import TokenRange, parse_range
from cdc_daemon.config.http import HttpSettings
from cdc_daemon.model.errors import CdcError, ConfigError, StoreError
from cdc_daemon.sources.requests import TooManyJobsError, UnknownObjectTypeError
from cdc_daemon.store.range_jobs import RangeJob
from cdc_daemon.tablejobs.findings import verdict_of
from cdc_daemon.tablejobs.range_job import JobKind, JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport
from cdc_http.auth.authorization import Authorizer
from cdc_http.daemon_view import DaemonView, RangeJobsView
from cdc_http.limits.body import read_body
from cdc_http.limits.body_memory import BodyMemory
from cdc_http.limits.usage import caller_key
from cdc_http.responses import NO_STORE, WRONG_HEADER, JsonResponse, RequestError, unavailable
from cdc_http.routes.operators import OperatorEndpoints, read_limit

_KEYS = {
    "backfill": {"types", "ranges", "rate", "count", "dry_run", "new_index"},
    "reconcile": {"types", "ranges", "rate", "repair", "sample"},
}
_MOST = 1000


def parse_job_request(kind: JobKind, body: Mapping[str, Any]) -> JobRequest:
    """Return the job request that a body describes. Raises `RequestError`, which names the wrong field."""
    for key in body:
        if key not in _KEYS[kind]:
            raise _wrong(key[:64], f"expected one of {', '.join(sorted(_KEYS[kind]))}")
    if _flag(body, "new_index") and body.get("ranges"):
        raise _wrong("ranges", "expected none, as a new index needs all rows")
    if _flag(body, "count") and (_flag(body, "new_index") or _flag(body, "dry_run")):
        raise _wrong("count", "expected neither new_index nor dry_run beside it")
    return JobRequest(
        kind=kind,
        types=tuple(dict.fromkeys(_texts(body, "types", least=0 if _flag(body, "dry_run") else 1))),
        ranges=tuple(_range(text) for text in _texts(body, "ranges", least=0)),
        rate=_number(body, "rate", above=0, to=1e9),
        count=_flag(body, "count"),
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


log = structlog.get_logger(__name__)

MAX_JOBS = 1000


class TableJobsEndpoint:
    """Starts, lists, shows and cancels jobs on whole tables. Answers are plain JSON."""

    def __init__(
        self, daemon: DaemonView, settings: HttpSettings, authorizer: Authorizer, *, body_memory: BodyMemory
    ) -> None:
        self._settings = settings
        self._body_memory = body_memory
        self._daemon = daemon
        self._operators = OperatorEndpoints(daemon, authorizer)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/admin/backfill", self._endpoint(self._starting("backfill")), methods=["POST"]),
            Route("/admin/reconcile", self._endpoint(self._starting("reconcile")), methods=["POST"]),
            Route("/admin/jobs", self._endpoint(self._list), methods=["GET"]),
            Route("/admin/jobs/{job}", self._endpoint(self._show), methods=["GET"]),
            Route("/admin/jobs/{job}/cancel", self._endpoint(self._cancel), methods=["POST"]),
        ]

    def _endpoint(
        self, handle: Callable[[Request, RangeJobsView], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        return self._operators.endpoint(lambda daemon: daemon.range_jobs, _with_error_responses(handle))

    def _starting(self, kind: JobKind) -> Callable[[Request, RangeJobsView], Awaitable[Response]]:
        async def start(request: Request, jobs: RangeJobsView) -> Response:
            content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
            if content_type != "application/json":
                raise RequestError(415, WRONG_HEADER, "Content-Type: expected application/json.")
            async with self._body_memory.lease(caller_key(request)) as lease:
                body = await read_body(request, self._settings, lease)
                wanted = parse_job_request(kind, body)
            if body.get("dry_run"):
                return await self._estimate(wanted)
            report = await jobs.start(wanted)
            headers = {**NO_STORE, "location": f"/admin/jobs/{report.job.id}"}
            return JsonResponse(job_as_json(report), status_code=202, headers=headers)

        return start

    async def _estimate(self, wanted: JobRequest) -> Response:
        estimator = self._daemon.estimator
        if estimator is None:
            raise unavailable("The daemon is starting or stopping.")
        return JsonResponse(await estimator.estimate(wanted), headers=NO_STORE)

    async def _list(self, request: Request, jobs: RangeJobsView) -> Any:
        return {
            "jobs": [job_as_json(each) for each in await jobs.newest(read_limit(request, MAX_JOBS))],
            "scheduled": self._daemon.status()["schedule"],
        }

    async def _show(self, request: Request, jobs: RangeJobsView) -> Any:
        return job_as_json(_found(await jobs.report(request.path_params["job"])))

    async def _cancel(self, request: Request, jobs: RangeJobsView) -> Any:
        return job_as_json(_found(await jobs.cancel(request.path_params["job"])))


def _with_error_responses(
    handle: Callable[[Request, RangeJobsView], Awaitable[Any]],
) -> Callable[[Request, RangeJobsView], Awaitable[Any]]:
    """Return a handler that answers its errors with an HTTP status."""

    async def handle_with_errors(request: Request, jobs: RangeJobsView) -> Any:
        try:
            return await handle(request, jobs)
        except UnknownObjectTypeError as error:
            raise RequestError(400, "", f"types: {error.message}.") from None
        except TooManyJobsError as error:
            raise RequestError(429, "", f"{error.message}.", headers={"retry-after": "60"}) from None
        except ConfigError as error:
            raise RequestError(400, "", f"{error.message}.") from None
        except StoreError as error:
            log.error("http.store_failed", error=str(error))  # noqa: TRY400 -- the error tells its place
            raise unavailable("The daemon cannot store jobs.") from None
        except CdcError as error:
            raise unavailable(f"{error.message}.") from None

    return handle_with_errors


def job_as_json(report: RangeJobReport) -> Mapping[str, Any]:
    """Return a job as plain values."""
    job, progress, rows = report
    return {
        "job": job.id,
        "kind": job.kind,
        "origin": job.origin,
        "state": job.state,
        "message": job.message,
        "options": dict(job.options),
        "fraction": round(progress.fraction, 6),
        "ranges": {"total": progress.ranges, "done": progress.ranges_done},
        "rows": progress.rows,
        "rows_by_type": dict(rows),
        "report": dict(job.report),
        "verdicts": _verdicts(job),
        "created": _seconds(job.created),
        "started": _seconds(job.started),
        "finished": _seconds(job.finished),
    }


def _verdicts(job: RangeJob) -> Mapping[str, str]:
    """Return the verdict of a finished comparison for each object type."""
    if job.kind != "reconcile" or job.state != "done":
        return {}
    return {object_type: verdict_of(found).value for object_type, found in job.report.get("types", {}).items()}


def _found(report: RangeJobReport | None) -> RangeJobReport:
    if report is None:
        raise RequestError(404, "", "There is no such job.")
    return report


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / 1e6
