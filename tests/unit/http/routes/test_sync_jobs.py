"""Requests that are answered before they are done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_http import create_app
from tests.unit.http.asking import DOCUMENTED, Answer, ask, ask_json, rows
from tests.unit.http.fake import FakeDaemon, running


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with running(tmp_path, part=2, limit=2) as daemon:
        yield daemon


@pytest.fixture
def app(daemon: FakeDaemon) -> ASGIApp:
    return create_app(daemon)


async def finished(app: ASGIApp, accepted: Answer) -> Any:
    async with asyncio.timeout(10):
        while True:
            answer = await ask(app, "GET", accepted.headers["location"])
            assert answer.status == 200
            if answer.result["finished"] is not None:
                return answer.result
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/api/data/v1/index/sync", "/v1/data/sync", "/sync"])
async def test_a_job_by_the_body(app: ASGIApp, daemon: FakeDaemon, path: str) -> None:
    daemon.pipeline.outcomes[b"u3"] = DocumentOutcome("user_alias", "u3", Outcome.DEAD, "kind", "reason")
    accepted = await ask_json(app, rows("user", "u1", "u2", "u3", "u1", operationType="async"), path=path)
    assert accepted.status == 202
    assert accepted.json()["responseCode"] == "OK"
    assert accepted.headers["preference-applied"] == "respond-async"
    assert accepted.headers["location"] == f"{path}/{accepted.result['job']}"
    assert (accepted.result["response"], accepted.result["state"], accepted.result["total"]) == ("SUCCESS", "queued", 3)
    report = await finished(app, accepted)
    assert report["state"] == "done"
    assert (report["settled"], report["failed"]) == (3, 1)
    assert report["counts"] == {"indexed": 2, "deleted": 0, "missing": 0}
    assert report["failures"] == {"u3": "u3: kind: reason"}
    assert report["created"] <= report["started"] <= report["finished"]


@pytest.mark.parametrize("prefer", ["respond-async", "wait=10, Respond-Async; x=1"])
async def test_a_job_by_preference(app: ASGIApp, prefer: str) -> None:
    accepted = await ask_json(app, rows("user", "u1"), headers={**DOCUMENTED, "Prefer": prefer})
    assert accepted.status == 202
    assert (await finished(app, accepted))["state"] == "done"


async def test_what_is_wrong_is_told_before_anything_is_promised(app: ASGIApp) -> None:
    for body in (rows("nothing", "u", operationType="async"), rows("user", "u", 5, operationType="async")):
        assert (await ask_json(app, body)).status == 400


async def test_as_many_jobs_as_may_wait(app: ASGIApp, daemon: FakeDaemon) -> None:
    daemon.pipeline.request = lambda *_: None  # type: ignore[method-assign]
    answers = [await ask_json(app, rows("user", "u", operationType="async")) for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    assert answers[2].headers["retry-after"] == "60"


async def test_a_job_that_nobody_knows(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/sync/nothing")
    assert answer.error[:2] == (404, "RESOURCE_NOT_FOUND")


async def test_a_disk_that_fails(app: ASGIApp, daemon: FakeDaemon, tmp_path: Path) -> None:
    from cdc_daemon.model.errors import StoreError  # noqa: PLC0415

    def full(*_: Any, **__: Any) -> Any:
        raise StoreError("SQLite says: disk full", file=str(tmp_path))

    assert daemon.jobs is not None
    daemon.jobs._store.add = full  # type: ignore[method-assign]
    answer = await ask_json(app, rows("user", "u", operationType="async"))
    assert (answer.status, answer.result["service"]) == (503, "daemon")
    assert str(tmp_path).encode() not in answer.body
    daemon.jobs._store.get = full  # type: ignore[method-assign]
    answer = await ask(app, "GET", "/sync/1")
    assert (answer.status, answer.result["service"]) == (503, "daemon")
