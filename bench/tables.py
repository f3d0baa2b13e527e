"""Backfill and reconcile: rows a second beside a bare token scan plus bulk write of the same rows."""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from bench.figures import Figures
from cdc_daemon.cassandra.ring import WHOLE_RING, split
from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.jobs import JobsClient
from sandbox import Sandbox
from sandbox.ports import PortReservation

KEYSPACE = "bench_tables"
TABLE = f"{KEYSPACE}.person"
ALIAS = "bench-person"
FIELDS = 15
CONNECTIONS = 4
PER_BULK = 1000
PAGE_ROWS = 5000
RANGES = 4

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TableFigures:
    """What was measured, in rows a second; `ratios` are those of runs next to each other."""

    job: Figures
    ceiling: Figures
    ratios: Figures


def measure(kind: str, *, rows: int, runs: int, say: Say) -> TableFigures:
    """Measure jobs of a kind in alternation with the ceiling, after one run of each to warm up."""
    with closing(PortReservation()) as ports, Sandbox() as box, box.connect() as session:
        make_table(session)
        port = ports.reserve()
        token = secrets.token_hex(32)
        config = write_config(box, port, token)
        program = str(Path(sys.executable).with_name("cdc-daemon"))
        daemon = box.add("daemon", [program, "run", "--config", str(config)], output=config.with_name("daemon.log"))
        say(f"writing {rows:,} rows")
        fill(session, rows)
        daemon.start()
        client = JobsClient(DaemonClient(f"http://127.0.0.1:{port}", token=token, patience=120))
        with Elasticsearch(box.elasticsearch.url, request_timeout=60) as elastic:
            run_job(client, "backfill", rows)
            run_ceiling(session, elastic, rows)
            jobs, ceilings = [], []
            for run in range(runs):
                for side in ("job", "ceiling") if run % 2 else ("ceiling", "job"):
                    if side == "job":
                        jobs.append(run_job(client, kind, rows))
                    else:
                        ceilings.append(run_ceiling(session, elastic, rows))
                say(f"run {run + 1}: {kind} {jobs[-1]:,.0f} rows/s, ceiling {ceilings[-1]:,.0f} rows/s")
    ratios = [job / ceiling for job, ceiling in zip(jobs, ceilings, strict=True)]
    return TableFigures(Figures(jobs), Figures(ceilings), Figures(ratios))


def run_job(client: JobsClient, kind: str, rows: int) -> float:
    """Run a job; return rows a second from its start to its end."""
    *_, job = client.follow(client.start(kind, {"types": ["person"]})["job"])
    assert job["state"] == "done", job
    assert job["rows"] == rows, job
    if kind == "reconcile":
        assert not any(job["report"]["types"]["person"]["left"].values()), job
    return float(rows / (job["finished"] - job["started"]))


def run_ceiling(session: Session, elastic: Elasticsearch, rows: int) -> float:
    """Scan ranges side by side and write their rows in bulk, with nothing between; return rows a second."""
    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as writers, ThreadPoolExecutor(RANGES) as readers:
        ranges = split(WHOLE_RING, RANGES)
        written = sum(readers.map(lambda each: sum(_copy(session, elastic, each, writers)), ranges))
    assert written == rows, f"expected {rows} rows, found {written}"
    return rows / (time.perf_counter() - began)


def _copy(
    session: Session, elastic: Elasticsearch, tokens: Sequence[int], writers: ThreadPoolExecutor
) -> Iterator[int]:
    statement = session.prepare(f"SELECT * FROM {TABLE} WHERE token(id) > ? AND token(id) <= ?").bind(tokens)  # noqa: S608
    statement.fetch_size = PAGE_ROWS
    version = time.time_ns() // 1000
    lines: list[bytes] = []
    sent: list[Future[int]] = []
    for row in session.execute(statement):
        lines.append(
            b'{"index":{"_index":"%b","_id":"%b","version":%d,"version_type":"external_gte"}}\n%b\n'
            % (ALIAS.encode(), row.id.encode(), version, orjson.dumps(row._asdict()))
        )
        if len(lines) == PER_BULK:
            sent.append(writers.submit(_bulk, elastic, lines))
            lines = []
    if lines:
        sent.append(writers.submit(_bulk, elastic, lines))
    for each in sent:
        yield each.result()


def _bulk(elastic: Elasticsearch, lines: Sequence[bytes]) -> int:
    headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
    answer: Any = elastic.perform_request(
        "POST", "/_bulk?filter_path=errors", headers=headers, body=b"".join(lines)
    ).body
    assert answer == {"errors": False}, answer
    return len(lines)


def make_table(session: Session) -> None:
    """Create the table that is measured."""
    session.execute(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    columns = ", ".join(f"field{number} text" for number in range(FIELDS))
    session.execute(f"CREATE TABLE {TABLE} (id text PRIMARY KEY, {columns}) WITH cdc = false")


def fill(session: Session, rows: int, *, begin: int = 0) -> None:
    """Write rows up to a number."""
    names = ", ".join(f"field{number}" for number in range(FIELDS))
    insert = session.prepare(f"INSERT INTO {TABLE} (id, {names}) VALUES ({'?, ' * FIELDS}?)")  # noqa: S608 -- constants
    values = [f"value of field {at} and some more".ljust(36) for at in range(FIELDS)]
    made = ((identity(number), *values) for number in range(begin, rows))
    execute_concurrent_with_args(session, insert, made, concurrency=64, results_generator=False)


def identity(number: int) -> str:
    """Return the key of a row."""
    return f"00000000-0000-4000-8000-{number:012}"


def write_config(box: Sandbox, port: int, token: str, *, tail: bool = True) -> Path:
    """Write the configuration of a daemon that knows the table, and follows the log with `tail`; return its path."""
    directory = box.directory / "daemon"
    directory.mkdir()
    digest = hashlib.sha256(token.encode()).hexdigest()
    auth = {"tokens": [{"name": "bench", "hash": f"sha256:{digest}", "scopes": ["admin"]}]}
    content = {
        "cassandra": {"contact_points": box.contact_points, "port": box.cassandra.port},
        **({"commit_log": {"cdc_raw_directory": str(box.cassandra.cdc_raw_directory)}} if tail else {"tail": "off"}),
        "elasticsearch": {"hosts": [box.elasticsearch.url]},
        "state": {"directory": str(directory / "state")},
        "http": {"port": port, "auth": auth},
        "mappings": {
            "person": {"table": TABLE, "alias": ALIAS, "settings": {"number_of_shards": 1, "number_of_replicas": 0}}
        },
    }
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    return config
