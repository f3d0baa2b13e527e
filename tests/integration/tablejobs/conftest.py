"""A running daemon beside tables that hold rows which no log tells of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.sources.requests.asking import TOKEN, send


@pytest.fixture(scope="module")
def stage(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Tables of this module and a running daemon; those called `old_…` have no CDC."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("backfill")) as stage:
        stage.table("person", "id text PRIMARY KEY, name text, n int")
        for name, columns in (
            ("old_person", "id text PRIMARY KEY, name text, n int"),
            ("estimated", "id text PRIMARY KEY, name text, n int"),
            ("old_event", "p int, c timestamp, d text, v int, s int static, PRIMARY KEY (p, c, d)"),
        ):
            stage.create(name, columns, cdc=False)
            stage.map(name)
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        stage.daemon.config["http"] = {
            "port": 0,
            "auth": {"tokens": [{"name": "tests", "hash": f"sha256:{digest}", "scopes": ["sync", "admin"]}]},
        }
        stage.daemon.run()
        yield stage


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file that holds the operator's token."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    return file


def fill(stage: Stage, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows, given as the values of all columns of a table of persons."""
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.{table} (id, name, n) VALUES (?, ?, ?)")
    execute_concurrent_with_args(stage.cql, insert, rows, concurrency=50)


def start(stage: Stage, kind: str, **wanted: Any) -> str:
    """Start a job; return its id."""
    answer = send(stage, "POST", f"/admin/{kind}", wanted)
    assert answer.status == 202, answer
    return str(answer.content["job"])


def job(stage: Stage, identity: str) -> dict[str, Any]:
    """Return the status of a job."""
    answer = send(stage, "GET", f"/admin/jobs/{identity}")
    assert answer.status == 200, answer
    content: dict[str, Any] = answer.content
    return content


def finished(stage: Stage, identity: str) -> dict[str, Any]:
    """Wait for a job to end; return its status."""

    def ended() -> dict[str, Any]:
        report = job(stage, identity)
        return report if report["finished"] is not None else {}

    return wait_for("the job's end", ended, seconds=120)
