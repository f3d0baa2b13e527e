"""Requests for rows: their rate and duration, idle and beside a busy tail, and their cost for the tail."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import orjson
import yaml
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from bench.figures import Figures
from bench.sync_figures import Freshness, Requests, Run, SyncFigures
from sandbox import Sandbox
from sandbox.ports import PortReservation
from sandbox.threads import background

KEYSPACE = "sync"
TABLE = f"{KEYSPACE}.person"
ALIAS = "sync-person"
FIELDS = 15
KEYS_PER_QUERY = 100
CONNECTIONS = 4
PER_BULK = 1000
SIZES = (1, 100, 5000)
LOADS = ("idle", "busy")

Say = Callable[[str], None]


def measure(*, rows: int, rate: float, seconds: float, runs: int, say: Say) -> SyncFigures:
    """Start servers and a daemon, fill a table, and measure. `rate` is the busy tail's changes a second."""
    with closing(PortReservation()) as ports, Sandbox() as box, box.connect() as session:
        _make_table(session)
        port = ports.reserve()
        config = _write_config(box, port)
        program = Path(sys.executable).with_name("cdc-daemon")
        daemon = box.add(
            "daemon", [str(program), "run", "--config", str(config)], output=config.with_name("daemon.log")
        )
        daemon.start()
        _wait_ready(port)
        insert = session.prepare(f"INSERT INTO {TABLE} (id, {', '.join(_names())}) VALUES ({'?, ' * FIELDS}?)")  # noqa: S608
        say(f"writing {rows:,} rows")
        execute_concurrent_with_args(session, insert, [_row(number) for number in range(rows)], concurrency=64)
        with Elasticsearch(box.elasticsearch.url) as elastic:
            bench = _Bench(session, elastic, insert, port, rows)
            bench.wait_settled()
            for ids in SIZES:
                bench.run(ids, seconds)
            say("warmed up")
            measured: dict[tuple[str, int], list[Run]] = {(load, ids): [] for load in LOADS for ids in SIZES}
            alone, beside, rates = [], [], []
            for number in range(1, runs + 1):
                for ids in SIZES:
                    measured["idle", ids].append(bench.run(ids, seconds))
                    say(f"run {number}, idle, {ids} ids: {measured['idle', ids][-1]}")
                with _busy(session, insert, rows, rate) as count:
                    began, before = time.monotonic(), count()
                    for ids in SIZES:
                        measured["busy", ids].append(bench.run(ids, seconds))
                        say(f"run {number}, busy, {ids} ids: {measured['busy', ids][-1]}")
                    alone.append(bench.freshness(seconds))
                    with bench.asking(max(SIZES)):
                        beside.append(bench.freshness(seconds))
                    rates.append((count() - before) / (time.monotonic() - began))
                bench.wait_settled()
                say(f"run {number} of {runs} done")
        requests = [Requests(load, ids, found) for (load, ids), found in measured.items()]
        return SyncFigures(requests, Freshness(alone, beside), Figures(rates))


class _Bench:
    def __init__(self, session: Session, elastic: Elasticsearch, insert: Any, port: int, rows: int) -> None:
        self._session = session
        self._elastic = elastic
        self._insert = insert
        self._rows = rows
        self._port = port
        self._read = session.prepare(f"SELECT * FROM {TABLE} WHERE id IN ?")  # noqa: S608 -- a constant
        self._plain: SimpleQueue[http.client.HTTPConnection] = SimpleQueue()
        for _ in range(CONNECTIONS):
            self._plain.put(http.client.HTTPConnection(*_address(elastic), timeout=120))
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._next = 0
        self._probe = 0

    def run(self, ids: int, seconds: float) -> Run:
        """Request so many ids repeatedly, then do the same work without a daemon."""
        with closing(self._connect()) as connection:
            requests = _again(seconds, lambda: self._ask(connection, ids))
        return Run(requests, _again(seconds, lambda: self._do_plainly(ids)))

    @contextmanager
    def asking(self, ids: int) -> Iterator[None]:
        """Request so many ids continuously."""
        stop = threading.Event()

        def ask() -> None:
            with closing(self._connect()) as connection:
                while not stop.is_set():
                    self._ask(connection, ids)

        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(ask)
            try:
                yield
            finally:
                stop.set()
            work.result()

    def _do_plainly(self, count: int) -> None:
        """Read so many ids by multi-key queries and write them by bulk requests, with the least possible work."""
        ids = self._ids(count)
        parts = [(ids[start : start + KEYS_PER_QUERY],) for start in range(0, count, KEYS_PER_QUERY)]
        found = execute_concurrent_with_args(self._session, self._read, parts, concurrency=16)
        documents = [row for result in found for row in result.result_or_exc]
        assert len(documents) == count
        version = time.time_ns() // 1000
        lines = [
            b'{"index":{"_index":"%b","_id":"%b","version":%d,"version_type":"external_gte"}}\n%b\n'
            % (ALIAS.encode(), row.id.encode(), version, orjson.dumps(row._asdict()))
            for row in documents
        ]
        bodies = [b"".join(lines[at : at + PER_BULK]) for at in range(0, count, PER_BULK)]
        for answer in self._pool.map(self._bulk, bodies):
            # Beside a busy tail some are superseded: they are conflicts, which cost no less.
            assert "errors" in answer

    def freshness(self, seconds: float) -> list[float]:
        """Write single rows and return how long each took to be shown."""
        taken = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._probe += 1
            number = 10_000_000 + self._probe
            began = time.perf_counter()
            self._session.execute(self._insert, _row(number))
            acknowledged = time.perf_counter()
            self.wait_shown(number)
            taken.append(time.perf_counter() - acknowledged)
            time.sleep(max(0.0, 0.05 - (time.perf_counter() - began)))
        return taken

    def wait_shown(self, number: int) -> None:
        """Return when a row has its document."""
        until = time.monotonic() + 120
        while not self._elastic.exists(index=ALIAS, id=_row(number)[0]):
            if time.monotonic() > until:
                raise TimeoutError("expected a document within two minutes, found none")
            time.sleep(0.004)

    def wait_settled(self) -> None:
        """Return when the tail has nothing left to do."""
        self._probe += 1
        self._session.execute(self._insert, _row(10_000_000 + self._probe))
        self.wait_shown(10_000_000 + self._probe)
        until = time.monotonic() + 120
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/status", timeout=10) as answer:
                if json.loads(answer.read())["pending"] == 0:
                    return
            if time.monotonic() > until:
                raise TimeoutError("expected nothing pending within two minutes")
            time.sleep(0.05)

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)

    def _ask(self, connection: http.client.HTTPConnection, count: int) -> None:
        body = json.dumps({"request": {"objectType": "person", "objectIds": self._ids(count)}})
        connection.request("POST", "/sync", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content[:500]
        assert json.loads(content)["result"]["counts"]["indexed"] == count

    def _ids(self, count: int) -> list[str]:
        first, self._next = self._next, (self._next + count) % self._rows
        return [_row_id((first + number) % self._rows) for number in range(count)]

    def _bulk(self, body: bytes) -> Any:
        connection = self._plain.get()
        connection.request("POST", "/_bulk?filter_path=errors", body, {"content-type": "application/x-ndjson"})
        answer = json.loads(connection.getresponse().read())
        self._plain.put(connection)
        return answer


def _again(seconds: float, work: Callable[[], None]) -> list[float]:
    """Repeat a call for so many seconds, at least five times; return the duration of each."""
    taken: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(taken) < 5:
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken


def _address(elastic: Elasticsearch) -> tuple[str, int]:
    node = next(iter(elastic.transport.node_pool.all()))
    return node.host, node.port


def _wait_ready(port: int) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@contextmanager
def _busy(session: Session, insert: Any, rows: int, rate: float) -> Iterator[Callable[[], int]]:
    """Change rows continuously."""
    made = 0

    def change(stop: threading.Event) -> None:
        nonlocal made
        due = time.monotonic()
        while not stop.is_set():
            futures = [session.execute_async(insert, _row((made + at) % rows)) for at in range(20)]
            for future in futures:
                future.result()
            made += len(futures)
            due += len(futures) / rate
            stop.wait(max(0.0, due - time.monotonic()))

    with background(change):
        yield lambda: made


def _names() -> list[str]:
    return [f"field{number}" for number in range(FIELDS)]


def _row_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _row(number: int) -> tuple[str, ...]:
    return (_row_id(number), *(f"value {number} of field {at} and some more".ljust(36) for at in range(FIELDS)))


def _make_table(session: Session) -> None:
    session.execute(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    columns = ", ".join(f"{name} text" for name in _names())
    session.execute(f"CREATE TABLE {TABLE} (id text PRIMARY KEY, {columns}) WITH cdc = true")


def _write_config(box: Sandbox, port: int) -> Path:
    directory = box.directory / "daemon"
    directory.mkdir()
    content = {
        "cassandra": {"contact_points": box.contact_points, "port": box.cassandra.port},
        "commit_log": {"cdc_raw_directory": str(box.cassandra.cdc_raw_directory)},
        "elasticsearch": {"hosts": [box.elasticsearch.url]},
        "state": {"directory": str(directory / "state")},
        "http": {"port": port, "contract": "lenient"},
        "mappings": {
            "person": {
                "table": TABLE,
                "alias": ALIAS,
                "settings": {"number_of_shards": 1, "number_of_replicas": 0},
            }
        },
    }
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    return config
