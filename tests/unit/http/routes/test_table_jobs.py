"""Jobs on whole tables, as an operator asks for them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.types import ASGIApp

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.model.errors import CassandraUnavailableError, CdcError, StoreError
from cdc_daemon.sources.requests import TooManyJobsError
from cdc_daemon.tablejobs.findings import MismatchCounts
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_http import create_app
from tests.unit.http.asking import Answer, ask
from tests.unit.http.contract import DESCRIPTION
from tests.unit.http.fake import FakeDaemon

OPERATOR = {"Authorization": "Bearer operator", "Content-Type": "application/json"}


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def app(daemon: FakeDaemon) -> ASGIApp:
    digest = hashlib.sha256(b"operator").hexdigest()
    token = TokenSettings(name="operator", hash=f"sha256:{digest}", scopes=("admin",))
    return create_app(daemon, HttpSettings(auth=AuthSettings(tokens=(token,))))


async def post(app: ASGIApp, path: str, content: Any = None) -> Answer:
    return await ask(app, "POST", path, headers=OPERATOR, body=json.dumps(content).encode())


def requests(daemon: FakeDaemon) -> list[JobRequest]:
    assert daemon.range_jobs is not None
    return daemon.range_jobs.requests


async def test_a_backfill_is_promised(app: ASGIApp, daemon: FakeDaemon) -> None:
    wanted = {"types": ["user", "batch", "user"], "ranges": ["-5:7"], "rate": 500, "count": True}
    answer = await post(app, "/admin/backfill", wanted)
    assert answer.status == 202
    job = answer.json()
    assert answer.headers["location"] == f"/admin/jobs/{job['job']}"
    assert job["options"] == {"types": ["user", "batch"], "ranges": ["-5:7"], "rate": 500.0, "count": True}
    assert (job["state"], job["fraction"], job["ranges"]) == ("queued", 0.25, {"total": 16, "done": 4})
    assert requests(daemon) == [
        JobRequest(kind="backfill", types=("user", "batch"), ranges=(TokenRange(-5, 7),), rate=500, count=True)
    ]
    again = await ask(app, "GET", answer.headers["location"], headers=OPERATOR)
    assert again.json() == job
    listed = await ask(app, "GET", "/admin/jobs?limit=1", headers=OPERATOR)
    assert listed.json() == {"jobs": [job], "scheduled": daemon.state["schedule"]}


async def test_a_dry_run_is_answered_at_once(app: ASGIApp, daemon: FakeDaemon) -> None:
    content = (await post(app, "/admin/backfill", {"types": ["user"], "rate": 5, "dry_run": True})).json()
    post_description = DESCRIPTION["paths"]["/admin/backfill"]["post"]
    schema = post_description["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**DESCRIPTION, **schema}).validate(content)
    assert content["types"]["user"]["rows"] == 28
    assert not requests(daemon)
    assert daemon.estimator is not None
    assert daemon.estimator.requests == [JobRequest(kind="backfill", types=("user",), rate=5)]
    every = await post(app, "/admin/backfill", {"types": [], "dry_run": True})
    assert every.status == 200
    assert (await post(app, "/admin/backfill", {"dry_run": True})).status == 200
    daemon.estimator = None
    assert (await post(app, "/admin/backfill", {"types": ["user"], "dry_run": True})).status == 503


async def test_a_reconcile_is_promised(app: ASGIApp, daemon: FakeDaemon) -> None:
    answer = await post(app, "/admin/reconcile", {"types": ["user"], "repair": True, "sample": 0.01})
    assert answer.status == 202
    assert requests(daemon) == [JobRequest(kind="reconcile", types=("user",), repair=True, sample=0.01)]


async def test_a_reconcile_that_is_done_says_what_it_has_shown(app: ASGIApp, daemon: FakeDaemon) -> None:
    job = (await post(app, "/admin/reconcile", {"types": ["user", "batch"]})).json()
    assert job["verdicts"] == {}
    counts = MismatchCounts("user")
    counts.add(unsettled=1)
    types = {**MismatchCounts("batch").take()["types"], **counts.take()["types"]}
    assert daemon.range_jobs is not None
    daemon.range_jobs.end(job["job"], "done", types=types)
    told = await ask(app, "GET", f"/admin/jobs/{job['job']}", headers=OPERATOR)
    assert told.json()["verdicts"] == {"batch": "equal", "user": "undecided"}
    daemon.range_jobs.end(job["job"], "cancelled", types=types)
    told = await ask(app, "GET", f"/admin/jobs/{job['job']}", headers=OPERATOR)
    assert told.json()["verdicts"] == {}


async def test_a_job_is_ended(app: ASGIApp) -> None:
    job = (await post(app, "/admin/backfill", {"types": ["user"]})).json()["job"]
    answer = await post(app, f"/admin/jobs/{job}/cancel")
    assert (answer.status, answer.json()["state"]) == (200, "cancelled")


@pytest.mark.parametrize(("method", "path"), [("GET", "/admin/jobs/none"), ("POST", "/admin/jobs/none/cancel")])
async def test_a_job_that_is_none(app: ASGIApp, method: str, path: str) -> None:
    assert (await ask(app, method, path, headers=OPERATOR)).status == 404


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        ("backfill", {}, "types"),
        ("backfill", {"types": []}, "types"),
        ("backfill", {"types": "user"}, "types"),
        ("backfill", {"types": [1]}, "types"),
        ("backfill", {"types": ["nobody"]}, "types"),
        ("backfill", {"types": ["user"], "ranges": ["5:1"]}, "ranges"),
        ("backfill", {"types": ["user"], "rate": 0}, "rate"),
        ("backfill", {"types": ["user"], "rate": True}, "rate"),
        ("backfill", {"types": ["user"], "dry_run": 1}, "dry_run"),
        ("backfill", {"types": ["nobody"], "dry_run": True}, "types"),
        ("backfill", {"types": ["user"], "count": 1}, "count"),
        ("backfill", {"types": ["user"], "count": True, "new_index": True}, "count"),
        ("backfill", {"types": ["user"], "count": True, "dry_run": True}, "count"),
        ("backfill", {"types": ["user"], "repair": True}, "repair"),
        ("reconcile", {"types": ["user"], "sample": 1.5}, "sample"),
        ("reconcile", {"types": ["user"], "dry_run": True}, "dry_run"),
    ],
)
async def test_what_is_wrong_is_named(app: ASGIApp, path: str, content: Any, field: str) -> None:
    answer = await post(app, f"/admin/{path}", content)
    assert answer.status == 400
    assert answer.json()["error"].startswith(f"{field}: ")


async def test_other_bodies_are_refused(app: ASGIApp) -> None:
    headers = {**OPERATOR, "Content-Type": "text/plain"}
    assert (await ask(app, "POST", "/admin/backfill", headers=headers, body=b"{}")).status == 415
    assert (await ask(app, "POST", "/admin/backfill", headers=OPERATOR, body=b"[")).status == 400


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (TooManyJobsError("expected fewer"), 429),
        (StoreError("the disk is full"), 503),
        (CassandraUnavailableError("nobody answers"), 503),
    ],
)
async def test_what_cannot_be_promised(app: ASGIApp, daemon: FakeDaemon, failure: CdcError, status: int) -> None:
    assert daemon.range_jobs is not None
    daemon.range_jobs.failure = failure
    answer = await post(app, "/admin/backfill", {"types": ["user"]})
    assert answer.status == status
    assert answer.headers["retry-after"]


async def test_strangers_are_refused(app: ASGIApp, daemon: FakeDaemon) -> None:
    for method, path in (("POST", "backfill"), ("POST", "reconcile"), ("GET", "jobs"), ("GET", "jobs/1")):
        assert (await ask(app, method, f"/admin/{path}")).status == 401
    assert requests(daemon) == []


async def test_while_the_daemon_starts(app: ASGIApp, daemon: FakeDaemon) -> None:
    daemon.range_jobs = None
    assert (await post(app, "/admin/backfill", {"types": ["user"]})).status == 503


@pytest.mark.parametrize("path", ["/admin/backfill", "/admin/reconcile"])
async def test_the_described_examples_work(app: ASGIApp, path: str) -> None:
    operation = DESCRIPTION["paths"][path]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        Draft202012Validator(content["schema"]).validate(example["value"])
        answer = await post(app, path, example["value"])
        status = "200" if example["value"].get("dry_run") else "202"
        assert str(answer.status) == status
        described = Draft202012Validator(operation["responses"][status]["content"]["application/json"]["schema"])
        described.validate(answer.json())
