"""An operator's actions: pause and resume the tail, list what runs. Only for authenticated callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.model.errors import StoreError
from cdc_daemon.store.sync_jobs import SyncJob
from cdc_http.auth.authorization import Authorizer, caller_name
from cdc_http.daemon_view import ControlView, DaemonView, JobsView, ReloadView
from cdc_http.responses import RequestError, unavailable
from cdc_http.routes.dead_letters import (
    drop_dead_letter,
    drop_dead_letters,
    list_dead_letters,
    replay_dead_letter,
    replay_dead_letters,
)
from cdc_http.routes.operators import OperatorEndpoints, View, read_limit

MAX_JOBS = 1000


class AdminEndpoint:
    """Pause, configuration, jobs of requests, and dead letters. Answers are plain JSON."""

    def __init__(self, daemon: DaemonView, authorizer: Authorizer) -> None:
        self._operators = OperatorEndpoints(daemon, authorizer)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/admin/pause", self._endpoint(_pause), methods=["POST"]),
            Route("/admin/resume", self._endpoint(_resume), methods=["POST"]),
            Route("/admin/config", self._endpoint(_config), methods=["GET"]),
            Route("/admin/reload", self._operators.endpoint(lambda daemon: daemon.reloader, _reload), methods=["POST"]),
            Route("/admin/sync-jobs", self._endpoint(_sync_jobs), methods=["GET"]),
            Route("/admin/sync-jobs/{job}/cancel", self._cancelling(), methods=["POST"]),
            Route("/admin/dead-letters", self._endpoint(list_dead_letters), methods=["GET"]),
            Route("/admin/dead-letters/drop", self._endpoint(drop_dead_letters), methods=["POST"]),
            Route("/admin/dead-letters/replay", self._endpoint(replay_dead_letters), methods=["POST"]),
            Route("/admin/dead-letters/{id:int}/replay", self._endpoint(replay_dead_letter), methods=["POST"]),
            Route("/admin/dead-letters/{id:int}", self._endpoint(drop_dead_letter), methods=["DELETE"]),
        ]

    def _endpoint(
        self, handle: Callable[[Request, ControlView], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        return self._operators.endpoint(lambda daemon: daemon.control, _with_error_responses(handle))

    def _cancelling(self) -> Callable[[Request], Awaitable[Response]]:
        return self._operators.endpoint(lambda daemon: daemon.jobs, _with_error_responses(_cancel_sync_job))


def _with_error_responses(
    handle: Callable[[Request, View], Awaitable[Any]],
) -> Callable[[Request, View], Awaitable[Any]]:
    """Return a handler that answers a `StoreError` with 503."""

    async def handle_with_errors(request: Request, view: View) -> Any:
        try:
            return await handle(request, view)
        except StoreError as error:
            raise unavailable(f"The daemon's state database cannot be used: {error.message}") from error

    return handle_with_errors


async def _pause(request: Request, control: ControlView) -> Any:
    pause = control.pause(caller_name(request))
    return {"paused": True, "paused_by": pause.by, "paused_since": pause.since}


async def _resume(request: Request, control: ControlView) -> Any:
    control.resume(caller_name(request))
    return {"paused": False, "paused_by": None, "paused_since": None}


async def _config(_request: Request, control: ControlView) -> Any:
    return {"config": control.configuration()}


async def _reload(request: Request, reloader: ReloadView) -> Any:
    report = await reloader.reload(caller_name(request))
    if report["result"] == "refused":
        problem = f"The configuration is refused, and the previous one stays in use: {report['error']}"
        raise RequestError(400, "", problem)
    return report


async def _sync_jobs(request: Request, control: ControlView) -> Any:
    return {"jobs": [_job_as_json(job) for job in await control.sync_jobs(read_limit(request, MAX_JOBS))]}


async def _cancel_sync_job(request: Request, jobs: JobsView) -> Any:
    report = await jobs.cancel(request.path_params["job"])
    if report is None:
        raise RequestError(404, "", "There is no such job.")
    return _job_as_json(report.job)


def _job_as_json(job: SyncJob) -> dict[str, Any]:
    return {
        "job": job.id,
        "kind": job.kind,
        "object_type": job.object_type,
        "state": job.state,
        "message": job.message,
        "total": job.total,
        "settled": job.settled,
        "failed": job.failed,
        "counts": {"indexed": job.indexed, "deleted": job.deleted, "missing": job.missing},
        "created": job.created / 1e6,
        "started": None if job.started is None else job.started / 1e6,
        "finished": None if job.finished is None else job.finished / 1e6,
    }
