"""A Cassandra that hangs: its process is stopped, or the connections to it are open and dead.

The daemon says so within seconds, refuses requests at once, and goes on by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox import Sandbox
from sandbox.search_client import make_search_client
from tests.browser.relay import Relay
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.sources.requests.asking import sync, with_token
from tests.servers import make_sandbox

DEADLINE = 900.0
"""Seconds that the daemon gives a request: far more than the test waits, so an answer before is no deadline's."""

TOMBSTONES = 1000


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    """Servers that may be stopped. A read that meets a thousand tombstones fails."""
    with make_sandbox(yaml={"tombstone_failure_threshold": TOMBSTONES}) as running:
        yield running


@pytest.fixture
def running(own: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A daemon that answers, with a heartbeat; it is not started."""
    with (
        own.connect() as cql,
        make_search_client(own.elasticsearch.url, max_retries=5, retry_on_timeout=True) as elastic,
        new_stage(own, cql, elastic, tmp_path_factory.mktemp("hung")) as stage,
    ):
        stage.table("person", "id text PRIMARY KEY, name text")
        stage.table("course", "id text, part int, PRIMARY KEY (id, part)")
        stage.table("heartbeat", "node text PRIMARY KEY, at timestamp")
        stage.daemon.config["heartbeat"] = {"table": f"{stage.keyspace}.heartbeat", "every": "1s"}
        stage.daemon.config["http"] = with_token({"sync_timeout": f"{DEADLINE:g}s"})
        stage.execute("INSERT INTO {ks}.person (id, name) VALUES ('a', 'Ada')")
        yield stage


def is_available(stage: Stage) -> bool:
    return bool(stage.daemon.status()["cassandra"]["available"])


def problems(stage: Stage) -> str:
    return " ".join(problem["text"] for problem in stage.daemon.status()["problems"])


def wait_answered(stage: Stage) -> None:
    wait_for("an answer", lambda: sync(stage, "person", "a").status == 200, pause=0.2)
    assert stage.get("person", "a") == {"id": "a", "name": "Ada"}


def assert_named_and_refused(stage: Stage, pool: ThreadPoolExecutor) -> None:
    """Assert that callers are told that it is Cassandra: those who wait, those who come later, and who watches."""
    waiting = [pool.submit(sync, stage, "person", "a", seconds=DEADLINE / 3) for _ in range(3)]
    wait_for("the daemon to notice", lambda: not is_available(stage))
    for answer in (*(each.result() for each in waiting), sync(stage, "person", "a", seconds=DEADLINE / 3)):
        assert answer.status == 503, answer
        assert answer.result["service"] == "cassandra", answer
    wait_for("the metric", lambda: stage.daemon.metric("cassandra_available") == 0)
    assert stage.daemon.metric("elasticsearch_available") == 1
    wait_for("the page to say it", lambda: "Cassandra does not answer" in problems(stage))
    assert "Elasticsearch" not in problems(stage)
    assert stage.daemon.get("/livez")
    assert stage.daemon.get("/readyz")
    (lost,) = stage.daemon.events("cassandra.unavailable")
    assert lost["hint"]


def test_a_process_that_is_stopped(running: Stage) -> None:
    running.daemon.run()
    wait_answered(running)
    assert is_available(running)
    running.box.cassandra.pause()
    try:
        with ThreadPoolExecutor(4) as pool:
            assert_named_and_refused(running, pool)
        wait_for("the heartbeat to fail", lambda: "heartbeat fails: Cassandra did not answer" in problems(running))
    finally:
        running.box.cassandra.resume()
    wait_for("Cassandra to be back", lambda: is_available(running))
    assert running.daemon.metric("cassandra_available") == 1
    wait_answered(running)
    assert running.daemon.events("cassandra.available")


def test_connections_that_are_open_and_dead(running: Stage) -> None:
    with Relay("127.0.0.1", running.box.cassandra.port) as relay:
        running.daemon.config["cassandra"] = {"contact_points": ["127.0.0.1"], "port": relay.port}
        running.daemon.run()
        wait_answered(running)
        relay.deaden()
        with ThreadPoolExecutor(4) as pool:
            waiting = pool.submit(sync, running, "person", "a", seconds=DEADLINE / 3)
            running.daemon.wait_event("cassandra.unavailable")
            assert waiting.result().status == 503
        wait_for("connections made anew", lambda: is_available(running))
        wait_answered(running)
        running.settle()
        running.daemon.kill()


def test_a_partition_that_can_never_be_read_is_no_outage(running: Stage) -> None:
    for first in range(0, 2 * TOMBSTONES, 100):
        parts = ", ".join(map(str, range(first, first + 100)))
        running.execute(f"DELETE FROM {{ks}}.course WHERE id = 'poison' AND part IN ({parts})")
    running.daemon.run()
    wait_answered(running)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sync, running, "course", {"id": "poison"}, seconds=DEADLINE / 3)
        running.daemon.wait_event("pipeline.partition_unreadable")
        assert is_available(running)
        wait_answered(running)
        assert not waiting.done()
        assert not running.daemon.events("cassandra.unavailable")
        running.execute("TRUNCATE {ks}.course")
        assert waiting.result().status == 200
    assert not running.daemon.events("cassandra.unavailable")


def test_a_stop_while_cassandra_hangs_is_clean(running: Stage) -> None:
    running.daemon.run()
    wait_answered(running)
    running.box.cassandra.pause()
    try:
        running.daemon.wait_event("cassandra.unavailable")
        wait_for("the heartbeat to fail", lambda: "heartbeat fails: Cassandra did not answer" in problems(running))
        assert running.daemon.stop(120) == 0
    finally:
        running.box.cassandra.resume()
    assert not [line for line in running.daemon.log() if line.get("level") in {"error", "critical"}]
    assert not running.daemon.events("text")
