"""Elasticsearch is down and cdc_raw is small: Cassandra accepts every write; at the end documents equal rows."""

from __future__ import annotations

import threading
import time

from cassandra.cluster import Session

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.spool.small import TOTAL_MIB

PAUSE = 0.2
"""Seconds between two rounds: half the space is left when the spool begins, and a machine may be slow just then."""


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
