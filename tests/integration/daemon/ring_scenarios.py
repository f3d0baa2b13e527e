"""The long scenarios of the ring (`make ring`): faults of daemons and nodes, and a node that is replaced.

Each one ends with every row compared with its document. Nobody repairs anything by hand.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from sandbox.threads import background
from tests.integration.daemon.harness import DaemonProcess, wait_for
from tests.integration.daemon.ring import CONSISTENCY, Ring, new_ring

ROWS = 600
EXPIRING = 300
STREAM_PATIENCE = 300.0


@pytest.fixture
def ring(box: Sandbox, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """Start a ring for one test, with each row and its document there."""
    with new_ring(box, elastic, tmp_path_factory.mktemp("ring")) as ring:
        ring.write(range(ROWS), 1)
        wait_for("the first documents", lambda: ring.shows(range(ROWS), 1))
        ring.wait_confirmed()
        yield ring


@contextmanager
def paused(*daemons: DaemonProcess) -> Iterator[None]:
    """Hang daemons meanwhile."""
    for daemon in daemons:
        os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for daemon in daemons:
            os.kill(daemon.pid, signal.SIGCONT)


@contextmanager
def busy(ring: Ring, n: int) -> Iterator[Callable[[], int]]:
    """Write one row after the other meanwhile, each with this value in the end; give the number of writes."""
    count = 0

    def write(stop: threading.Event) -> None:
        nonlocal count
        while not stop.wait(0.01) or count < ROWS:
            ring.write_whatever_happens([count % ROWS], n)
            count += 1

    with background(write):
        yield lambda: count


def check_all_is_equal(ring: Ring, n: int, daemon: int = 0) -> None:
    """Wait for the documents and confirmations, and compare every row with its document."""
    wait_for("the documents", lambda: ring.shows(range(ROWS), n), seconds=STREAM_PATIENCE)
    ring.wait_confirmed()
    ring.check_equal(ring.daemons[daemon])


def no_repair(ring: Ring) -> bool:
    """Return whether no daemon that runs has started a job, such as a reconcile of the whole ring."""
    return not any(daemon.events("job.accepted") for daemon in ring.daemons if daemon.alive)


def test_a_daemon_that_hangs_leaves_nothing_stale(ring: Ring) -> None:
    with paused(ring.daemons[1]):
        ring.write(range(ROWS), 2)
        wait_for("the documents of what the hung daemon owns", lambda: ring.shows(range(ROWS), 2))
        ring.check_equal(ring.daemons[0])
    check_all_is_equal(ring, 2)
    assert no_repair(ring)


def test_a_daemon_is_dead_for_75_seconds_and_then_its_node_is(ring: Ring) -> None:
    ring.daemons[1].kill()
    until = time.monotonic() + 75
    with busy(ring, 2):
        while time.monotonic() < until:
            time.sleep(1)
    ring.nodes.nodes[1].kill()
    check_all_is_equal(ring, 2)
    ring.nodes.nodes[1].start()
    ring.nodes.nodes[1].wait_ready()
    ring.daemons[1].run()
    check_all_is_equal(ring, 2)
    assert no_repair(ring)


def test_a_node_goes_down_while_the_daemons_of_the_others_are_behind(ring: Ring) -> None:
    with paused(ring.daemons[0], ring.daemons[2]):
        ring.daemons[1].kill()
        ring.write(range(ROWS), 2)
        ring.nodes.nodes[1].kill()
        ring.write_whatever_happens(range(ROWS // 2), 3)
        ring.write_whatever_happens(range(ROWS // 2, ROWS), 3)
    check_all_is_equal(ring, 3)
    ring.nodes.nodes[1].start()
    ring.nodes.nodes[1].wait_ready()
    ring.daemons[1].run()
    check_all_is_equal(ring, 3)


def test_a_node_that_restarts_after_a_busy_minute_costs_little(ring: Ring) -> None:
    before, slow = ring.written, ring.slow
    until = time.monotonic() + 60
    with busy(ring, 2) as count:
        while time.monotonic() < until:
            time.sleep(1)
        down = count()
        ring.nodes.nodes[1].stop()
        ring.nodes.nodes[1].start()
        ring.nodes.nodes[1].wait_ready()
        back = count()
    check_all_is_equal(ring, 2)
    writes, away = count(), back - down
    # What the node's daemon owns of the changes while it was away is written twice. Hints come for a while after.
    rewrites = ring.written - before - writes
    assert rewrites <= away + (ring.slow - slow) + ROWS / 3, f"{writes} writes, {away} of them without the node"
    assert no_repair(ring)


def test_rows_expire_without_the_daemon_of_their_owner(ring: Ring) -> None:
    statement = ring.session.prepare("INSERT INTO ring.rows (id, n) VALUES (?, 9) USING TTL 45")
    statement.consistency_level = CONSISTENCY
    execute_concurrent_with_args(ring.session, statement, [(number,) for number in range(1000, 1000 + EXPIRING)])
    wait_for("the rows that expire", lambda: ring.shows(range(EXPIRING), 9))
    ring.wait_confirmed()
    ring.daemons[1].kill()
    ring.nodes.nodes[1].kill()
    wait_for("all expiries", lambda: ring.shows([], 9), seconds=STREAM_PATIENCE)
    check_all_is_equal(ring, 1)


def test_a_takeover_goes_on_after_sigterm(ring: Ring) -> None:
    with paused(ring.daemons[1]):
        ring.write(range(ROWS), 2)
        successors = [ring.daemons[0], ring.daemons[2]]
        wait_for(
            "changes to be left", lambda: sum(each.metric("changes_unconfirmed") for each in successors) > 0, pause=0.05
        )
        # It ends, or is killed, with changes that nobody has confirmed.
        assert [each.stop(60.0) for each in successors] == [0, 0]
        for each in successors:
            each.run()
        check_all_is_equal_without_confirmation(ring, 2)
    check_all_is_equal(ring, 2)


def check_all_is_equal_without_confirmation(ring: Ring, n: int) -> None:
    """Wait for the documents alone, and compare: a daemon hangs."""
    wait_for("the documents", lambda: ring.shows(range(ROWS), n), seconds=STREAM_PATIENCE)
    ring.check_equal(ring.daemons[0])


def test_a_node_is_replaced_without_data(ring: Ring) -> None:
    node = ring.nodes.nodes[1]
    with busy(ring, 2):
        ring.daemons[1].kill()
        node.kill()
        shutil.rmtree(ring.daemons[1].state)
        node.start_replaced()
        node.wait_ready(STREAM_PATIENCE)
        ring.daemons[1].run()
    check_all_is_equal(ring, 2)
    check_all_is_equal(ring, 2, daemon=1)
    assert no_repair(ring)


def test_all_pods_restart_one_after_the_other(ring: Ring) -> None:
    before = ring.written
    assert before >= ROWS
    with busy(ring, 2):
        for daemon, node in zip(ring.daemons, ring.nodes.nodes, strict=True):
            daemon.terminate()
            node.stop()
            assert daemon.wait_exit(60.0) == 0
            node.start()
            node.wait_ready()
            daemon.run()
            # As a StatefulSet does: the next pod when this one is ready.
            wait_for("the pod", lambda daemon=daemon: daemon.metric("cassandra_available") == 1)  # type: ignore[misc]
    check_all_is_equal(ring, 2)
    assert no_repair(ring)
