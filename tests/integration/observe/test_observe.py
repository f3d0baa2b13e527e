"""A real Prometheus looks at a real daemon: each query of the dashboard has an answer, and no rule fails."""

from __future__ import annotations

import itertools
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cassandra.cluster import Session

from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.sync_client import SyncClient
from monitoring.dashboard import filled_in, rows
from sandbox import Sandbox
from sandbox.ports import PortReservation
from sandbox.process import ServerProcess
from sandbox.prometheus import JOB, Prometheus
from sandbox.search_client import make_search_client
from tests.integration.daemon.harness import StillWaitingError, wait_for
from tests.integration.daemon.stage import Stage, new_stage


@pytest.fixture
def stage(box: Sandbox, cql: Session, tmp_path: Path) -> Iterator[Stage]:
    """A daemon that polls one of its tables too, compares them, and shows another table's rows in documents."""
    with (
        make_search_client(box.elasticsearch.url) as elastic,
        new_stage(box, cql, elastic, tmp_path) as stage,
    ):
        stage.create("makers", "id text PRIMARY KEY, name text")
        maker = {
            "table": f"{stage.keyspace}.makers",
            "on": {"id": "maker"},
            "fields": {"name": "makerName"},
            "dependents": {"field": "maker"},
        }
        stage.table("seen", "id int PRIMARY KEY, n int, maker text", lookups={"maker": maker})
        stage.daemon.config["jobs"] = {"audit": {"every": "3s", "sample": 1}}
        poll = {"table": f"{stage.keyspace}.seen", "strategy": "scan", "every": "1s", "deletes": {"every": "1s"}}
        stage.daemon.config["poll"] = [poll]
        yield stage


@pytest.fixture
def prometheus(stage: Stage, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that looks at the stage's daemon."""
    stage.daemon.run()
    ports = PortReservation()
    folder = tmp_path / "prometheus"
    server = Prometheus(folder, port=ports.reserve(), target=stage.daemon.url.removeprefix("http://"), seconds=0.5)
    log = folder / "prometheus.log"
    process = ServerProcess("Prometheus", server.prepare(), output=log, log=log, is_ready=server.is_ready)
    process.start()
    try:
        process.wait_ready()
        yield server
    finally:
        process.stop()
        ports.close()


def test_each_query_of_the_dashboard_has_an_answer(stage: Stage, prometheus: Prometheus) -> None:
    client = SyncClient(DaemonClient(stage.daemon.url))
    waiting = [query for panels in rows().values() for panel in panels for query in panel.queries]
    assert len(waiting) > 30
    numbers = itertools.count()

    def ask() -> bool:
        number = next(numbers)
        stage.execute("INSERT INTO {ks}.seen (id, n) VALUES (%s, %s)", (number % 7, number))
        client.sync("seen", [str(number % 7)])
        for query in list(waiting):
            if prometheus.query(filled_in(query, job=JOB, instance=".+", interval="10s")):
                waiting.remove(query)
        return not waiting

    with suppress(StillWaitingError):
        wait_for("an answer to each query", ask, seconds=120, pause=0.5)
    assert [query.text for query in waiting] == []

    with urllib.request.urlopen(f"{prometheus.url}/api/v1/rules", timeout=10) as answer:
        told = answer.read().decode()
    assert '"health":"ok"' in told
    assert '"health":"err"' not in told
    assert "CdcDaemonAbsent" in told
    assert not {"CdcDaemonAbsent", "CdcDaemonDown", "CdcElasticsearchUnavailable"} & prometheus.alerts().keys()
