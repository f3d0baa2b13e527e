"""A job that was accepted with 202 is completed, whatever happens to the process."""

from __future__ import annotations

from typing import Any

from cassandra.concurrent import execute_concurrent_with_args

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import send, sync

ROWS = 10_000


def test_a_job_survives_kill_9_and_loses_none(stage: Stage) -> None:
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.unseen (id, name) VALUES (?, ?)")
    names = [f"job-{number:05}" for number in range(ROWS)]
    execute_concurrent_with_args(stage.cql, insert, [(name, name) for name in names], concurrency=50)
    answer = sync(stage, "unseen", *names, operationType="async")
    assert answer.status == 202
    assert answer.headers["location"] == f"/api/data/v1/index/sync/{answer.result['job']}"
    job = answer.result["job"]
    for _ in range(3):
        # So far and no further, three times: each start goes on where the last one ended.
        seen = send(stage, "GET", f"/sync/{job}").result["settled"]
        wait_for("progress", lambda: send(stage, "GET", f"/sync/{job}").result["settled"] > seen)  # noqa: B023
        stage.daemon.kill()
        stage.daemon.run()
    report = wait_for("the job's end", lambda: _finished(stage, job), seconds=120)
    assert report["state"] == "done"
    assert (report["total"], report["settled"], report["failed"]) == (ROWS, ROWS, 0)
    assert report["counts"]["indexed"] == ROWS
    documents = stage.documents("unseen")
    assert all(documents[name] == {"id": name, "name": name} for name in names)
    # Read after the request came: not the tail's doing, which sees tables without CDC beside those that have it.
    versions = _versions(stage, names)
    assert len(versions) == ROWS
    assert min(versions.values()) >= report["created"] * 1e6


def _versions(stage: Stage, names: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(names), 1000):
        answer = stage.elastic.mget(index=stage.alias("unseen"), ids=names[start : start + 1000], source=False)
        found |= {document["_id"]: document["_version"] for document in answer["docs"]}
    return found


def _finished(stage: Stage, job: str) -> dict[str, Any]:
    report: dict[str, Any] = send(stage, "GET", f"/sync/{job}").result
    return report if report["finished"] else {}


def test_a_job_that_nobody_knows(stage: Stage) -> None:
    answer = send(stage, "GET", "/api/data/v1/index/sync/nothing")
    assert (answer.status, answer.content["params"]["err"]) == (404, "RESOURCE_NOT_FOUND")
