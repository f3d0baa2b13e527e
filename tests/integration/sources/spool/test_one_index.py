"""One index is blocked and cdc_raw is small: its keys spool, all segments go, and the other type stays fresh."""

from __future__ import annotations

import threading
import time

from cassandra.cluster import Session

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.spool.small import TOTAL_MIB

ROUNDS, ROWS = 40, 150
PAUSE = 0.2
"""Seconds between two rounds: half the space is left when the spool begins, and a machine may be slow just then."""


def write(cql: Session, keyspace: str, failures: list[Exception]) -> None:
    """Write each row of both types over and over: four kilobytes each time."""
    inserts = [
        cql.prepare(f"INSERT INTO {keyspace}.{name} (id, round, text) VALUES (?, ?, ?)") for name in ("users", "orders")
    ]
    for number in range(ROUNDS):
        text = f"{number} " + "x" * 4000
        futures = [
            cql.execute_async(insert, (identity, number, text)) for identity in range(ROWS) for insert in inserts
        ]
        for future in futures:
            try:
                future.result()
            except Exception as error:  # noqa: BLE001 -- whatever it is, the test is about there being none
                failures.append(error)
        time.sleep(PAUSE)


def block(stage: Stage, *, on: bool) -> None:
    stage.elastic.indices.put_settings(index=stage.alias("users"), settings={"index.blocks.write": on or None})


def test_no_write_is_rejected_while_one_index_is_blocked(small_stage: Stage) -> None:
    stage = small_stage
    for name in ("users", "orders"):
        stage.table(name, "id int PRIMARY KEY, round int, text text")
    stage.daemon.run()
    stage.settle()
    block(stage, on=True)
    failures: list[Exception] = []
    writer = threading.Thread(target=write, args=(stage.cql, stage.keyspace, failures))
    writer.start()
    stage.daemon.wait_event("spool.alias_in_trouble", aliases=[stage.alias("users")])
    writer.join(timeout=240)
    assert not writer.is_alive()
    assert failures == []
    assert 2 * ROUNDS * ROWS * 4 / 1024 > 1.5 * TOTAL_MIB

    # All is acknowledged, and the segments are gone; the other type has every change.
    stage.settle()
    stage.assert_equal("orders")
    assert stage.documents("users") == {}
    assert stage.daemon.status()["spooled"] == ROWS
    assert stage.daemon.metric("segments_released_total") > TOTAL_MIB
    assert stage.daemon.metric("cdc_raw_bytes") < TOTAL_MIB * 1024 * 1024 / 2

    # The same holds after a restart, as the index is still blocked.
    stage.daemon.kill()
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.orders (id, round, text) VALUES (0, -1, 'after')")
    stage.execute("INSERT INTO {ks}.users (id, round, text) VALUES (0, -1, 'after')")
    wait_for("the other type's change", lambda: (stage.get("orders", "0") or {}).get("round") == -1)
    assert stage.documents("users") == {}

    block(stage, on=False)
    wait_for("an empty spool", lambda: not stage.daemon.status()["spooled"])
    stage.settle()
    stage.assert_equal("users", "orders")
    assert stage.daemon.metric("gaps_total") == 0
