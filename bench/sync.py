"""Requests for rows: how many a second and how long they take, idle and beside a busy tail, and what the tail pays."""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from sandbox.ports import PortReservation

KEYSPACE = "sync"
TABLE = f"{KEYSPACE}.person"
ALIAS = "sync-person"
FIELDS = 15
KEYS_PER_QUERY = 100
CONNECTIONS = 4
PER_BULK = 1000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests of one size under one load: seconds each, and requests a second one after another."""

    load: str
    ids: int
    seconds: Sequence[float]

    def __str__(self) -> str:
        each = sorted(self.seconds)
        p99 = each[min(len(each) - 1, int(len(each) * 0.99))]
        rate = len(each) / sum(each)
        return (
            f"{self.load:5} {self.ids:5} ids: p50 {statistics.median(each) * 1e3:8.1f} ms  p99 {p99 * 1e3:8.1f} ms  "
            f"{rate:7.1f} requests/s  {rate * self.ids:9,.0f} ids/s  ({len(each)} requests)"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines."""
        return {"load": self.load, "ids": self.ids, "seconds": list(self.seconds)}


@dataclass(frozen=True, slots=True)
class SyncFigures:
    """What was measured. `ceiling` are ids a second; `freshness` seconds of single writes until they are shown."""

    requests: Sequence[Latency]
    ceiling: Sequence[float]
    freshness: dict[str, Sequence[float]]

    def lines(self) -> Iterator[str]:
        """Return the figures as people read them."""
        yield from map(str, self.requests)
        ceiling = statistics.median(self.ceiling)
        yield f"ceiling: plain multi-key read and bulk write of 5,000 ids: {ceiling:,.0f} ids/s"
        idle = next(each for each in self.requests if each.load == "idle" and each.ids == 5000)
        ours = 5000 / statistics.median(idle.seconds)
        yield f"5,000 ids idle against the ceiling: {ours / ceiling:.0%}"
        for name, values in self.freshness.items():
            each = sorted(values)
            yield (
                f"freshness {name:28}: p50 {statistics.median(each) * 1e3:7.1f} ms  "
                f"p99 {each[min(len(each) - 1, int(len(each) * 0.99))] * 1e3:7.1f} ms  ({len(each)} writes)"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {
            "requests": [each.as_dict() for each in self.requests],
            "ceiling": list(self.ceiling),
            "freshness": {name: list(values) for name, values in self.freshness.items()},
        }


def measure(*, rows: int, rate: float, seconds: float, say: Say) -> SyncFigures:
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
            bench.wait_shown(rows - 1)
            time.sleep(2)
            requests = [bench.latency("idle", ids, seconds) for ids in (1, 100, 5000)]
            say("idle measured")
            ceiling = [bench.ceiling(5000) for _ in range(5)]
            freshness: dict[str, Sequence[float]] = {}
            with _busy(session, insert, rows, rate) as counted:
                time.sleep(3)
                freshness["under the tail alone"] = bench.freshness(seconds)
                requests += [bench.latency("busy", ids, seconds) for ids in (1, 100, 5000)]
                say("busy measured")
                with ThreadPoolExecutor(1) as pool:
                    asking = pool.submit(bench.latency, "busy", 5000, seconds)
                    freshness["with requests of 5,000 ids"] = bench.freshness(seconds)
                    asking.result()
                say(f"the tail had {counted() / 1e3:,.1f} thousand changes")
        return SyncFigures(requests, ceiling, freshness)


class _Bench:
    def __init__(self, session: Session, elastic: Elasticsearch, insert: Any, port: int, rows: int) -> None:
        self._session = session
        self._elastic = elastic
        self._insert = insert
        self._rows = rows
        self._read = session.prepare(f"SELECT * FROM {TABLE} WHERE id IN ?")  # noqa: S608 -- a constant
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._next = 0
        self._probe = 0

    def latency(self, load: str, ids: int, seconds: float) -> Latency:
        """Ask for so many ids again and again, one request after another."""
        taken: list[float] = []
        self._ask(ids)
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(taken) < 5:
            began = time.perf_counter()
            self._ask(ids)
            taken.append(time.perf_counter() - began)
        return Latency(load, ids, taken)

    def ceiling(self, count: int) -> float:
        """Read so many ids by multi-key queries and write them by bulk requests; return ids a second."""
        ids = self._ids(count)
        began = time.perf_counter()
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
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for answer in pool.map(self._bulk, [lines[at : at + PER_BULK] for at in range(0, count, PER_BULK)]):
                assert answer == {"errors": False}
        return count / (time.perf_counter() - began)

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

    def _ask(self, count: int) -> None:
        body = json.dumps({"request": {"objectType": "person", "objectIds": self._ids(count)}})
        self._http.request("POST", "/sync", body, {"Content-Type": "application/json"})
        answer = self._http.getresponse()
        content = answer.read()
        assert answer.status == 200, content[:500]
        assert json.loads(content)["result"]["counts"]["indexed"] == count

    def _ids(self, count: int) -> list[str]:
        first, self._next = self._next, (self._next + count) % self._rows
        return [_row_id((first + number) % self._rows) for number in range(count)]

    def _bulk(self, lines: Sequence[bytes]) -> Any:
        headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
        path = "/_bulk?filter_path=errors"
        return self._elastic.perform_request("POST", path, headers=headers, body=b"".join(lines)).body


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
    """Change rows all the time."""
    stop = threading.Event()
    made = 0

    def change() -> None:
        nonlocal made
        due = time.monotonic()
        while not stop.is_set():
            futures = [session.execute_async(insert, _row((made + at) % rows)) for at in range(20)]
            for future in futures:
                future.result()
            made += len(futures)
            due += len(futures) / rate
            stop.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield lambda: made
    finally:
        stop.set()
        thread.join()


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
