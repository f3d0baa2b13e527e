"""The heartbeat measures freshness while no application writes; a signal changes the log level."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Session

from sandbox import Sandbox
from sandbox.search_client import make_search_client
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage


@pytest.fixture
def stage(box: Sandbox, cql: Session, tmp_path: Path) -> Iterator[Stage]:
    """A daemon with a heartbeat."""
    with (
        make_search_client(box.elasticsearch.url) as elastic,
        new_stage(box, cql, elastic, tmp_path) as stage,
    ):
        table = stage.table("heartbeat", "node text PRIMARY KEY, at timestamp")
        stage.daemon.config["heartbeat"] = {"table": table, "every": "1s"}
        yield stage


def test_the_row_is_shown_again_and_again_while_nobody_writes(stage: Stage) -> None:
    daemon = stage.daemon.run()
    shown = "last_acknowledged_write_timestamp_seconds"

    def moment() -> float:
        return daemon.metric(shown, table="heartbeat")

    first = wait_for("the heartbeat to be shown", moment)
    assert abs(time.time() - first) < 60
    wait_for("a newer heartbeat to be shown", lambda: moment() > first)
    assert daemon.metric("heartbeat_written_timestamp_seconds", table="heartbeat") >= first
    assert daemon.metric("replication_lag_seconds_count", table="heartbeat") >= 2
    stage.elastic.indices.refresh(index=stage.alias("heartbeat"))
    (document,) = stage.elastic.search(index=stage.alias("heartbeat"))["hits"]["hits"]
    assert document["_source"]["node"].startswith(socket.gethostname())


def test_signals_change_what_is_logged(stage: Stage) -> None:
    daemon = stage.daemon.run()
    os.kill(daemon.pid, signal.SIGUSR1)
    daemon.wait_event("daemon.log_level", log_level="debug")
    wait_for(
        "an event of the lowest level",
        lambda: [event for event in daemon.events("heartbeat.written") if event["level"] == "debug"],
    )
    os.kill(daemon.pid, signal.SIGUSR2)
    daemon.wait_event("daemon.log_level", log_level="info")
    assert daemon.alive


def test_a_collector_of_traces_that_is_away_holds_nothing_up(stage: Stage) -> None:
    stage.daemon.config["tracing"] = {"endpoint": "http://127.0.0.1:9/v1/traces", "share": 1}
    daemon = stage.daemon.run()
    wait_for("the heartbeat to be shown", lambda: daemon.metric("replication_lag_seconds_count", table="heartbeat") > 2)
    assert daemon.stop(60) == 0
