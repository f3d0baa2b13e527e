from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus
from starlette.types import Message

from cdc_daemon.metrics import Metrics
from cdc_http import LoopState, create_app


class Daemon:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.loops: dict[str, LoopState] = {"tail": LoopState(1_700_000_000.5, ok=True)}
        self.state: dict[str, Any] = {"pending": 3}

    @property
    def registry(self) -> CollectorRegistry:
        return self.metrics.registry

    def livez(self) -> Mapping[str, LoopState]:
        return self.loops

    def status(self) -> Mapping[str, Any]:
        return self.state


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


class Answer:
    def __init__(self, messages: list[Message]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(daemon: Daemon, path: str, *, method: str = "GET", accept: str = "*/*") -> Answer:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"test"), (b"accept", accept.encode())],
    }
    await create_app(daemon)(scope, receive, send)
    return Answer(messages)


async def test_metrics_in_the_format_of_prometheus(daemon: Daemon) -> None:
    daemon.metrics.documents.labels("users", "indexed").inc(5)
    answer = await ask(daemon, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in parse_prometheus(answer.body.decode())}
    (sample,) = families["cdc_daemon_documents"].samples
    assert sample.labels == {"alias": "users", "outcome": "indexed"}
    assert sample.value == 5


async def test_metrics_in_openmetrics_where_asked(daemon: Daemon) -> None:
    daemon.metrics.replication_lag_seconds.labels("k", "t").observe(0.07)
    answer = await ask(daemon, "/metrics", accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")
    families = parse_openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]
    assert "cdc_daemon_replication_lag_seconds" in {family.name for family in families}


async def test_alive_while_every_loop_beats(daemon: Daemon) -> None:
    answer = await ask(daemon, "/livez")
    assert answer.status == 200
    assert answer.json() == {"ok": True, "loops": {"tail": {"ok": True, "last_beat": "2023-11-14T22:13:20.500+00:00"}}}
    assert answer.headers["cache-control"] == "no-store"


async def test_not_alive_when_one_loop_stands_still(daemon: Daemon) -> None:
    daemon.loops["pipeline"] = LoopState(1.0, ok=False)
    answer = await ask(daemon, "/livez")
    assert answer.status == 503
    assert answer.json()["ok"] is False
    assert answer.json()["loops"]["tail"]["ok"] is True


async def test_alive_before_any_loop_runs(daemon: Daemon) -> None:
    daemon.loops.clear()
    assert (await ask(daemon, "/livez")).status == 200


async def test_status_takes_any_value(daemon: Daemon) -> None:
    daemon.state = {"lag": float("nan"), "tables": {1: "t"}, "path": ValueError("x"), "n": 2}
    answer = await ask(daemon, "/status")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"lag": None, "tables": {"1": "t"}, "path": "x", "n": 2}


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/status"])
async def test_head_answers_without_a_body_to_read(daemon: Daemon, path: str) -> None:
    assert (await ask(daemon, path, method="HEAD")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/nothing", 404), ("POST", "/livez", 405), ("PUT", "/metrics", 405)],
)
async def test_other_requests_are_refused_in_json(daemon: Daemon, method: str, path: str, status: int) -> None:
    answer = await ask(daemon, path, method=method)
    assert answer.status == status
    assert answer.json()["error"]
