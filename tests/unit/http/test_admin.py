"""What an operator does."""

from __future__ import annotations

import hashlib

import pytest
from starlette.types import ASGIApp

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_http import create_app
from tests.unit.http.asking import ask
from tests.unit.http.fake import FakeControl, FakeDaemon

OPERATOR = {"Authorization": "Bearer operator"}


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def app(daemon: FakeDaemon) -> ASGIApp:
    digest = hashlib.sha256(b"operator").hexdigest()
    token = TokenSettings(name="operator", hash=f"sha256:{digest}", scopes=("admin",))
    return create_app(daemon, HttpSettings(auth=AuthSettings(tokens=(token,))))


async def test_pause_and_resume(app: ASGIApp, daemon: FakeDaemon) -> None:
    assert isinstance(daemon.control, FakeControl)
    assert (await ask(app, "POST", "/admin/pause", headers=OPERATOR)).json() == {"paused": True}
    assert daemon.control.paused
    assert (await ask(app, "POST", "/admin/resume", headers=OPERATOR)).json() == {"paused": False}
    assert not daemon.control.paused


async def test_dead_letters(app: ASGIApp, daemon: FakeDaemon) -> None:
    assert daemon.control is not None
    daemon.control.letters = [
        DeadLetter(
            id=number,
            at=1_500_000,
            kind="document",
            reason="document_parsing_exception",
            detail={"message": "no date"},
            keyspace="k",
            table="t",
            partition_key=b"\x01",
            clustering=(b"\x02", None),
            payload=b"abc",
        )
        for number in (2, 1)
    ]
    answer = await ask(app, "GET", "/admin/dead-letters?limit=1", headers=OPERATOR)
    assert answer.json() == {
        "dead_letters": [
            {
                "id": 2,
                "at": 1.5,
                "kind": "document",
                "reason": "document_parsing_exception",
                "keyspace": "k",
                "table": "t",
                "partition_key": "01",
                "clustering": ["02", None],
                "segment_id": None,
                "position": None,
                "detail": {"message": "no date"},
                "payload_bytes": 3,
            }
        ]
    }


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
