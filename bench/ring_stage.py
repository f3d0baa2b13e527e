"""The scene of a ring: nodes that all hold everything, a daemon beside each, and the counters of all of them."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import NoHostAvailable, ResponseFuture, Session
from prometheus_client.parser import text_string_to_metric_families

from bench import workload
from bench.stage import PATIENCE, Cpu, NotEqualError
from cdc_daemon.config import load
from sandbox import Sandbox
from sandbox.compare import compare
from sandbox.ports import PortReservation
from sandbox.process import ServerProcess
from sandbox.threads import background

DOCUMENTS = "documents written"
ROWS_READ = "rows read"
VERSIONS = "versions asked"
BULKS = "bulk requests"

_TICK = 0.02
_TRIES = 100
_RETRY_PAUSE = 0.2
_COUNTED = "changes_left", "changes_confirmed", "changes_settled_here"


class Ring:
    """Nodes, a table, a daemon beside each node, and one index. `start` runs the daemons in a mode."""

    def __init__(self, box: Sandbox, session: Session, ports: PortReservation) -> None:
        self.box = box
        self.session = session
        self._insert = session.prepare(workload.INSERT)
        self._insert.consistency_level = ConsistencyLevel.QUORUM
        self._insert.is_idempotent = True
        self._peers = ports.reserve(box.contact_points)
        self._ports = [ports.reserve() for _ in box.nodes]
        self._folders = [box.directory / f"daemon-{number}" for number in range(1, len(box.nodes) + 1)]
        self.daemons = [self._add(folder) for folder in self._folders]
        self._running: list[ServerProcess] = []
        self._ended: Counter[str] = Counter()

    def start(self, mode: str) -> None:
        """Start all daemons with `commit_log.ownership: mode`, one after the other, so that one makes the index."""
        for number, daemon in enumerate(self.daemons):
            self._configure(number, mode)
            daemon.start()
            self._running.append(daemon)
            self.wait(lambda number=number: self._status(number).get("state") == "running", "a daemon to run")  # type: ignore[misc]

    def stop(self) -> None:
        """Stop all daemons as an operator does."""
        self._running.clear()
        for daemon in self.daemons:
            daemon.stop()

    @contextmanager
    def changing(self, rate: int, run: int) -> Iterator[Callable[[], int]]:
        """Change one row after the other at a rate; give the number of acknowledged changes so far."""
        made = 0

        def change(stop: threading.Event) -> None:
            nonlocal made
            began = time.monotonic()
            while not stop.wait(_TICK):
                due = int((time.monotonic() - began) * rate) - made
                values = [workload.row(made + number, run) for number in range(due)]
                futures = [self.session.execute_async(self._insert, each) for each in values]
                for future, each in zip(futures, values, strict=True):
                    self._acknowledged(future, each)
                made += due

        with background(change):
            yield lambda: made

    def restart(self, number: int) -> None:
        """Stop a node in order and start it again."""
        node = self.box.nodes[number]
        self._ended.update(self._counted_by(number))
        node.stop()
        node.start()
        node.wait_ready(PATIENCE)

    def counts(self) -> Counter[str]:
        """Return the counters of the search engine, the nodes and the daemons, and all processes' CPU seconds."""
        index = self._search(f"/{workload.ALIAS}/_stats/indexing,get,bulk")["_all"]["total"]
        found: Counter[str] = Counter(self._ended)
        found[DOCUMENTS] = index["indexing"]["index_total"]
        found[VERSIONS] = index["get"]["total"]
        found[BULKS] = index["bulk"]["total_operations"]
        found["search engine, CPU s"] = _micro(Cpu(self.box.elasticsearch.pid)())
        for number in range(len(self.box.nodes)):
            # The driver may take half a minute to connect to a node again that was away.
            self.wait(lambda number=number: self._answers(number), "the driver to reach a node")  # type: ignore[misc]
            found.update(self._counted_by(number))
            found[f"daemon {number + 1}, CPU s"] = _micro(Cpu(self.daemons[number].pid)())
            for name in _COUNTED:
                found[name] += int(sum(self._metrics(number, f"{name}_total").values()))
        return found

    def mutations(self) -> list[float]:
        """Return how many changes of the table each daemon has read from its node's log."""
        return [sum(self._metrics(number, "mutations_total").values()) for number in range(len(self.daemons))]

    def wait_shown(self, count: int, run: int) -> None:
        """Return when so many documents are of a run."""
        self.wait(lambda: self.shown(run) >= count, f"{count} documents of run {run}")

    def wait_settled(self) -> None:
        """Return when no daemon has anything left to do or to confirm."""

        def settled() -> bool:
            found = [
                sum(self._metrics(number, name).values())
                for number in range(len(self.daemons))
                for name in ("pending", "changes_unconfirmed")
            ]
            return not any(found)

        self.wait(settled, "nothing pending and nothing unconfirmed")

    def shown(self, run: int) -> int:
        """Return the number of documents of a run."""
        self._search(f"/{workload.ALIAS}/_refresh", "POST")
        return int(self._search(f"/{workload.ALIAS}/_count?q=run:{run}")["count"])

    def check_equal(self) -> None:
        """Compare each row with its document. Raises `NotEqualError`."""
        for comparison in asyncio.run(compare(load(self._folders[0] / "config.yaml"))):
            if not comparison.is_equal:
                raise NotEqualError(str(comparison))

    def wait(self, is_so: Callable[[], bool], what: str, *, pause: float = 0.1) -> None:
        """Wait for a condition. Raises `TimeoutError`."""
        until = time.monotonic() + PATIENCE
        while not is_so():
            gone = next((daemon for daemon in self._running if not daemon.alive), None)
            if time.monotonic() > until:
                tails = "\n".join(daemon.log_tail() for daemon in self.daemons)
                raise TimeoutError(f"expected {what} within {PATIENCE:g} s\n{tails}")
            if gone is not None:
                raise TimeoutError(f"expected {what}, found a daemon that ended\n{gone.log_tail()}")
            time.sleep(pause)

    def _acknowledged(self, future: ResponseFuture, values: tuple[Any, ...]) -> None:
        """Wait for a write. A node that goes down refuses some: those are sent again."""
        with suppress(DriverException, NoHostAvailable):
            future.result()
            return
        for _ in range(_TRIES):
            time.sleep(_RETRY_PAUSE)
            with suppress(DriverException, NoHostAvailable):
                self.session.execute(self._insert, values)
                return
        raise TimeoutError(f"no write was acknowledged in {_TRIES} tries")

    def _answers(self, number: int) -> bool:
        with suppress(DriverException, NoHostAvailable):
            self._counted_by(number)
            return True
        return False

    def _counted_by(self, number: int) -> Counter[str]:
        """Return what a node counts since its start. It forgets it when it restarts."""
        node = self.box.nodes[number]
        hosts = self.session.cluster.metadata.all_hosts()
        host = next(host for host in hosts if host.address == node.host)
        query = "SELECT keyspace_name, table_name, count FROM system_views.coordinator_read_latency"
        rows = self.session.execute(query, host=host)
        reads = sum(row.count for row in rows if f"{row.keyspace_name}.{row.table_name}" == workload.TABLE)
        return Counter({ROWS_READ: reads, f"Cassandra {number + 1}, CPU s": _micro(Cpu(node.pid)())})

    def _add(self, folder: Path) -> ServerProcess:
        folder.mkdir()
        program = Path(sys.executable).with_name("cdc-daemon")
        command = [str(program), "run", "--config", str(folder / "config.yaml")]
        return self.box.add(folder.name.replace("-", "_"), command, output=folder / "daemon.log")

    def _configure(self, number: int, mode: str) -> None:
        node, folder = self.box.nodes[number], self._folders[number]
        content = {
            "cassandra": {"contact_points": [node.host], "port": node.port, "consistency": "LOCAL_QUORUM"},
            "commit_log": {**node.log_folders, "ownership": mode},
            "peers": {"port": self._peers, "host": node.host, "token": "the daemons of this measurement share it"},
            "elasticsearch": {"hosts": [self.box.elasticsearch.url]},
            "state": {"directory": str(folder / "state")},
            "http": {"port": self._ports[number]},
            "mappings": {
                "person": {"table": workload.TABLE, "alias": workload.ALIAS, "settings": workload.INDEX_SETTINGS},
            },
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(content))

    def _status(self, number: int) -> Mapping[str, Any]:
        try:
            found: dict[str, Any] = json.loads(_ask("127.0.0.1", self._ports[number], "/status"))
        except OSError:
            return {}
        return found

    def _metrics(self, number: int, name: str) -> dict[str, float]:
        text = _ask("127.0.0.1", self._ports[number], "/metrics").decode()
        return {
            str(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"cdc_daemon_{name}"
        }

    def _search(self, path: str, method: str = "GET") -> dict[str, Any]:
        address = urlsplit(self.box.elasticsearch.url)
        found: dict[str, Any] = json.loads(_ask(address.hostname or "", address.port or 0, path, method))
        return found


@contextmanager
def ring_of(nodes: int) -> Iterator[Ring]:
    """Start so many nodes and a search engine, and create the table. Every node holds every row."""
    with (
        closing(PortReservation()) as ports,
        Sandbox(nodes=nodes, heap="512m", elasticsearch_heap="512m") as box,
        box.connect() as session,
    ):
        workload.create_table(session, replicas=nodes)
        yield Ring(box, session, ports)


def _micro(seconds: float) -> int:
    return int(seconds * 1e6)


def _ask(host: str, port: int, path: str, method: str = "GET") -> bytes:
    with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request(method, path)
        return connection.getresponse().read()
