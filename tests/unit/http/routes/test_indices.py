"""The indices behind the aliases, as an operator sees and changes them."""

from __future__ import annotations

import hashlib

import pytest
from starlette.types import ASGIApp

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.sources.requests import TooManyJobsError
from cdc_http import create_app
from tests.unit.http.asking import ask
from tests.unit.http.fake import FakeDaemon, FakeIndices

OPERATOR = {"Authorization": "Bearer operator"}


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def indices(daemon: FakeDaemon) -> FakeIndices:
    assert daemon.indices is not None
    return daemon.indices


@pytest.fixture
def app(daemon: FakeDaemon) -> ASGIApp:
    digest = hashlib.sha256(b"operator").hexdigest()
    token = TokenSettings(name="operator", hash=f"sha256:{digest}", scopes=("admin",))
    return create_app(daemon, HttpSettings(auth=AuthSettings(tokens=(token,))))


async def test_they_are_told_of(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/admin/indices", headers=OPERATOR)
    assert answer.status == 200
    (told,) = answer.json()["indices"]
    assert (told["live"], told["other"], told["phase"]) == ("user-000002", "user-000001", "kept")


async def test_the_one_before_is_put_back(app: ASGIApp, indices: FakeIndices) -> None:
    planned = await ask(app, "POST", "/admin/indices/user/rollback?dry_run=true", headers=OPERATOR)
    assert planned.json()["dry_run"] is True
    assert indices.live == "user-000002"
    done = await ask(app, "POST", "/admin/indices/user/rollback?behind=true", headers=OPERATOR)
    assert (done.json()["live"], done.json()["job"]) == ("user-000001", "0" * 16)


async def test_the_second_one_is_removed(app: ASGIApp) -> None:
    answer = await ask(app, "POST", "/admin/indices/user/drop", headers=OPERATOR)
    assert (answer.status, answer.json()["dropped"]) == (200, "user-000001")


@pytest.mark.parametrize("what", ["rollback", "drop"])
async def test_what_cannot_be_done_is_told(app: ASGIApp, daemon: FakeDaemon, indices: FakeIndices, what: str) -> None:
    async def status(object_type: str, query: str = "") -> int:
        answer = await ask(app, "POST", f"/admin/indices/{object_type}/{what}{query}", headers=OPERATOR)
        assert answer.status == 200 or answer.json()["error"]
        return answer.status

    assert await status("nobody") == 404
    assert await status("batch") == 409
    assert await status("user", "?dry_run=perhaps") == 400
    indices.failure = ElasticsearchUnavailableError("no answer")
    assert await status("user") == 503
    indices.failure = TooManyJobsError("expected fewer")
    assert await status("user") == 429
    daemon.indices = None
    assert await status("user") == 503
    assert (await ask(app, "POST", f"/admin/indices/user/{what}")).status == 401
