"""Three nodes that all hold everything, and a daemon beside each, for the tests of the ring."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from cdc_daemon.config import load
from sandbox import Sandbox
from sandbox.artifacts import DEFAULT_CASSANDRA
from sandbox.cassandra import CassandraNode
from sandbox.compare import compare
from sandbox.java import FAST_START
from sandbox.ports import PortReservation
from tests.integration.daemon.harness import DaemonProcess, wait_for

ALIAS = "ring-rows"
VERSION = os.environ.get("CDC_TEST_RING") or DEFAULT_CASSANDRA
REASONS = ("unknown", "in_flight", "stored", "no_answer", "space")
CONSISTENCY = ConsistencyLevel.QUORUM
MAPPINGS = {
    "rows": {"table": "ring.rows", "alias": ALIAS, "settings": {"number_of_shards": 1, "number_of_replicas": 0}},
}


@dataclass
class Ring:
    """The nodes, their daemons in the same order, and the index. `insert` and `write` write at QUORUM."""

    box: Sandbox
    directory: Path
    port: int
    nodes: Sandbox
    session: Session
    elastic: Elasticsearch
    daemons: list[DaemonProcess]

    def write(self, ids: Sequence[int], n: int) -> None:
        statement = self.session.prepare("INSERT INTO ring.rows (id, n) VALUES (?, ?)")
        statement.consistency_level = CONSISTENCY
        execute_concurrent_with_args(
            self.session, statement, [(number, n) for number in ids], raise_on_first_error=True
        )

    def shows(self, ids: Sequence[int], n: int) -> bool:
        """Return whether all these rows are shown with this value, and no others."""
        self.elastic.indices.refresh(index=ALIAS)
        found = self.elastic.count(index=ALIAS, query={"term": {"n": n}})["count"]
        return int(found) == len(ids)

    @property
    def written(self) -> float:
        """The documents that the daemons which run now have written since their start."""
        return self.sum("documents_total", alias=ALIAS, outcome="indexed")

    def sum(self, name: str, **labels: str) -> float:
        return sum(daemon.metric(name, **labels) for daemon in self.daemons if daemon.alive)

    @property
    def slow(self) -> float:
        """The changes that were written by another daemon because their owner's was slow, as on a busy machine."""
        return sum(self.sum("changes_settled_here_total", reason=reason) for reason in ("unknown", "in_flight"))

    def wait_confirmed(self) -> None:
        """Wait until each change that was left to others is confirmed, or written after all."""

        def all_confirmed() -> bool:
            settled = sum(self.sum("changes_settled_here_total", reason=reason) for reason in REASONS)
            return self.sum("changes_left_total") == self.sum("changes_confirmed_total") + settled

        wait_for("all changes to be confirmed", lambda: all_confirmed() and self.sum("changes_unconfirmed") == 0)

    def add_daemon(self, node: CassandraNode, name: str) -> DaemonProcess:
        """Make the daemon of a node, with no state; it is not started yet."""
        daemon = DaemonProcess(
            self.box,
            self.directory / name,
            mappings=MAPPINGS,
            cassandra={"contact_points": [node.host], "port": node.port, "consistency": "QUORUM"},
            commit_log={"cdc_raw_directory": str(node.cdc_raw_directory), "ownership": "primary"},
            peers={"port": self.port, "host": node.host, "token": "the daemons of this test share it"},
        )
        self.daemons.append(daemon)
        return daemon

    def write_whatever_happens(self, ids: Sequence[int], n: int) -> None:
        """Write rows; what a node that goes down refuses is written again until it is acknowledged."""
        for number in ids:
            wait_for("a write", lambda number=number: self._writes([number], n))  # type: ignore[misc]

    def _writes(self, ids: Sequence[int], n: int) -> bool:
        try:
            self.write(ids, n)
        except (DriverException, NoHostAvailable):
            return False
        return True

    def check_equal(self, daemon: DaemonProcess) -> None:
        """Compare every row with its document, as a daemon reads them."""
        found = asyncio.run(compare(load(daemon.config_path)))
        assert all(comparison.is_equal for comparison in found), "\n".join(map(str, found))


@contextmanager
def new_ring(box: Sandbox, elastic: Elasticsearch, directory: Path) -> Iterator[Ring]:
    """Start the nodes and a daemon beside each; `box` has the search engine."""
    with (
        Sandbox(nodes=3, elasticsearch=False, cassandra=VERSION, heap="400m", java_options=FAST_START) as nodes,
        nodes.connect() as session,
    ):
        ports = PortReservation()
        # A node that is added later is at the next address.
        port = ports.reserve([f"127.0.0.{number}" for number in range(1, 5)])
        session.execute("CREATE KEYSPACE ring WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
        session.execute("CREATE TABLE ring.rows (id int PRIMARY KEY, n int, tags set<text>) WITH cdc = true")
        ring = Ring(box, directory, port, nodes, session, elastic, [])
        try:
            # One after the other, so that one of them makes the index.
            for node in nodes.nodes:
                ring.add_daemon(node, node.host).run()
            yield ring
        finally:
            for daemon in ring.daemons:
                daemon.kill()
            for index in elastic.indices.get(index=f"{ALIAS}*").body:
                elastic.indices.delete(index=index)
            ports.close()
