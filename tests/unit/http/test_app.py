from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from cdc_http import LoopState, create_app
from tests.unit.http.asking import Answer
from tests.unit.http.asking import ask as send
from tests.unit.http.fake import FakeDaemon


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


async def ask(daemon: FakeDaemon, path: str, *, method: str = "GET", accept: str = "*/*") -> Answer:
    return await send(create_app(daemon), method, path, headers={"accept": accept})


async def test_metrics_in_the_format_of_prometheus(daemon: FakeDaemon) -> None:
    daemon.metrics.documents.labels("users", "indexed").inc(5)
    answer = await ask(daemon, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in parse_prometheus(answer.body.decode())}
    (sample,) = families["cdc_daemon_documents"].samples
    assert sample.labels == {"alias": "users", "outcome": "indexed"}
    assert sample.value == 5


async def test_metrics_in_openmetrics_where_asked(daemon: FakeDaemon) -> None:
    daemon.metrics.replication_lag_seconds.labels("k", "t").observe(0.07)
    answer = await ask(daemon, "/metrics", accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")
    families = parse_openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]
    assert "cdc_daemon_replication_lag_seconds" in {family.name for family in families}


async def test_alive_while_every_loop_beats(daemon: FakeDaemon) -> None:
    answer = await ask(daemon, "/livez")
    assert answer.status == 200
    assert answer.json() == {"ok": True, "loops": {"tail": {"ok": True, "last_beat": "2023-11-14T22:13:20.500+00:00"}}}
    assert answer.headers["cache-control"] == "no-store"


async def test_not_alive_when_one_loop_stands_still(daemon: FakeDaemon) -> None:
    daemon.loops["pipeline"] = LoopState(1.0, ok=False)
    answer = await ask(daemon, "/livez")
    assert answer.status == 503
    assert answer.json()["ok"] is False
    assert answer.json()["loops"]["tail"]["ok"] is True


async def test_alive_before_any_loop_runs(daemon: FakeDaemon) -> None:
    daemon.loops.clear()
    assert (await ask(daemon, "/livez")).status == 200


async def test_status_takes_any_value(daemon: FakeDaemon) -> None:
    daemon.state = {"lag": float("nan"), "tables": {1: "t"}, "path": ValueError("x"), "n": 2}
    answer = await ask(daemon, "/status")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"lag": None, "tables": {"1": "t"}, "path": "x", "n": 2}


async def test_ready_while_every_check_holds(daemon: FakeDaemon) -> None:
    assert (await ask(daemon, "/readyz")).status == 200
    daemon.checks["not_stopping"] = False
    answer = await ask(daemon, "/readyz")
    assert answer.status == 503
    assert answer.json() == {"ok": False, "checks": {"started": True, "not_stopping": False}}


@pytest.mark.parametrize("path", ["/", "/events", "/metrics", "/livez", "/readyz", "/status", "/openapi.yaml"])
async def test_head_answers_without_a_body_to_read(daemon: FakeDaemon, path: str) -> None:
    assert (await ask(daemon, path, method="HEAD")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("GET", "/nothing", 404),
        ("GET", "/static/nothing", 404),
        ("POST", "/livez", 405),
        ("PUT", "/metrics", 405),
    ],
)
async def test_other_requests_are_refused_in_json(daemon: FakeDaemon, method: str, path: str, status: int) -> None:
    answer = await ask(daemon, path, method=method)
    assert answer.status == status
    assert answer.json()["error"]
