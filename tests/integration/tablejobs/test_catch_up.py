"""`cdc-daemon sync --days` and `--file` on real servers: exactly the rows that changed are written again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.sources.requests.asking import TOKEN, send, sync, with_token

COMMAND = str(Path(sys.executable).with_name("cdc-daemon"))
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def stage(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Tables without CDC, one of them polled, and a running daemon."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("catch-up")) as stage:
        for name, columns in (
            ("person", "p text, id text, name text, n int, tags set<text>, PRIMARY KEY (p, id)"),
            ("dated", "id text PRIMARY KEY, name text, changed text"),
            ("member", "id text PRIMARY KEY"),
            ("listed", "id text PRIMARY KEY, name text"),
        ):
            stage.create(name, columns, cdc=False)
            stage.map(name)
        stage.daemon.config["poll"] = [
            {
                "table": f"{stage.keyspace}.dated",
                "strategy": "scan",
                "column": "changed",
                "format": "yyyy-MM-dd HH:mm:ss:SSSZ",
                "every": "1h",
                "start": "now",
            }
        ]
        stage.daemon.config["http"] = with_token()
        stage.daemon.run()
        yield stage


@pytest.fixture
def command(stage: Stage, tmp_path: Path) -> list[str]:
    """The command with the daemon's address and a token."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    port = stage.daemon.wait_event("http.listening")["port"]
    return [COMMAND, "sync", "--url", f"http://127.0.0.1:{port}", "--token-file", str(token)]


def sync_all(stage: Stage, name: str, ids: Sequence[str]) -> dict[str, int]:
    """Write all rows once; return the versions of their documents."""
    assert sync(stage, name, *ids).status == 200
    stage.settle()
    return versions_of(stage, name)


def versions_of(stage: Stage, name: str) -> dict[str, int]:
    alias = stage.alias(name)
    stage.elastic.indices.refresh(index=alias)
    hits = stage.elastic.search(index=alias, size=5000, version=True, source=False)["hits"]["hits"]
    return {hit["_id"]: hit["_version"] for hit in hits}


def rewritten(stage: Stage, name: str, versions: dict[str, int]) -> set[str]:
    return {each for each, version in versions_of(stage, name).items() if version > versions.get(each, version)}


def test_only_the_rows_of_the_last_days(stage: Stage, command: list[str]) -> None:
    now = time.time_ns() // 1000
    ids = []
    # Several pages of one partition, so that progress within a partition counts as well.
    insert = stage.cql.prepare(
        f"INSERT INTO {stage.keyspace}.person (p, id, name) VALUES (?, ?, 'Ada') USING TIMESTAMP ?"
    )
    for number in range(1500):
        stage.cql.execute(insert, ["big", f"{number:04}", now - (1 if number % 5 == 0 else 5) * DAY])
        ids.append(f"big:{number:04}")
    for age in (0, 1, 2.9, 3.1, 30):
        stage.cql.execute(insert, ["small", f"{age}", now - int(age * DAY)])
    stage.execute("INSERT INTO {ks}.person (p, id) VALUES ('small', 'undated') USING TIMESTAMP 1")
    stage.execute(
        f"UPDATE {{ks}}.person USING TIMESTAMP {now} SET tags = tags + {{'a'}} WHERE p = 'small' AND id = '30'"
    )
    small = {each: f"small:{each}" for each in ("0", "1", "2.9", "3.1", "30", "undated")}
    versions = sync_all(stage, "person", [*ids, *small.values()])
    done = subprocess.run([*command, "person", "--days", "3", "--json"], capture_output=True, check=True)
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["fraction"], answer["settled"]) == ("done", 1.0, 305)
    recent = {each for number, each in enumerate(ids) if number % 5 == 0}
    # A write time of a collection is known from Cassandra 5.0 on, which this is.
    assert rewritten(stage, "person", versions) == recent | {small[each] for each in ("0", "1", "2.9", "30", "undated")}
    jobs = send(stage, "GET", "/admin/jobs").content["jobs"]
    (job,) = [each for each in jobs if each["job"] == answer["job"]]
    assert (job["kind"], job["state"], job["rows_by_type"]) == ("catch_up", "done", {"person": 305})


def test_a_polled_table_is_dated_by_its_column(stage: Stage, command: list[str]) -> None:
    fresh = time.strftime("%Y-%m-%d %H:%M:%S:000+0000", time.gmtime())
    insert = f"INSERT INTO {stage.keyspace}.dated (id, name, changed) VALUES (%s, 'Ada', %s) USING TIMESTAMP %s"
    old = time.time_ns() // 1000 - 9 * DAY
    stage.cql.execute(insert, ["column", fresh, old])
    stage.cql.execute(insert, ["neither", "2001-01-01 00:00:00:000+0000", old])
    stage.cql.execute(insert, ["written", "2001-01-01 00:00:00:000+0000", old + 8 * DAY])
    stage.cql.execute(insert, ["invalid", "soon", old + 8 * DAY])
    versions = sync_all(stage, "dated", ["column", "neither", "written", "invalid"])
    done = subprocess.run([*command, "dated", "--days", "2"], capture_output=True, check=True)
    assert b"dated: 3 rows changed in the last 2 days, all written" in done.stdout
    assert rewritten(stage, "dated", versions) == {"column", "written", "invalid"}


def test_a_table_without_write_times_is_refused(stage: Stage, command: list[str]) -> None:
    refused = subprocess.run([*command, "member", "--days", "2"], capture_output=True, check=False)
    assert refused.returncode == 2
    assert b"expected columns with write times, found none in" in refused.stderr
    assert b"Traceback" not in refused.stderr


def test_a_job_is_detached_and_cancelled(stage: Stage, command: list[str]) -> None:
    detached = subprocess.run(
        [*command, "person", "--days", "3", "--detach", "--json"], capture_output=True, check=True
    )
    job = json.loads(detached.stdout)["job"]
    assert send(stage, "POST", f"/admin/jobs/{job}/cancel").content["state"] in {"cancelled", "done"}
    assert send(stage, "GET", f"/sync/{job}").content["result"]["state"] in {"cancelled", "done"}


def test_a_file_with_bad_lines_and_a_list(stage: Stage, command: list[str], tmp_path: Path) -> None:
    for identity in ("f1", "f2", "f3"):
        stage.execute("INSERT INTO {ks}.listed (id, name) VALUES (%s, 'Ada')", [identity])
    file = tmp_path / "ids"
    file.write_text('f1\n{"wrong": 1}\n{broken\n{"id": "f2"}\n')
    done = subprocess.run([*command, "listed", "--file", str(file)], capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    assert b"2 ids: 2 documents indexed" in done.stdout
    assert b"line 2: expected columns of the key (id)" in done.stderr
    assert b"line 3: expected an id or a JSON object, found broken JSON" in done.stderr
    stage.settle()
    versions = versions_of(stage, "listed")
    done = subprocess.run([*command, "listed", "--file", "-"], input=b'["f2",\n"f3"]', capture_output=True, check=True)
    assert rewritten(stage, "listed", versions) - {"f3"} == {"f2"}
    assert stage.get("listed", "f3") is not None
