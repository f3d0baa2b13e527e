"""What is logged of requests, and what is not."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.model.errors import Trouble
from cdc_http import LoopState, create_app
from tests.unit.http.asking import DOCUMENTED, Answer, ask, ask_json, rows
from tests.unit.http.fake import FakeDaemon

TOKEN = "a-token-that-is-never-shown"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"

SETTINGS = HttpSettings(
    sync_timeout=30,
    auth=AuthSettings(
        tokens=(TokenSettings(name="gateway", hash="sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()),)
    ),
)


async def logged(daemon: FakeDaemon, *, path: str = "/sync", **headers: str) -> tuple[Answer, list[Any]]:
    """Ask for a row; return the answer and all that was logged."""
    # Short only where nothing is ever settled: a busy machine may take its time for what takes a moment.
    settings = SETTINGS if daemon.pipeline.held is None else SETTINGS.model_copy(update={"sync_timeout": 0.05})
    app = create_app(daemon, settings)
    known = {**DOCUMENTED, "Authorization": f"Bearer {TOKEN}", "Cookie": "session=also-secret", **headers}
    with capture_logs(processors=[merge_contextvars]) as events:
        answer = await ask_json(app, rows("user", "u"), path=path, headers=known)
    assert structlog.contextvars.get_contextvars() == {}
    return answer, list(events)


async def test_a_request_that_was_answered() -> None:
    answer, [event] = await logged(FakeDaemon(), path="/v1/data/sync?refresh=true&password=secret")
    assert answer.status == 200
    assert event.pop("seconds") >= 0
    assert event == {
        "event": "http.request",
        "log_level": "info",
        "method": "POST",
        "path": "/v1/data/sync",
        "status": 200,
        "size": len(answer.body),
        "client": None,
        "caller": "gateway",
        "msgid": DOCUMENTED["X-msgid"],
    }


async def test_what_was_logged_on_the_way_belongs_to_the_request() -> None:
    daemon = FakeDaemon()
    daemon.pipeline.held = Trouble("cassandra", "no answer")
    answer, events = await logged(daemon, **{"x-request-id": "r-1", "traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert answer.json()["params"]["msgid"] == "r-1"
    assert [(event["event"], event["log_level"]) for event in events] == [
        ("http.not_settled", "warning"),
        ("http.request", "warning"),
    ]
    for event in events:
        assert (event["msgid"], event["trace_id"], event["span_id"]) == ("r-1", TRACE, SPAN)


async def test_a_mistake_of_ours_is_found_by_the_message_id(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon()
    monkeypatch.setattr(daemon.service, "parse_ids", None)
    answer, (failure, event) = await logged(daemon)
    assert (answer.status, event["status"]) == (500, 500)
    assert failure["event"] == "http.failed"
    assert failure["msgid"] == event["msgid"] == answer.json()["params"]["msgid"]


@pytest.mark.parametrize("authorization", ["Bearer guessed-token", f"Basic {TOKEN}", f"Bearer {TOKEN}"])
async def test_no_secret_is_logged(authorization: str) -> None:
    answer, events = await logged(FakeDaemon(), Authorization=authorization, path="/sync?token=query-secret")
    assert ("caller" in events[-1]) == (answer.status == 200)
    text = json.dumps(events)
    for secret in (TOKEN, "guessed-token", "also-secret", "query-secret"):
        assert secret not in text


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
async def test_a_trace_context_that_is_none_is_passed_over(parent: str) -> None:
    _, [event] = await logged(FakeDaemon(), traceparent=parent)
    assert not {"trace_id", "span_id"} & event.keys()


async def test_a_trace_context_of_a_later_version() -> None:
    _, [event] = await logged(FakeDaemon(), traceparent=f"01-{TRACE}-{SPAN}-01-more")
    assert event["trace_id"] == TRACE


async def test_what_is_asked_all_the_time_is_logged_for_debugging_only() -> None:
    app = create_app(FakeDaemon(), SETTINGS)
    with capture_logs() as events:
        for path in ("/livez", "/readyz", "/metrics", "/status", "/nothing"):
            await ask(app, "GET", path)
    assert [event["log_level"] for event in events] == ["debug"] * 4 + ["info"]
    assert [event["status"] for event in events] == [200] * 4 + [404]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_probe_of_a_daemon_that_is_not_ready_is_logged_for_debugging_only(method: str) -> None:
    daemon = FakeDaemon()
    daemon.checks["started"] = False
    daemon.loops["tail"] = LoopState(1.0, ok=False)
    app = create_app(daemon, SETTINGS)
    with capture_logs() as events:
        for path in ("/readyz", "/livez"):
            assert (await ask(app, method, path)).status == 503
    assert [(event["path"], event["log_level"]) for event in events] == [("/readyz", "debug"), ("/livez", "warning")]


async def test_a_request_without_an_id_gets_one_that_answer_and_log_share() -> None:
    app = create_app(FakeDaemon(), HttpSettings(contract="lenient"))
    with capture_logs(processors=[merge_contextvars]) as events:
        answer = await ask_json(app, rows("user", "u"), headers={"Content-Type": "application/json"})
    assert events[0]["msgid"] == answer.json()["params"]["msgid"]
