"""Cassandra or Elasticsearch is unavailable: an answer names it in time, and the next one after its return succeeds.

A stop in the meantime answers the waiting callers.
"""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.search_client import make_search_client
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.sources.requests.asking import Answer, send, sync, with_token
from tests.servers import make_sandbox

DEADLINE = 2.0


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A daemon on servers that can be suspended."""
    with (
        make_sandbox() as own,
        own.connect() as cql,
        make_search_client(own.elasticsearch.url, max_retries=5, retry_on_timeout=True) as elastic,
        new_stage(own, cql, elastic, tmp_path_factory.mktemp("away")) as stage,
    ):
        stage.table("person", "id text PRIMARY KEY, name text")
        stage.table("course", "courseid text, batchid text, name text, PRIMARY KEY (courseid, batchid)")
        stage.daemon.config["http"] = with_token({"sync_timeout": f"{DEADLINE:g}s"})
        stage.execute("INSERT INTO {ks}.person (id, name) VALUES ('a', 'Ada')")
        stage.execute("INSERT INTO {ks}.course (courseid, batchid, name) VALUES ('c', 'b', 'B')")
        yield stage


@pytest.fixture
def running(fragile: Stage) -> Stage:
    """The same, with a daemon that answers."""
    fragile.wait_session()
    if not fragile.daemon.alive:
        fragile.daemon.run()
    wait_answered(fragile)
    return fragile


def wait_answered(stage: Stage) -> None:
    wait_for("an answer", lambda: sync(stage, "person", "a").status == 200, pause=0.2)


def assert_away(answer: Answer, service: str) -> None:
    assert answer.status == 503, answer
    assert answer.content["params"]["err"] == "SERVICE_UNAVAILABLE"
    assert answer.content["params"]["status"] == "FAILED"
    assert answer.content["responseCode"] == "SERVICE_UNAVAILABLE"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.result["service"] == service, answer


@pytest.mark.parametrize("service", ["cassandra", "elasticsearch"])
def test_a_server_that_hangs_is_named_within_the_deadline(running: Stage, service: str) -> None:
    server = getattr(running.box, service)
    server.pause()
    try:
        # One row; while its read or write still hangs the same once more, and a whole partition.
        for object_type, identity in (("person", "a"), ("person", "a"), ("course", {"courseid": "c"})):
            answer = sync(running, object_type, identity, seconds=DEADLINE + 15)
            assert_away(answer, service)
            assert not answer.result["esSyncResponse"]
        assert running.daemon.get("/livez")
    finally:
        server.resume()
    wait_answered(running)
    assert running.get("person", "a") == {"id": "a", "name": "Ada"}


@pytest.mark.parametrize("service", ["cassandra", "elasticsearch"])
def test_a_server_that_was_killed_is_named(running: Stage, service: str) -> None:
    server = getattr(running.box, service)
    server.kill()
    try:
        for answer in [sync(running, "person", "a", seconds=DEADLINE + 15) for _ in range(2)]:
            assert_away(answer, service)
        assert running.daemon.get("/livez")
        job = sync(running, "person", "a", operationType="async")
        assert job.status == 202
    finally:
        server.start()
        server.wait_ready()
    wait_answered(running)
    path = f"/sync/{job.result['job']}"
    wait_for("the job", lambda: send(running, "GET", path).result["state"] == "done", pause=0.2)


def test_a_stop_answers_those_who_wait_and_does_not_wait_for_what_is_held(running: Stage) -> None:
    """The tail is paused with changes before it, and a request waits for a server that hangs."""
    assert send(running, "POST", "/admin/pause").status == 200
    for number in range(20):
        running.execute("INSERT INTO {ks}.person (id, name) VALUES (%s, 'x')", [f"held-{number}"])
    wait_for("the change at the gate", lambda: running.daemon.status()["backlog"]["bytes"] > 0)
    running.box.elasticsearch.pause()
    try:
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(sync, running, "person", f"held-{number}") for number in range(4)]
            time.sleep(0.5)
            running.daemon.terminate()
            answers = [each.result(60) for each in waiting]
    finally:
        running.box.elasticsearch.resume()
    assert running.daemon.wait_exit(60) == 0
    assert {answer.status for answer in answers} == {503}
    assert {answer.content["params"]["err"] for answer in answers} == {"SERVICE_UNAVAILABLE"}
    assert all("retry-after" in answer.headers for answer in answers)
    running.daemon.run()
    running.settle()
    running.assert_equal("person")


def test_a_stop_lets_answers_out_that_are_ready(running: Stage) -> None:
    """Requests one after another until the stop: each is answered, with 200 or with 503, and none is cut."""

    def ask() -> list[int]:
        statuses: list[int] = []
        while not statuses or statuses[-1] == 200:
            try:
                statuses.append(sync(running, "person", "a", {"id": "b"}).status)
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError):
                    raise
                break
        return statuses

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        time.sleep(1)
        assert running.daemon.stop(60) == 0
        for each in asking:
            assert set(each.result(60)) <= {200, 503}
