"""A request without ids: refused, or all rows of its type, as the configuration says."""

from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.config import HttpSettings
from cdc_daemon.model.errors import CassandraUnavailableError
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_http import create_app
from tests.unit.http.asking import ask, ask_json, rows
from tests.unit.http.contract import schema_of
from tests.unit.http.fake import FakeDaemon

ALL = HttpSettings(empty_ids="all")


class _NoJob:
    async def report(self, _identity: str) -> None:
        return None


def daemon_without_other_jobs() -> FakeDaemon:
    daemon = FakeDaemon()
    jobs: Any = _NoJob()
    daemon.jobs = jobs
    return daemon


async def test_it_is_refused_unless_configured() -> None:
    daemon = FakeDaemon()
    answer = await ask_json(create_app(daemon), rows("user"))
    assert (answer.error[:2], answer.result["field"]) == ((400, "UOS_0003"), "objectIds")
    assert daemon.range_jobs is not None
    assert not daemon.range_jobs.requests


@pytest.mark.parametrize("path", ["/api/data/v1/index/sync", "/sync"])
async def test_it_begins_a_backfill_whose_progress_is_told(path: str) -> None:
    daemon = daemon_without_other_jobs()
    app = create_app(daemon, ALL)
    answer = await ask_json(app, rows("user"), path=path)
    assert answer.status == 202
    schema_of("JobAnswer").validate(answer.json())
    assert daemon.range_jobs is not None
    [request] = daemon.range_jobs.requests
    assert (request.kind, request.types, request.count) == ("backfill", ("user",), False)
    assert answer.headers["location"] == f"{path}/{answer.result['job']}"
    daemon.range_jobs.end(answer.result["job"], "done")
    report = await ask(app, "GET", answer.headers["location"])
    assert report.status == 200
    schema_of("JobAnswer").validate(report.json())
    assert (report.result["state"], report.result["fraction"], report.result["settled"]) == ("done", 1.0, 28)
    assert (report.result["objectType"], report.result["total"]) == ("user", None)


async def test_an_unknown_type_is_named_and_cassandra_may_be_away() -> None:
    daemon = daemon_without_other_jobs()
    app = create_app(daemon, ALL)
    answer = await ask_json(app, rows("nothing"))
    assert (answer.error[:2], answer.result["field"]) == ((400, "UOS_0072"), "objectType")
    assert daemon.range_jobs is not None
    daemon.range_jobs.failure = CassandraUnavailableError("no host")
    answer = await ask_json(app, rows("user"))
    assert (answer.status, answer.result["service"]) == (503, "cassandra")
    daemon.range_jobs = None
    assert (await ask_json(app, rows("user"))).status == 503
    assert (await ask(app, "GET", "/sync/1")).status == 404


async def test_jobs_of_operators_are_not_told_here() -> None:
    daemon = daemon_without_other_jobs()
    assert daemon.range_jobs is not None
    report = await daemon.range_jobs.start(JobRequest(kind="reconcile", types=("user",)))
    assert (await ask(create_app(daemon, ALL), "GET", f"/sync/{report.job.id}")).status == 404
