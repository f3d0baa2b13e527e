"""Documents are there long before Cassandra forces its log to disk."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

WRITES = 30
SYNC_PERIOD = 10.0
"""Seconds: Cassandra's default `commitlog_sync_period`, which the shared sandbox keeps."""


def durable(folder: Path) -> dict[str, bytes]:
    """What Cassandra says of each segment that is forced to disk."""
    return {path.name: path.read_bytes() for path in folder.glob("*_cdc.idx")}


def test_documents_arrive_while_the_index_file_stands_still(stage: Stage) -> None:
    folder = stage.box.cassandra.cdc_raw_directory
    stage.table("fresh", "id int PRIMARY KEY, v text")
    stage.daemon.run()
    stage.settle()
    times, ahead = [], 0
    for number in range(WRITES):
        before = durable(folder)
        stage.execute("INSERT INTO {ks}.fresh (id, v) VALUES (%s, 'x')", [number])
        acknowledged = time.monotonic()
        wait_for("the document", lambda number=number: stage.get("fresh", str(number)), pause=0.005)  # type: ignore[misc]
        times.append(time.monotonic() - acknowledged)
        ahead += durable(folder) == before
    assert stage.box.cassandra.settings["commitlog_sync_period"] == f"{SYNC_PERIOD * 1000:g}ms"
    assert statistics.median(times) < SYNC_PERIOD / 2
    assert ahead > WRITES / 2
    # A document is there before its write is answered, and counted after that.
    wait_for(
        "each to be counted", lambda: stage.daemon.metric("replication_lag_seconds_count", table="fresh") >= WRITES
    )
    assert stage.daemon.metric("replication_lag_seconds_count", table="fresh") == WRITES
    assert stage.daemon.metric("last_acknowledged_write_timestamp_seconds", table="fresh") > time.time() - 60


def test_a_daemon_that_follows_the_index_file_waits_for_the_disk(stage: Stage) -> None:
    stage.table("durable", "id int PRIMARY KEY, v text")
    stage.daemon.config["commit_log"]["follow_markers"] = False
    stage.daemon.run()
    folder = stage.box.cassandra.cdc_raw_directory
    stage.execute("INSERT INTO {ks}.durable (id, v) VALUES (1, 'x')")
    before = durable(folder)
    shown = wait_for("the document", lambda: stage.get("durable", "1"), seconds=4 * SYNC_PERIOD)
    assert shown == {"id": 1, "v": "x"}
    assert durable(folder) != before
