"""Jobs on whole tables: start, report, cancel. Only for authenticated callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.config.http import HttpSettings
from cdc_daemon.model.errors import CdcError, ConfigError, StoreError
from cdc_daemon.sources.requests import TooManyJobsError, UnknownObjectTypeError
from cdc_daemon.store.range_jobs import RangeJob
from cdc_daemon.tablejobs.findings import verdict_of
from cdc_daemon.tablejobs.range_job import JobKind
from cdc_daemon.tablejobs.runner import RangeJobReport
from cdc_http.admission import Admission
from cdc_http.answer import NO_STORE, Json
from cdc_http.bodies import Bodies
from cdc_http.body import read_body
from cdc_http.job_request import read_job_request
from cdc_http.operators import Operators
from cdc_http.query import read_limit
from cdc_http.request_error import WRONG_HEADER, RequestError, unavailable
from cdc_http.share import share_of
from cdc_http.view import DaemonView, RangeJobsView

log = structlog.get_logger(__name__)

MOST_JOBS = 1000


class JobsEndpoint:
    """Answers operators in plain JSON."""

    def __init__(self, daemon: DaemonView, settings: HttpSettings, admission: Admission, *, bodies: Bodies) -> None:
        self._settings = settings
        self._bodies = bodies
        self._daemon = daemon
        self._operators = Operators(daemon, admission)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/admin/backfill", self._admitted(self._starting("backfill")), methods=["POST"]),
            Route("/admin/reconcile", self._admitted(self._starting("reconcile")), methods=["POST"]),
            Route("/admin/jobs", self._admitted(self._list), methods=["GET"]),
            Route("/admin/jobs/{job}", self._admitted(self._show), methods=["GET"]),
            Route("/admin/jobs/{job}/cancel", self._admitted(self._cancel), methods=["POST"]),
        ]

    def _admitted(
        self, handle: Callable[[Request, RangeJobsView], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        return self._operators.admitted(lambda daemon: daemon.range_jobs, _told(handle))

    def _starting(self, kind: JobKind) -> Callable[[Request, RangeJobsView], Awaitable[Response]]:
        async def start(request: Request, jobs: RangeJobsView) -> Response:
            content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
            if content_type != "application/json":
                raise RequestError(415, WRONG_HEADER, "Content-Type: expected application/json.")
            async with self._bodies.lease(share_of(request)) as lease:
                wanted = read_job_request(kind, await read_body(request, self._settings, lease))
            report = await jobs.start(wanted)
            headers = {**NO_STORE, "location": f"/admin/jobs/{report.job.id}"}
            return Json(plain_job(report), status_code=202, headers=headers)

        return start

    async def _list(self, request: Request, jobs: RangeJobsView) -> Any:
        return {
            "jobs": [plain_job(each) for each in await jobs.newest(read_limit(request, MOST_JOBS))],
            "scheduled": self._daemon.status()["schedule"],
        }

    async def _show(self, request: Request, jobs: RangeJobsView) -> Any:
        return plain_job(_found(await jobs.report(request.path_params["job"])))

    async def _cancel(self, request: Request, jobs: RangeJobsView) -> Any:
        return plain_job(_found(await jobs.cancel(request.path_params["job"])))


def _told(
    handle: Callable[[Request, RangeJobsView], Awaitable[Any]],
) -> Callable[[Request, RangeJobsView], Awaitable[Any]]:
    """Return a handler that answers its errors with an HTTP status."""

    async def told(request: Request, jobs: RangeJobsView) -> Any:
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
            raise unavailable("The daemon cannot keep jobs at present.") from None
        except CdcError as error:
            raise unavailable(f"{error.message}.") from None

    return told


def plain_job(report: RangeJobReport) -> Mapping[str, Any]:
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
