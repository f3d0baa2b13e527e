"""After the response, the document of a requested id equals its row, whatever was in the index before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cassandra.concurrent import execute_concurrent_with_args

from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import send, spoil, sync, version_of
from tests.servers import unparsable


@pytest.fixture
def paused(stage: Stage) -> Iterator[None]:
    """Hold the tail for the time of a test."""
    assert send(stage, "POST", "/admin/pause").content["paused"] is True
    assert stage.daemon.status()["paused"]
    yield
    assert send(stage, "POST", "/admin/resume").content["paused"] is False


def test_a_document_that_is_wrong_at_its_present_version_is_mended(stage: Stage) -> None:
    stage.execute("INSERT INTO {ks}.person (id, name, n) VALUES ('wrong', 'Ada', 1)")
    stage.settle()
    version = version_of(stage, "person", "wrong")
    spoil(stage, "person", "wrong", {"id": "wrong", "name": "Eve", "n": 666}, version=version)
    answer = sync(stage, "person", "wrong")
    assert answer.status == 200, answer
    assert answer.result["esSyncResponse"] == {"wrong": True}
    assert stage.get("person", "wrong") == {"id": "wrong", "name": "Ada", "n": 1}
    assert version_of(stage, "person", "wrong") > version


def test_a_document_whose_version_is_far_in_the_future_is_mended(stage: Stage) -> None:
    stage.execute("INSERT INTO {ks}.person (id, name, n) VALUES ('future', 'Ada', 1)")
    stage.settle()
    future = (time.time_ns() // 1000) + 3600 * 1_000_000
    spoil(stage, "person", "future", {"id": "future", "name": "Eve"}, version=future)
    assert sync(stage, "person", "future").status == 200
    assert stage.get("person", "future") == {"id": "future", "name": "Ada", "n": 1}
    assert version_of(stage, "person", "future") > future


@pytest.mark.usefixtures("paused")
def test_the_tail_may_be_paused(stage: Stage) -> None:
    for name in ("made", "gone"):
        stage.execute(f"INSERT INTO {{ks}}.person (id, name, n) VALUES ('{name}', 'Ada', 1)")
    spoil(stage, "person", "gone", {"id": "gone", "name": "Ada"}, version=1)
    stage.execute("DELETE FROM {ks}.person WHERE id = 'gone'")
    assert stage.get("person", "made") is None
    answer = sync(stage, "person", "made", "gone", "never")
    assert answer.result["esSyncResponse"] == {"made": True, "gone": True, "never": True}
    assert answer.result["counts"] == {"indexed": 1, "deleted": 1, "missing": 1}
    assert stage.get("person", "made") == {"id": "made", "name": "Ada", "n": 1}
    assert stage.get("person", "gone") is None


def test_the_tail_may_be_far_behind(stage: Stage) -> None:
    """What is asked for is not queued behind thousands of changes, and these do not undo it when they come."""
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.person (id, name, n) VALUES (?, 'old', ?)")
    assert send(stage, "POST", "/admin/pause").status == 200
    try:
        rows = [(f"behind-{number}", number) for number in range(3000)]
        execute_concurrent_with_args(stage.cql, insert, rows, concurrency=64)
        spoil(stage, "person", "behind-1", {"id": "behind-1", "name": "wrong"}, version=1)
        stage.execute("INSERT INTO {ks}.person (id, name, n) VALUES ('behind-0', 'new', 0)")
        stage.execute("DELETE FROM {ks}.person WHERE id = 'behind-1'")
    finally:
        assert send(stage, "POST", "/admin/resume").status == 200
    answer = sync(stage, "person", "behind-0", "behind-1", "behind-2999")
    assert answer.result["esSyncResponse"] == {"behind-0": True, "behind-1": True, "behind-2999": True}
    assert stage.get("person", "behind-0") == {"id": "behind-0", "name": "new", "n": 0}
    assert stage.get("person", "behind-1") is None
    assert stage.get("person", "behind-2999") == {"id": "behind-2999", "name": "old", "n": 2999}
    stage.settle()
    stage.assert_equal("person")


def test_cdc_may_be_off(stage: Stage) -> None:
    stage.execute("INSERT INTO {ks}.unseen (id, name) VALUES ('a', 'Ada')")
    assert sync(stage, "unseen", "a").result["counts"]["indexed"] == 1
    assert stage.get("unseen", "a") == {"id": "a", "name": "Ada"}
    stage.execute("DELETE FROM {ks}.unseen WHERE id = 'a'")
    assert sync(stage, "unseen", "a").result["counts"]["deleted"] == 1
    assert stage.get("unseen", "a") is None


@pytest.mark.usefixtures("paused")
def test_a_whole_partition(stage: Stage) -> None:
    for batch in ("b1", "b2", "b:3"):
        stage.execute(
            f"INSERT INTO {{ks}}.course (courseid, batchid, name, title) VALUES ('c', '{batch}', '{batch}', 't')"
        )
    assert sync(stage, "course", "c").result["counts"] == {"indexed": 3, "deleted": 0, "missing": 0}
    assert set(stage.rows("course")) == set(stage.documents("course"))
    stage.execute("DELETE FROM {ks}.course WHERE courseid = 'c' AND batchid = 'b1'")
    stage.execute("UPDATE {ks}.course SET title = 'new' WHERE courseid = 'c'")
    answer = sync(stage, "course", {"courseid": "c"}, {"courseId": "c", "batchid": "b:3"}, "c:b2")
    assert answer.result["esSyncResponse"] == {"c": True, "c:b\\:3": True, "c:b2": True}
    assert answer.result["counts"]["deleted"] == 1
    stage.assert_equal("course")


def test_one_that_fails_does_not_fail_its_neighbours(stage: Stage) -> None:
    stage.execute("INSERT INTO {ks}.strict (id, day) VALUES ('good', '2024-01-01')")
    stage.execute("INSERT INTO {ks}.strict (id, day) VALUES ('bad', 'soon')")
    answer = sync(stage, "strict", "good", "bad")
    assert answer.status == 200
    assert answer.result["esSyncResponse"] == {"good": True, "bad": False}
    assert unparsable() in answer.result["failures"]["bad"]
    letters = send(stage, "GET", "/admin/dead-letters").content["dead_letters"]
    assert any(letter["table"] == "strict" and letter["detail"]["id"] == "bad" for letter in letters)


@pytest.mark.parametrize("refresh", ["true", "wait_for"])
def test_it_is_searchable_before_the_answer_where_asked(stage: Stage, refresh: str) -> None:
    name = f"searchable-{refresh}"
    stage.elastic.indices.put_settings(index=stage.alias("unseen"), settings={"refresh_interval": "-1"})
    stage.execute("INSERT INTO {ks}.unseen (id, name) VALUES (%s, 'x')", [name])
    assert sync(stage, "unseen", name, query=f"?refresh={refresh}").status == 200
    found = stage.elastic.search(index=stage.alias("unseen"), query={"ids": {"values": [name]}})
    assert found["hits"]["total"]["value"] == 1


def test_a_wrong_id_leaves_everything_as_it_was(stage: Stage) -> None:
    good = "2bc4a3c4-7c92-4d52-a5f5-5dd0a3c1f7bd"
    stage.execute(f"INSERT INTO {{ks}}.device (id, name) VALUES ({good}, 'x')")
    stage.settle()
    version = version_of(stage, "device", good)
    answer = sync(stage, "device", good, "nothing")
    assert (answer.status, answer.result["field"]) == (400, "objectIds[1].id")
    assert version_of(stage, "device", good) == version


def test_it_races_with_the_tail_and_with_other_requests(stage: Stage) -> None:
    """Each answer shows a state that is no older than what its request found written, and the end is equal."""
    ids = [f"race-{number}" for number in range(5)]
    written = dict.fromkeys(ids, 0)
    stop = threading.Event()

    def write() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            identity = ids[number % len(ids)]
            if number % 7 == 0:
                stage.execute("DELETE FROM {ks}.person WHERE id = %s", [identity])
            else:
                stage.execute("INSERT INTO {ks}.person (id, name, n) VALUES (%s, 'x', %s)", [identity, number])
                written[identity] = number
        return number

    def ask() -> int:
        asked = 0
        while not stop.is_set():
            before = dict(written)
            answer = sync(stage, "person", *ids)
            assert answer.status == 200, answer
            assert all(answer.result["esSyncResponse"].values())
            for identity in ids:
                shown = stage.get("person", identity)
                assert shown is None or shown["n"] >= before[identity]
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(write), *(pool.submit(ask) for _ in range(3))]
        time.sleep(5)
        stop.set()
        counts = [each.result(60) for each in work]
    assert min(counts) > 3
    stage.settle()
    stage.assert_equal("person")


def test_the_published_request_gets_its_answer(stage: Stage) -> None:
    """The recorded envelope of a live service: the same keys, and SUCCESS."""
    stage.execute("INSERT INTO {ks}.person (id, name, n) VALUES ('published', 'x', 1)")
    answer = send(
        stage,
        "POST",
        "/v1/data/sync",
        {"params": {}, "request": {"objectType": "person", "objectIds": ["published"]}},
    )
    assert answer.status == 200
    assert list(answer.content) == ["id", "ver", "ts", "params", "responseCode", "result"]
    assert list(answer.content["params"]) == ["resmsgid", "msgid", "err", "status", "errmsg"]
    assert (answer.content["id"], answer.content["ver"]) == ("api.data.sync", "v1")
    assert answer.content["responseCode"] == "OK"
    assert answer.result["response"] == "SUCCESS"


@pytest.mark.parametrize("token", [None, "guess"])
def test_strangers_are_refused(stage: Stage, token: str | None) -> None:
    for method, path in (("POST", "/sync"), ("GET", "/sync/1"), ("POST", "/admin/pause")):
        assert send(stage, method, path, {}, token=token).status == 401
    assert stage.daemon.get("/livez")
    assert "guess" not in stage.daemon.log_text()
