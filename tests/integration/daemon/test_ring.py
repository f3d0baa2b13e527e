"""Two nodes that both hold everything, a daemon beside each: a change is acted on once, and by whoever is up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from sandbox.java import FAST_START
from tests.integration.daemon.harness import DaemonProcess, wait_for

ALIAS = "ring-rows"
ROWS = 200


def write(session: Session, ids: Sequence[int], level: int) -> None:
    statement = session.prepare("INSERT INTO ring.rows (id, n) VALUES (?, ?)")
    statement.consistency_level = level
    execute_concurrent_with_args(session, statement, [(number, number) for number in ids], raise_on_first_error=True)


def test_a_change_is_one_daemons_and_the_next_ones_when_its_node_is_down(
    box: Sandbox, elastic: Elasticsearch, tmp_path: Path
) -> None:
    with (
        Sandbox(nodes=2, elasticsearch=False, heap="400m", java_options=FAST_START) as ring,
        ring.connect() as session,
    ):
        session.execute("CREATE KEYSPACE ring WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 2}")
        session.execute("CREATE TABLE ring.rows (id int PRIMARY KEY, n int) WITH cdc = true")
        mappings = {
            "rows": {
                "table": "ring.rows",
                "alias": ALIAS,
                "settings": {"number_of_shards": 1, "number_of_replicas": 0},
            }
        }
        daemons = [
            DaemonProcess(
                box,
                tmp_path / node.host,
                mappings=mappings,
                # Of two replicas a quorum is both: with one of them down nothing could be read.
                cassandra={"contact_points": [node.host], "port": node.port, "consistency": "ONE"},
                commit_log={"cdc_raw_directory": str(node.cdc_raw_directory), "ownership": "primary"},
            )
            for node in ring.nodes
        ]

        def shown(count: int) -> bool:
            elastic.indices.refresh(index=ALIAS)
            return int(elastic.count(index=ALIAS)["count"]) == count

        try:
            # One after the other, so that one of them makes the index.
            for daemon in daemons:
                daemon.run()
            write(session, range(ROWS), ConsistencyLevel.ALL)
            wait_for("each row's document", lambda: shown(ROWS))
            wait_for(
                "both logs to be read",
                lambda: [daemon.metric("mutations_total", table="rows") for daemon in daemons] == [ROWS, ROWS],
            )
            written = [daemon.metric("documents_total", alias=ALIAS, outcome="indexed") for daemon in daemons]
            left = [daemon.metric("signals_left_total") for daemon in daemons]
            assert min(written) > 0
            assert sum(written) == ROWS
            assert left == [ROWS - number for number in written]

            daemons[1].kill()
            write(session, range(ROWS, 2 * ROWS), ConsistencyLevel.ALL)
            wait_for(
                "the changes to be read where a daemon is",
                lambda: daemons[0].metric("mutations_total", table="rows") == 2 * ROWS,
            )
            assert not shown(2 * ROWS), "what was left to a node that is up waits for its daemon"
            ring.nodes[1].kill()
            write(session, range(2 * ROWS, 3 * ROWS), ConsistencyLevel.ONE)
            wait_for("the documents of what was left, and of what came after", lambda: shown(3 * ROWS))
            assert daemons[0].metric("signals_taken_over_total") > 0
            assert daemons[0].stop() == 0
        finally:
            for daemon in daemons:
                daemon.kill()
            for index in elastic.indices.get(index=f"{ALIAS}*").body:
                elastic.indices.delete(index=index)
