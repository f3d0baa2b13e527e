"""A request for the rows that changed in the last days, and one that reports invalid ids."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from cdc_daemon.model.errors import ConfigError
from cdc_http import create_app
from tests.unit.http.asking import DOCUMENTED, ask, ask_json
from tests.unit.http.contract import schema_of
from tests.unit.http.fake import FakeDaemon

DAY = 86_400_000_000


class _NoJob:
    async def report(self, _identity: str) -> None:
        return None


def daemon_without_other_jobs() -> FakeDaemon:
    daemon = FakeDaemon()
    jobs: Any = _NoJob()
    daemon.jobs = jobs
    return daemon


def changed(**request: Any) -> dict[str, Any]:
    body = {"params": {}, "request": {"objectType": "user", **request}}
    schema_of("SyncRequest").validate(body)
    return body


@pytest.mark.parametrize("more", [{}, {"operationType": "async"}])
async def test_it_begins_a_job_whose_progress_is_told(more: dict[str, Any]) -> None:
    daemon = daemon_without_other_jobs()
    app = create_app(daemon)
    before = time.time_ns() // 1000
    answer = await ask_json(app, changed(days=2, **more))
    assert answer.status == 202
    schema_of("JobAnswer").validate(answer.json())
    assert daemon.range_jobs is not None
    [request] = daemon.range_jobs.requests
    assert (request.kind, request.types) == ("catch_up", ("user",))
    assert before <= request.since + 2 * DAY <= time.time_ns() // 1000
    daemon.range_jobs.end(answer.result["job"], "done", notes={"user": "changes of only tags were not found"})
    report = await ask(app, "GET", answer.headers["location"])
    schema_of("JobAnswer").validate(report.json())
    assert (report.result["state"], report.result["settled"]) == ("done", 28)
    assert report.result["message"] == "changes of only tags were not found"


async def test_a_form_holds_the_days_as_a_text() -> None:
    daemon = daemon_without_other_jobs()
    form = b"params={}&request[objectType]=user&request[days]=0.5"
    headers = {**DOCUMENTED, "Content-Type": "application/x-www-form-urlencoded"}
    answer = await ask(create_app(daemon), "POST", "/sync", body=form, headers=headers)
    assert answer.status == 202


@pytest.mark.parametrize("days", [0, -1, 36_501, True, "x", "7", [], {}, 2**63])
async def test_a_number_of_days_that_is_none(days: Any) -> None:
    daemon = FakeDaemon()
    body = f'{{"params": {{}}, "request": {{"objectType": "user", "days": {json.dumps(days)}}}}}'
    answer = await ask(create_app(daemon), "POST", "/sync", body=body.encode(), headers=DOCUMENTED)
    assert (answer.status, answer.result["field"]) == (400, "days")
    assert daemon.range_jobs is not None
    assert not daemon.range_jobs.requests


async def test_days_beside_ids_and_a_table_without_times() -> None:
    daemon = FakeDaemon()
    app = create_app(daemon)
    answer = await ask_json(app, {"params": {}, "request": {"objectType": "user", "objectIds": ["u"], "days": 1}})
    assert (answer.status, answer.result["field"]) == (400, "days")
    assert daemon.range_jobs is not None
    daemon.range_jobs.failure = ConfigError("expected columns with write times, found none in ks.t")
    answer = await ask_json(app, changed(days=1))
    assert (answer.status, answer.result["field"]) == (400, "days")
    assert "expected columns with write times" in answer.json()["params"]["errmsg"]


async def test_invalid_ids_are_reported_and_the_others_are_done() -> None:
    daemon = FakeDaemon()
    ids = ["c1:b1", {}, 7, "c2:b2"]
    body = {"params": {}, "request": {"objectType": "batch", "objectIds": ids}}
    answer = await ask_json(create_app(daemon), body, path="/sync?invalid=report")
    assert answer.status == 200
    schema_of("SyncAnswer").validate(answer.json())
    assert [each["index"] for each in answer.result["invalid"]] == [1, 2]
    assert answer.result["response"] == "PARTIAL"
    assert answer.result["esSyncResponse"] == {"c1:b1": True, "c2:b2": True}
    fine = {"params": {}, "request": {"objectType": "batch", "objectIds": ["c1:b1"]}}
    answer = await ask_json(create_app(daemon), fine, path="/sync?invalid=report")
    assert (answer.result["response"], answer.result["invalid"]) == ("SUCCESS", [])
    assert "invalid" not in (await ask_json(create_app(daemon), fine)).result


@pytest.mark.parametrize(
    ("query", "operation"), [("other", "sync"), ("report&invalid=report", ""), ("report", "async")]
)
async def test_invalid_ids_cannot_be_reported_like_this(query: str, operation: str) -> None:
    body = {"params": {}, "request": {"objectType": "batch", "objectIds": ["c1:b1"], "operationType": operation}}
    answer = await ask_json(create_app(FakeDaemon()), body, path=f"/sync?invalid={query}")
    assert (answer.status, answer.result["field"]) == (400, "invalid")
