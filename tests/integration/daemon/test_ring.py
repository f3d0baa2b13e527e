"""Three nodes that all hold everything, a daemon beside each: each change is written once, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from sandbox.artifacts import DEFAULT_CASSANDRA
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.ring import ALIAS, VERSION, Ring, new_ring

ROWS = 200
STATEMENTS = (
    "UPDATE ring.rows SET n = 1 WHERE id = 1",
    "UPDATE ring.rows USING TIMESTAMP 1000 SET n = 7 WHERE id = 2",
    "UPDATE ring.rows SET tags = tags + {'a', 'b'} WHERE id = 3",
    "UPDATE ring.rows SET tags = {'c'} WHERE id = 4",
    "DELETE tags FROM ring.rows WHERE id = 5",
    "DELETE FROM ring.rows WHERE id = 6",
    "INSERT INTO ring.rows (id, n) VALUES (7, 1) IF NOT EXISTS",
    "UPDATE ring.rows SET n = 1 WHERE id = 8 IF n = 1",
    "BEGIN BATCH UPDATE ring.rows SET n = 1 WHERE id = 9; DELETE FROM ring.rows WHERE id = 10; APPLY BATCH",
    "BEGIN UNLOGGED BATCH DELETE n FROM ring.rows WHERE id = 12; DELETE FROM ring.rows WHERE id = 12; APPLY BATCH",
)


@pytest.fixture(scope="module")
def ring(box: Sandbox, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """Start the nodes and a daemon beside each."""
    with new_ring(box, elastic, tmp_path_factory.mktemp("ring")) as ring:
        yield ring


def check_in_calm_each_change_is_written_once_and_has_one_identity_in_all_logs(ring: Ring) -> None:
    ring.write(range(ROWS), 1)
    wait_for("each row's document", lambda: ring.shows(range(ROWS), 1))
    ring.wait_confirmed()
    assert ROWS <= ring.written <= ROWS + ring.slow
    assert min(daemon.metric("documents_total", alias=ALIAS, outcome="indexed") for daemon in ring.daemons) > 0
    # On 4.0 and 4.1 one replica logs other bytes for one of these statements. It only costs a second write.
    differing = 0 if VERSION == DEFAULT_CASSANDRA else 1
    # An owner that is slow confirms in another round what it did not confirm in time in this one.
    assert any(_unconfirmed_of_all_kinds(ring) <= differing for _ in range(5)), "identities differ"
    assert ring.sum("changes_left_total") > 2 * ROWS


def _unconfirmed_of_all_kinds(ring: Ring) -> float:
    """Write statements of all kinds; return how many of the changes left to their owners these did not confirm."""
    before = ring.sum("changes_left_total") - ring.sum("changes_confirmed_total")
    for text in STATEMENTS:
        ring.session.execute(text)
    wait_for("the removals", lambda: ring.shows(range(ROWS - 3), 1))
    ring.wait_confirmed()
    return ring.sum("changes_left_total") - ring.sum("changes_confirmed_total") - before


def check_a_daemon_that_hangs_is_replaced_and_its_return_costs_little(ring: Ring) -> None:
    before = ring.written - ring.slow
    os.kill(ring.daemons[1].pid, signal.SIGSTOP)
    try:
        ring.write(range(ROWS), 2)
        wait_for("the documents of what the hung daemon owns", lambda: ring.shows(range(ROWS), 2))
        others = [ring.daemons[0], ring.daemons[2]]
        assert sum(each.metric("changes_settled_here_total", reason="no_answer") for each in others) > 0
    finally:
        os.kill(ring.daemons[1].pid, signal.SIGCONT)
    ring.wait_confirmed()
    # The next replica has written what the hung daemon owns, and that daemon does so again.
    assert ring.written - ring.slow - before <= 1.7 * ROWS
    assert ring.shows(range(ROWS), 2)


def check_a_dead_daemon_and_then_its_node_lose_nothing(ring: Ring) -> None:
    expiring = ring.session.prepare("INSERT INTO ring.rows (id, n) VALUES (?, 9) USING TTL 20")
    execute_concurrent_with_args(ring.session, expiring, [(number,) for number in range(1000, 1050)])
    wait_for("the rows that expire", lambda: ring.shows(range(50), 9))
    ring.wait_confirmed()
    ring.daemons[1].kill()
    ring.write(range(ROWS), 3)
    os.kill(ring.daemons[0].pid, signal.SIGSTOP)
    try:
        # Now the peers' daemons are behind or dead, and the node goes down with what its daemon has not read.
        ring.write(range(ROWS), 4)
        ring.nodes.nodes[1].kill()
        ring.write(range(ROWS), 5)
    finally:
        os.kill(ring.daemons[0].pid, signal.SIGCONT)
    wait_for("the documents without the node", lambda: ring.shows(range(ROWS), 5))
    ring.wait_confirmed()
    wait_for("the expiries that the dead daemon watched", lambda: ring.shows([], 9))
    assert ring.daemons[0].stop() == 0
    ring.daemons[0].run()
    ring.wait_confirmed()
    assert ring.shows(range(ROWS), 5)


def check_a_node_that_returns_costs_its_unconfirmed_changes(ring: Ring) -> None:
    before = ring.written - ring.slow
    ring.nodes.nodes[1].start()
    ring.daemons[1].run()
    wait_for("the hints", lambda: ring.daemons[1].metric("mutations_total", table="rows") >= 2 * ROWS)
    ring.wait_confirmed()
    assert ring.shows(range(ROWS), 5)
    # Its own keys once more, of what was written while it was away; nothing of the others'.
    assert ring.written - ring.slow - before <= 2.2 * ROWS


def check_a_daemon_beside_a_dead_node_works_off_its_log(ring: Ring) -> None:
    daemon, node = ring.daemons[1], ring.nodes.nodes[1]
    daemon.kill()
    ring.write(range(ROWS), 6)
    wait_for("the documents without the daemon", lambda: ring.shows(range(ROWS), 6))
    node.kill()
    states = [each["state"] for each in json.loads(ring.daemons[0].get("/status/all"))["daemons"]]
    assert states.count("unreachable") == 1
    assert len(states) == 3
    daemon.config["cassandra"]["contact_points"] = [node.host, ring.nodes.nodes[0].host]
    daemon.run()
    assert daemon.wait_event("cassandra.own_node")["address"] == node.host
    wait_for("the log of the dead node", lambda: daemon.metric("mutations_total", table="rows") >= ROWS)
    ring.wait_confirmed()
    assert ring.shows(range(ROWS), 6)


def test_one_daemon_writes_each_change_and_another_one_when_it_or_its_node_is_gone(ring: Ring) -> None:
    check_in_calm_each_change_is_written_once_and_has_one_identity_in_all_logs(ring)
    check_a_daemon_that_hangs_is_replaced_and_its_return_costs_little(ring)
    check_a_dead_daemon_and_then_its_node_lose_nothing(ring)
    check_a_node_that_returns_costs_its_unconfirmed_changes(ring)
    check_a_daemon_beside_a_dead_node_works_off_its_log(ring)
