"""A fresh index takes the live one's place while rows change and searches run, and gives it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from elasticsearch import ApiError, TransportError

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import send
from tests.integration.tablejobs.conftest import fill, finished, job, start
from tests.servers import unparsable

ROWS = 2000
IDS = [f"p-{number:05}" for number in range(ROWS)]


@pytest.fixture(autouse=True)
def _one_index(stage: Stage) -> Iterator[None]:
    """Begin with rows and their documents, and leave one index behind the alias."""
    fill(stage, "person", [(identity, "Ada", 0) for identity in IDS])
    stage.settle()
    stage.elastic.indices.refresh(index=stage.alias("person"))
    yield
    for report in send(stage, "GET", "/admin/jobs").content["jobs"]:
        if report["finished"] is None:
            send(stage, "POST", f"/admin/jobs/{report['job']}/cancel")
    wait_for("nothing under way", lambda: not stage.daemon.status()["jobs"])
    if indices(stage)["other"] is not None:
        assert send(stage, "POST", "/admin/indices/person/drop").status == 200


def indices(stage: Stage) -> Mapping[str, Any]:
    """Return what the daemon tells of the indices of persons."""
    listed = send(stage, "GET", "/admin/indices").content["indices"]
    return next(each for each in listed if each["type"] == "person")


def live(stage: Stage) -> str:
    """Return the index behind the alias."""
    (index,) = stage.elastic.indices.get_alias(name=stage.alias("person")).body
    return str(index)


class Searches:
    """Searches through the alias one after another, and what became of them."""

    def __init__(self, stage: Stage) -> None:
        self.made = 0
        self.failed: list[str] = []
        self._stage = stage

    def search(self) -> None:
        self.made += 1
        try:
            answer = self._stage.elastic.search(index=self._stage.alias("person"), size=1, track_total_hits=True)
            # One in ten rows goes and comes back meanwhile; an index that is not filled shows far fewer.
            total = answer["hits"]["total"]["value"]
            if total < ROWS * 0.8 or answer["_shards"]["failed"]:
                self.failed.append(f"{total} documents, {answer['_shards']}")
        except (ApiError, TransportError) as error:
            self.failed.append(str(error))


@contextmanager
def busy(stage: Stage) -> Iterator[Searches]:
    """Change and remove rows, and search documents, for the time of a block."""
    searches = Searches(stage)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.wait(0.01):
            number += 1
            identity = IDS[number * 7919 % ROWS]
            if number % 10 == 0:
                stage.execute("DELETE FROM {ks}.person WHERE id = %s", [identity])
            else:
                values = [identity, "Bob", number]
                stage.execute("INSERT INTO {ks}.person (id, name, n) VALUES (%s, %s, %s)", values)

    def search() -> None:
        while not stop.wait(0.003):
            searches.search()

    threads = [threading.Thread(target=change), threading.Thread(target=search)]
    for thread in threads:
        thread.start()
    try:
        yield searches
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def assert_both_equal(stage: Stage) -> None:
    """Compare the rows with the documents of both indices."""
    stage.settle()
    stage.assert_equal("person")
    of_live = stage.documents("person")
    other = str(indices(stage)["other"])
    stage.elastic.indices.refresh(index=other)
    hits = stage.elastic.search(index=other, size=10_000)["hits"]["hits"]
    assert {hit["_id"] for hit in hits} == of_live.keys()
    assert all(of_live[hit["_id"]].items() <= hit["_source"].items() for hit in hits)


@pytest.mark.other_engines
def test_a_swap_under_load_a_rollback_and_the_removal(stage: Stage) -> None:
    before = live(stage)
    with busy(stage) as searches:
        report = finished(stage, start(stage, "backfill", types=["person"], new_index=True))
        assert (report["state"], report["message"]) == ("done", None)
        plan = report["report"]["new_index"]["person"]
        assert (plan["in_place_of"], plan["swapped"]) == (before, True)
        assert live(stage) == plan["index"] != before
        made = searches.made
        wait_for("searches after the swap", lambda: searches.made > made + 5)
    assert searches.failed == []
    assert searches.made > 20
    assert_both_equal(stage)
    assert report["report"]["types"]["person"]["left"] == {"missing": 0, "different": 0, "surplus": 0}
    found = indices(stage)
    assert (found["other"], found["phase"], found["written"], found["behind"]) == (before, "kept", True, False)
    refused = finished(stage, start(stage, "backfill", types=["person"], new_index=True))
    assert refused["state"] == "failed"
    assert "kept for a rollback" in refused["message"]

    with busy(stage) as searches:
        assert send(stage, "POST", "/admin/indices/person/rollback?dry_run=true").content["live"] == before
        assert live(stage) != before
        assert send(stage, "POST", "/admin/indices/person/rollback").status == 200
        assert live(stage) == before
        made = searches.made
        wait_for("searches after the rollback", lambda: searches.made > made + 5)
    assert searches.failed == []
    assert_both_equal(stage)

    with busy(stage) as searches:
        dropped = send(stage, "POST", "/admin/indices/person/drop")
        assert (dropped.status, dropped.content["dropped"]) == (200, plan["index"])
    assert searches.failed == []
    assert not stage.elastic.indices.exists(index=plan["index"])
    assert indices(stage)["other"] is None
    stage.settle()
    stage.assert_equal("person")
    stage.assert_nothing_set_aside()


def test_it_survives_kill_9_while_it_builds_and_around_the_swap(stage: Stage) -> None:
    before = live(stage)
    with busy(stage) as searches:
        identity = start(stage, "backfill", types=["person"], new_index=True, rate=1000)
        wait_for("an index that is built", lambda: indices(stage)["phase"] == "building")
        for least in (1, ROWS // 3):
            stage.daemon.kill()
            stage.daemon.run()
            wait_for("progress", lambda: job(stage, identity)["rows"] > least)  # noqa: B023
        stage.daemon.kill()
        stage.daemon.run()
        wait_for("the swap", lambda: live(stage) != before, seconds=120, pause=0.002)
        stage.daemon.kill()
        assert searches.failed == []
        stage.daemon.run()
        report = finished(stage, identity)
    assert searches.failed == []
    assert (report["state"], report["rows"] >= ROWS * 0.8) == ("done", True)
    assert report["report"]["new_index"]["person"]["swapped"]
    assert live(stage) == report["report"]["new_index"]["person"]["index"]
    assert_both_equal(stage)


def test_an_index_that_refuses_documents_never_takes_the_place(stage: Stage) -> None:
    before = live(stage)
    usual = dict(stage.mappings["person"])
    text = {"type": "keyword"}
    stage.mappings["person"]["mappings"] = {"properties": {"id": text, "name": text, "n": {"type": "byte"}}}
    fill(stage, "person", [(identity, "Ada", 1000) for identity in IDS[:5]])
    stage.daemon.kill()
    stage.daemon.run()
    try:
        report = finished(stage, start(stage, "backfill", types=["person"], new_index=True))
        assert report["state"] == "failed"
        assert "found 5 documents that differ" in report["message"]
        assert unparsable() in report["message"]
        assert live(stage) == before
        found = indices(stage)
        assert (found["phase"], found["written"]) == ("building", True)
        stage.execute("UPDATE {ks}.person SET n = 7 WHERE id = %s", [IDS[0]])
        stage.settle()
        stage.assert_equal("person")
    finally:
        stage.mappings["person"] = usual
        stage.daemon.kill()
        stage.daemon.run()
    changed = finished(stage, start(stage, "backfill", types=["person"], new_index=True))
    assert changed["state"] == "failed"
    assert "declaration has changed" in changed["message"]
    assert send(stage, "POST", "/admin/indices/person/drop").content["phase"] == "building"
    assert live(stage) == before


def test_a_dry_run_creates_nothing(stage: Stage) -> None:
    before = live(stage)
    answer = send(stage, "POST", "/admin/backfill", {"types": ["person"], "new_index": True, "dry_run": True})
    assert answer.status == 200, answer
    found = answer.content["types"]["person"]
    plan = found["new_index"]
    assert (found["certainty"], found["rows"], plan["in_place_of"]) == ("counted", len(stage.rows("person")), before)
    assert not stage.elastic.indices.exists(index=plan["index"])
    assert indices(stage)["other"] is None
