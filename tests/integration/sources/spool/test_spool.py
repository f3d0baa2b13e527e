"""Elasticsearch is away and cdc_raw is small: Cassandra takes every write all the same, and in the end all is equal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import FAST_START, Sandbox
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage

TOTAL_MIB = 24
PAUSE = 0.2
"""Seconds between two rounds: half the space is left when the spool begins, and a machine may be slow just then."""


@pytest.fixture
def small_stage(tmp_path: Path) -> Iterator[Stage]:
    """Servers of this test's own: cdc_raw may hold 24 MiB, in segments of 1 MiB, and Elasticsearch is stopped."""
    changes = {
        "commitlog_segment_size": "1MiB",
        "cdc_total_space": f"{TOTAL_MIB}MiB",
        "commitlog_sync_period": "200ms",
        "periodic_commitlog_sync_lag_block": "10s",
    }
    with (
        Sandbox(yaml=changes, java_options=FAST_START) as box,
        box.connect() as cql,
        Elasticsearch(box.elasticsearch.url, request_timeout=60, max_retries=3, retry_on_timeout=True) as elastic,
        new_stage(box, cql, elastic, tmp_path / "daemon") as stage,
    ):
        yield stage


def write(cql: Session, keyspace: str, *, rounds: int, rows: int, failures: list[Exception]) -> None:
    """Write each row over and over: four kilobytes each time."""
    insert = cql.prepare(f"INSERT INTO {keyspace}.users (id, round, text) VALUES (?, ?, ?)")
    for number in range(rounds):
        text = f"{number} " + "x" * 4000
        for future in [cql.execute_async(insert, (identity, number, text)) for identity in range(rows)]:
            try:
                future.result()
            except Exception as error:  # noqa: BLE001 -- whatever it is, the test is about there being none
                failures.append(error)
        time.sleep(PAUSE)


def test_no_write_is_rejected_while_elasticsearch_is_away(small_stage: Stage) -> None:
    stage = small_stage
    stage.table("users", "id int PRIMARY KEY, round int, text text")
    stage.daemon.run()
    stage.settle()
    stage.box.elasticsearch.kill()
    failures: list[Exception] = []
    arguments = {"rounds": 60, "rows": 300, "failures": failures}
    writer = threading.Thread(target=write, args=(stage.cql, stage.keyspace), kwargs=arguments)
    writer.start()
    stage.daemon.wait_event("spool.started", seconds=120)
    writer.join(timeout=240)
    assert not writer.is_alive()
    assert failures == []
    written_mib = 60 * 300 * 4 / 1024
    assert written_mib > 2 * TOTAL_MIB
    wait_for("keys in the spool", lambda: stage.daemon.status()["spooled"])

    stage.daemon.kill()
    stage.box.elasticsearch.start()
    stage.daemon.run()
    wait_for("an empty spool", lambda: not stage.daemon.status()["spooled"], seconds=120)
    stage.settle(seconds=120)
    stage.assert_equal("users")
    assert stage.daemon.metric("keys_spooled_total", direction="in") > 0
    assert stage.daemon.metric("gaps_total") == 0
