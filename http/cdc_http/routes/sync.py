"""`POST …/sync`: write rows now or accept a job for them; `GET …/sync/{job}`: report the job's progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.config.http import HttpSettings
from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError, StoreError
from cdc_daemon.sources.requests import (
    InvalidIdError,
    NotReplicatedError,
    SuspendedObjectTypeError,
    SyncOutcome,
    TooManyJobsError,
    UnknownObjectTypeError,
)
from cdc_daemon.sources.requests.jobs import SyncJobReport
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport
from cdc_http.auth.authorization import Authorizer
from cdc_http.contract import PATHS, SyncRequest, check_headers, failed, message_id, parse_sync_request, succeeded
from cdc_http.daemon_view import DaemonView, SyncView
from cdc_http.limits.body import read_body
from cdc_http.limits.body_memory import BodyMemory
from cdc_http.limits.request_queue import RequestQueue
from cdc_http.limits.usage import caller_key
from cdc_http.responses import (
    INTERNAL,
    WRONG_OBJECT_TYPE,
    RequestError,
    unavailable,
    unmappable,
    wait_for_disconnect,
    wrong_type,
)

log = structlog.get_logger(__name__)

_NAMES = {"cassandra": "Cassandra", "elasticsearch": "The search engine", "daemon": "The daemon"}

_KINDS = ("backfill", "catch_up")
"""The kinds of jobs on whole tables that a request for rows starts."""

Handler = Callable[[Request, str], Awaitable[Response]]


class SyncEndpoint:
    """Answers requests for rows: `body_memory` limits the bytes of their bodies, `queue` how many run at once."""

    def __init__(
        self,
        daemon: DaemonView,
        settings: HttpSettings,
        authorizer: Authorizer,
        *,
        body_memory: BodyMemory,
        queue: RequestQueue,
    ) -> None:
        self._daemon = daemon
        self._settings = settings
        self._authorizer = authorizer
        self._body_memory = body_memory
        self._queue = queue

    def routes(self) -> list[Route]:
        """Return the routes of each path."""
        return [
            route
            for path in PATHS
            for route in (
                Route(path, self._enveloped("sync", self._sync), methods=["POST"]),
                Route(path + "/{job}", self._enveloped("job", self._job), methods=["GET"]),
            )
        ]

    def _enveloped(self, route: str, handle: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            started = time.monotonic()
            msgid = message_id(request)
            try:
                response = await handle(request, msgid)
            except RequestError as problem:
                response = failed(msgid, problem)
            except StoreError as error:
                log.error("http.store_failed", error=str(error))  # noqa: TRY400 -- the error tells its place
                response = failed(msgid, unavailable("The daemon cannot store jobs.", service="daemon"))
            except asyncio.CancelledError:
                # The server stops and has waited long enough, perhaps for a body. The caller gets an answer.
                response = failed(msgid, unavailable("The daemon is stopping.", service="daemon"))
            except Exception:
                log.exception("http.failed", route=route)
                response = failed(msgid, RequestError(500, INTERNAL, "server error"))
            self._daemon.answered(route, response.status_code, time.monotonic() - started)
            return response

        return answer

    async def _sync(self, request: Request, msgid: str) -> Response:
        await self._authorizer.authorize(request, "sync")
        check_headers(request, self._settings)
        caller = caller_key(request)
        async with self._body_memory.lease(caller) as lease:
            # A place is taken after the body was read: a slow sender blocks nobody.
            body = await read_body(request, self._settings, lease)
            call = parse_sync_request(request, body, self._settings)
            del body
            async with self._queue.slot(caller, partial(wait_for_disconnect, request.receive)) as waited:
                lease.end()
                return await self._do(call, msgid, request.url.path, seconds=self._settings.sync_timeout - waited)

    async def _do(self, call: SyncRequest, msgid: str, path: str, *, seconds: float) -> Response:
        service, jobs = self._daemon.sync, self._daemon.jobs
        if service is None or jobs is None:
            raise unavailable("The daemon is starting or stopping.", service="daemon")
        try:
            if call.file is None and (call.days is not None or not call.ids):
                return await self._whole_table(_request_of(call), msgid, path)
            if call.later:
                if call.file is None:
                    job = await jobs.start(call.object_type, call.ids, refresh=call.refresh)
                else:
                    job = await jobs.start_file(call.object_type, call.file, refresh=call.refresh)
                result = {"response": "SUCCESS", "node_id": self._daemon.node_id, **_progress(SyncJobReport(job, {}))}
                headers = {"location": f"{path}/{job.id}", "preference-applied": "respond-async"}
                return succeeded(msgid, result, status=202, headers=headers)
            return succeeded(msgid, await self._settle(service, call, seconds))
        except UnknownObjectTypeError:
            types = list(service.object_types)
            raise RequestError(
                400, WRONG_OBJECT_TYPE, "Invalid Object Type.", field="objectType", expected=types
            ) from None
        except SuspendedObjectTypeError as error:
            message = f"The object type {call.object_type} is blocked: {error.message}."
            raise unavailable(message, retry_after=60, service="daemon") from None
        except InvalidIdError as error:
            if call.file is not None:
                raise unmappable("file", f"{error.message}.") from None
            field = f"objectIds[{error.at}]" + (f".{error.column}" if error.column else "")
            raise wrong_type(field, "", f"{field}: {error.message}") from None
        except TooManyJobsError as error:
            raise RequestError(429, "TOO_MANY_REQUESTS", f"{error.message}.", headers={"retry-after": "60"}) from None

    async def _whole_table(self, wanted: JobRequest, msgid: str, path: str) -> Response:
        range_jobs = self._daemon.range_jobs
        if range_jobs is None:
            raise unavailable("The daemon is starting or stopping.", service="daemon")
        try:
            report = await range_jobs.start(wanted)
        except CassandraUnavailableError:
            raise unavailable("Cassandra is unavailable or too slow.", service="cassandra") from None
        except ConfigError as error:
            raise unmappable("days", f"{error.message}.") from None
        result = {"response": "SUCCESS", "node_id": self._daemon.node_id, **_whole_progress(report)}
        return succeeded(msgid, result, status=202, headers={"location": f"{path}/{report.job.id}"})

    async def _settle(self, service: SyncView, call: SyncRequest, seconds: float) -> Mapping[str, Any]:
        invalid: dict[int, str] = {}
        if call.reports_invalid:
            asked, invalid = await service.parse_valid(call.object_type, call.ids)
        else:
            asked = await service.parse(call.object_type, call.ids)
        try:
            outcome = await service.replicate(call.object_type, asked, seconds=seconds, refresh=call.refresh)
        except NotReplicatedError as error:
            log.warning("http.not_settled", service=error.service, error=error.message, ids=len(asked))
            settled = f"{len(error.outcome.replicated)} ids are done."
            if error.alias is not None:
                message = f"The search engine takes no writes for {call.object_type}: {error.message}; {settled}"
            else:
                message = f"{_NAMES[error.service]} is unavailable or too slow: {settled}"
            done = {name: value for name, value in self._result(error.outcome).items() if name != "response"}
            if error.alias is not None:
                done["alias"] = error.alias
            raise unavailable(message, service=error.service, **done) from None
        result = self._result(outcome)
        if not call.reports_invalid:
            return result
        listed = [{"index": at, "reason": reason} for at, reason in invalid.items()]
        return {**result, "invalid": listed} | ({"response": "PARTIAL"} if invalid else {})

    def _result(self, outcome: SyncOutcome) -> Mapping[str, Any]:
        return {
            "response": "PARTIAL" if outcome.failures else "SUCCESS",
            "node_id": self._daemon.node_id,
            "esSyncResponse": outcome.replicated,
            "failures": outcome.failures,
            "counts": {"indexed": outcome.indexed, "deleted": outcome.deleted, "missing": outcome.missing},
        }

    async def _job(self, request: Request, msgid: str) -> Response:
        await self._authorizer.authorize(request, "sync")
        jobs = self._daemon.jobs
        if jobs is None:
            raise unavailable("The daemon is starting or stopping.", service="daemon")
        identity = request.path_params["job"]
        common = {"response": "SUCCESS", "node_id": self._daemon.node_id}
        report = await jobs.report(identity)
        if report is not None:
            return succeeded(msgid, {**common, **_progress(report)})
        range_jobs = self._daemon.range_jobs
        whole = None if range_jobs is None else await range_jobs.report(identity)
        if whole is None or whole.job.kind not in _KINDS or len(whole.job.options["types"]) != 1:
            raise RequestError(404, "RESOURCE_NOT_FOUND", "There is no such job.", field="job")
        return succeeded(msgid, {**common, **_whole_progress(whole)})


def _request_of(call: SyncRequest) -> JobRequest:
    """Return the job on a whole table: for all of its rows, or for those that changed in the last days."""
    if call.days is None:
        return JobRequest(kind="backfill", types=(call.object_type,))
    since = max(0, time.time_ns() // 1000 - round(call.days * 86_400_000_000))
    return JobRequest(kind="catch_up", types=(call.object_type,), since=since)


def _progress(report: SyncJobReport) -> Mapping[str, Any]:
    job = report.job
    return {
        "job": job.id,
        "objectType": job.object_type,
        "state": job.state,
        "message": job.message,
        "total": job.total,
        "settled": job.settled,
        "failed": job.failed,
        "failures": dict(report.failures),
        "counts": {"indexed": job.indexed, "deleted": job.deleted, "missing": job.missing},
        "created": _seconds(job.created),
        "started": _seconds(job.started),
        "finished": _seconds(job.finished),
    }


def _whole_progress(report: RangeJobReport) -> Mapping[str, Any]:
    job, progress, _ = report
    return {
        "job": job.id,
        "objectType": job.options["types"][0],
        "state": job.state,
        "message": job.message or job.report.get("notes", {}).get(job.options["types"][0]),
        "total": None,
        "settled": progress.rows,
        "fraction": round(progress.fraction, 6),
        "failed": None,
        "failures": {},
        "counts": None,
        "created": _seconds(job.created),
        "started": _seconds(job.started),
        "finished": _seconds(job.finished),
    }


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / 1e6
