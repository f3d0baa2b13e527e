"""What an operator does."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.model.errors import StoreError
from cdc_daemon.pipeline.gate import Pause
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.sync_jobs import SyncJob
from cdc_http import create_app
from tests.unit.http.asking import ask
from tests.unit.http.fake import FakeControl, FakeDaemon

OPERATOR = {"Authorization": "Bearer operator"}


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def control(daemon: FakeDaemon) -> FakeControl:
    assert daemon.control is not None
    return daemon.control


def operators_only() -> HttpSettings:
    digest = hashlib.sha256(b"operator").hexdigest()
    token = TokenSettings(name="operator", hash=f"sha256:{digest}", scopes=("admin",))
    return HttpSettings(auth=AuthSettings(tokens=(token,)))


@pytest.fixture
def app(daemon: FakeDaemon) -> ASGIApp:
    return create_app(daemon, operators_only())


async def test_pause_and_resume(app: ASGIApp, daemon: FakeDaemon) -> None:
    assert isinstance(daemon.control, FakeControl)
    paused = {"paused": True, "paused_by": "operator", "paused_since": 1_700_000_000.5}
    assert (await ask(app, "POST", "/admin/pause", headers=OPERATOR)).json() == paused
    assert daemon.control.paused == Pause("operator", 1_700_000_000.5)
    resumed = {"paused": False, "paused_by": None, "paused_since": None}
    assert (await ask(app, "POST", "/admin/resume", headers=OPERATOR)).json() == resumed
    assert daemon.control.paused is None


def letters(*ids: int) -> list[DeadLetter]:
    return [
        DeadLetter(
            id=number,
            at=1_500_000,
            kind="document",
            reason="document_parsing_exception",
            detail={"message": "no date", "key": {"p": 1, "c": None}},
            keyspace="k",
            table="t",
            partition_key=b"\x01",
            clustering=(b"\x02", None),
            payload=b"abc",
            alias="a",
        )
        for number in ids
    ]


async def test_dead_letters(app: ASGIApp, control: FakeControl) -> None:
    control.letters = letters(2, 1)
    answer = await ask(app, "GET", "/admin/dead-letters?limit=1", headers=OPERATOR)
    assert answer.json() == {
        "total": 2,
        "kinds": {"document": 2},
        "reasons": {"document_parsing_exception": 2},
        "tables": {"k.t": 2},
        "dead_letters": [
            {
                "id": 2,
                "at": 1.5,
                "last_at": 1.5,
                "attempts": 1,
                "count": 1,
                "kind": "document",
                "reason": "document_parsing_exception",
                "keyspace": "k",
                "table": "t",
                "key": {"p": 1, "c": None},
                "alias": "a",
                "partition_key": "01",
                "clustering": ["02", None],
                "segment_id": None,
                "position": None,
                "detail": {"message": "no date"},
                "document": "abc",
                "row": None,
                "payload_bytes": 3,
            }
        ],
    }


async def test_replay_goes_from_page_to_page(app: ASGIApp, control: FakeControl) -> None:
    control.letters = letters(4, 3, 2, 1)
    control.letters[0] = dataclasses.replace(control.letters[0], reason="bad")
    control.unmended = {"bad"}
    path = "/admin/dead-letters/replay"
    dry = (await ask(app, "POST", f"{path}?dry_run=true&reason=bad", headers=OPERATOR)).json()
    assert (dry["total"], dry["letters"], len(control.letters)) == (1, [], 4)
    first = (await ask(app, "POST", f"{path}?limit=3", headers=OPERATOR)).json()
    assert (first["total"], first["replayed"], first["failed"], first["next"]) == (4, 3, 0, 3)
    second = (await ask(app, "POST", f"{path}?limit=3&above=3", headers=OPERATOR)).json()
    assert second == {
        "total": 1,
        "replayed": 0,
        "failed": 1,
        "waiting": 0,
        "letters": [{"id": 4, "outcome": "failed", "reason": "bad", "message": "still no date"}],
        "next": None,
    }


async def test_replay_and_drop_one(app: ASGIApp, control: FakeControl) -> None:
    control.letters = letters(2, 1)
    answer = await ask(app, "POST", "/admin/dead-letters/1/replay", headers=OPERATOR)
    assert answer.json() == {"id": 1, "outcome": "replayed", "reason": None, "message": None}
    assert (await ask(app, "POST", "/admin/dead-letters/1/replay", headers=OPERATOR)).status == 404
    assert (await ask(app, "DELETE", "/admin/dead-letters/2", headers=OPERATOR)).json() == {"dropped": 2}
    assert (await ask(app, "DELETE", "/admin/dead-letters/2", headers=OPERATOR)).status == 404


async def test_letters_are_counted_by_what_they_can_be_filtered_by(app: ASGIApp, control: FakeControl) -> None:
    control.letters = letters(4, 3, 2, 1)
    control.letters[1] = dataclasses.replace(control.letters[1], reason="bad")
    control.letters[3] = dataclasses.replace(control.letters[3], reason="bad", table="other")
    answer = await ask(app, "GET", "/admin/dead-letters?reason=bad&below=3&limit=1", headers=OPERATOR)
    found = answer.json()
    assert [letter["id"] for letter in found["dead_letters"]] == [1]
    assert found["total"] == 1, "the page's, as before"
    assert found["reasons"] == {"document_parsing_exception": 2, "bad": 2}, "of all pages, whatever reason is chosen"
    assert found["tables"] == {"k.t": 1, "k.other": 1}, "of all pages, with the reason that is chosen"


async def test_letters_are_dropped_by_a_filter(app: ASGIApp, control: FakeControl) -> None:
    control.letters = letters(4, 3, 2, 1)
    control.letters[1] = dataclasses.replace(control.letters[1], reason="bad")
    path = "/admin/dead-letters/drop"
    dry = await ask(app, "POST", f"{path}?reason=bad&dry_run=true", headers=OPERATOR)
    assert dry.json() == {"dropped": 1, "dry_run": True}
    assert len(control.letters) == 4
    assert (await ask(app, "POST", f"{path}?reason=bad", headers=OPERATOR)).json() == {"dropped": 1, "dry_run": False}
    assert [letter.id for letter in control.letters] == [4, 2, 1]
    assert (await ask(app, "POST", f"{path}?below=4", headers=OPERATOR)).json() == {"dropped": 2, "dry_run": False}
    assert [letter.id for letter in control.letters] == [4]


@pytest.mark.parametrize("query", ["", "?all=false", "?all=true&reason=bad"])
async def test_all_letters_are_dropped_only_when_all_are_meant(app: ASGIApp, control: FakeControl, query: str) -> None:
    control.letters = letters(2, 1)
    answer = await ask(app, "POST", f"/admin/dead-letters/drop{query}", headers=OPERATOR)
    assert (answer.status, len(control.letters)) == (400, 2)
    assert answer.json()["error"].startswith("all: ")
    answer = await ask(app, "POST", "/admin/dead-letters/drop?all=true", headers=OPERATOR)
    assert (answer.json()["dropped"], control.letters) == (2, [])


async def test_a_job_of_a_request_is_cancelled(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        app = create_app(FakeDaemon(store), operators_only())
        store.sync_jobs.add(SyncJob(id="b", kind="sync", object_type="user"), ["u1"], part=1, limit=1)
        answer = await ask(app, "POST", "/admin/sync-jobs/b/cancel", headers=OPERATOR)
        assert (answer.status, answer.json()["job"], answer.json()["state"]) == (200, "b", "cancelled")
        assert (await ask(app, "POST", "/admin/sync-jobs/c/cancel", headers=OPERATOR)).status == 404
    finally:
        store.close()


@pytest.mark.parametrize(
    "query", ["kind=x", "before=x", "since=nan", "before=inf", "since=-1", "since=9000000001", "above=-1", "below=1e3"]
)
async def test_a_filter_that_is_none(app: ASGIApp, query: str) -> None:
    answer = await ask(app, "GET", f"/admin/dead-letters?{query}", headers=OPERATOR)
    assert answer.status == 400
    assert answer.json()["error"].startswith(query.partition("=")[0])


async def test_a_state_that_cannot_be_used(app: ASGIApp, control: FakeControl, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_identity: int) -> bool:
        raise StoreError("the disk is full")

    monkeypatch.setattr(control, "drop_dead_letter", fail)
    answer = await ask(app, "DELETE", "/admin/dead-letters/2", headers=OPERATOR)
    assert (answer.status, "the disk is full" in answer.json()["error"]) == (503, True)


async def test_a_mistake_of_the_daemon_s_own(
    app: ASGIApp, daemon: FakeDaemon, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_identity: int) -> bool:
        raise AssertionError("a secret")

    monkeypatch.setattr(control, "drop_dead_letter", fail)
    answer = await ask(app, "DELETE", "/admin/dead-letters/2", headers=OPERATOR)
    assert (answer.status, answer.json()) == (500, {"error": "server error"})
    assert daemon.registry.get_sample_value("cdc_daemon_http_requests_total", {"route": "admin", "status": "500"}) == 1


async def test_jobs_of_requests(app: ASGIApp, daemon: FakeDaemon) -> None:
    assert daemon.control is not None
    daemon.control.jobs = [
        SyncJob(
            id="b", kind="sync", object_type="user", state="running", created=2_500_000, started=3_000_000, total=10
        ),
        SyncJob(id="a", kind="backfill", object_type="user", created=1_000_000),
    ]
    answer = await ask(app, "GET", "/admin/sync-jobs?limit=1", headers=OPERATOR)
    assert answer.json() == {
        "jobs": [
            {
                "job": "b",
                "kind": "sync",
                "object_type": "user",
                "state": "running",
                "message": None,
                "total": 10,
                "settled": 0,
                "failed": 0,
                "counts": {"indexed": 0, "deleted": 0, "missing": 0},
                "created": 2.5,
                "started": 3.0,
                "finished": None,
            }
        ]
    }


async def test_the_configuration(app: ASGIApp, daemon: FakeDaemon) -> None:
    answer = await ask(app, "GET", "/admin/config", headers=OPERATOR)
    assert answer.json() == {"config": {"http": {"port": 8080}}}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/admin/dead-letters", "/admin/sync-jobs", "/admin/config"])
async def test_what_only_an_operator_may_see(app: ASGIApp, daemon: FakeDaemon, path: str) -> None:
    assert (await ask(app, "GET", path)).status == 401
    assert (await ask(create_app(daemon), "GET", path)).status == 403


@pytest.mark.parametrize("query", ["dry_run=false&dry_run=true", "kind=segment&kind=document", "limit=1&limit=2"])
async def test_a_parameter_that_is_given_twice_is_refused(app: ASGIApp, query: str) -> None:
    answer = await ask(app, "POST", f"/admin/dead-letters/replay?{query}", headers=OPERATOR)
    assert answer.status == 400
    assert "expected once, found 2 times" in answer.json()["error"]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1001", "", "9" * 5000, "\u0661"])
async def test_a_limit_that_is_none(app: ASGIApp, limit: str) -> None:
    answer = await ask(app, "GET", f"/admin/dead-letters?limit={limit}", headers=OPERATOR)
    assert answer.status == 400
    assert "limit" in answer.json()["error"]


async def test_while_the_daemon_starts(app: ASGIApp, daemon: FakeDaemon) -> None:
    daemon.control = None
    answer = await ask(app, "POST", "/admin/pause", headers=OPERATOR)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_actions_are_posts(app: ASGIApp) -> None:
    assert (await ask(app, "GET", "/admin/pause", headers=OPERATOR)).status == 405
