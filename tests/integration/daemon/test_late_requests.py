"""A bulk request arrives when its sender has given it up or is dead, and the index has forgotten a deletion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.late_relay import LateRelay
from tests.integration.daemon.stage import SMALL, Stage

REMEMBERED = 4
"""Seconds after which the index forgets deletions; the first look is 30 seconds later."""

SLOW = 300.0


@contextmanager
def relayed(stage: Stage) -> Iterator[LateRelay]:
    server = urlsplit(stage.box.elasticsearch.url)
    assert server.hostname
    assert server.port
    with LateRelay(server.hostname, server.port) as relay:
        stage.table("thing", "id text PRIMARY KEY, name text", settings={**SMALL, "gc_deletes": f"{REMEMBERED}s"})
        stage.daemon.config["elasticsearch"] |= {"hosts": [relay.url], "request_timeout": "2s"}
        try:
            yield relay
        finally:
            stage.daemon.kill()


def lose_a_write(stage: Stage, relay: LateRelay) -> None:
    relay.hold(b"a late name")
    stage.execute("INSERT INTO {ks}.thing (id, name) VALUES ('late', 'a late name')")
    wait_for("the request on its way", lambda: relay.holds)


def remove_it(stage: Stage) -> None:
    wait_for("the document", lambda: stage.get("thing", "late"))
    stage.execute("DELETE FROM {ks}.thing WHERE id = 'late'")
    wait_for("the document gone", lambda: stage.get("thing", "late") is None)
    stage.settle()


def let_it_arrive(stage: Stage, relay: LateRelay) -> None:
    time.sleep(REMEMBERED * 1.5)
    stage.elastic.indices.refresh(index=stage.alias("thing"))  # forgets deletions that are old enough
    (item,) = [each["index"] for each in relay.release() if "index" in each]
    assert item["status"] == 201, "Elasticsearch takes it as a new document"


def assert_removed_again(stage: Stage) -> None:
    wait_for("the document gone again", lambda: stage.daemon.metric("documents_written_late_total"), seconds=SLOW)
    assert stage.get("thing", "late") is None
    assert stage.daemon.events("suspects.written_late")[0]["ids"] == ["late"]
    stage.assert_equal("thing")


@pytest.mark.other_engines
def test_a_request_that_was_given_up_before_a_kill(stage: Stage) -> None:
    with relayed(stage) as relay:
        stage.daemon.run()
        lose_a_write(stage, relay)
        wait_for("the suspect", lambda: stage.daemon.status()["suspect_documents"] == 1)
        remove_it(stage)
        stage.daemon.kill()
        stage.daemon.run()
        let_it_arrive(stage, relay)
        assert_removed_again(stage)


def test_a_request_that_was_under_way_at_a_kill(stage: Stage) -> None:
    with relayed(stage) as relay:
        stage.daemon.run()
        lose_a_write(stage, relay)
        stage.daemon.kill()
        stage.daemon.run()
        stage.daemon.wait_event("suspects.requests_broken_off")
        remove_it(stage)
        assert stage.daemon.status()["suspect_documents"] == 1
        let_it_arrive(stage, relay)
        assert_removed_again(stage)
