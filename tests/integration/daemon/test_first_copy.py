"""The first copy: rows that were there before an index was created come into it without a command, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import SMALL, Stage, new_stage

ROWS = 300


@pytest.fixture
def stage(box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path: Path) -> Iterator[Stage]:
    with new_stage(box, cql, elastic, tmp_path) as made:
        made.create("old", "id int PRIMARY KEY, v text")
        made.execute("ALTER KEYSPACE {ks} WITH durable_writes = false")  # the log has none of these rows
        for number in range(ROWS):
            made.execute("INSERT INTO {ks}.old (id, v) VALUES (%s, 'before')", [number])
        made.execute("ALTER KEYSPACE {ks} WITH durable_writes = true")
        yield made


def _copies(stage: Stage) -> dict[str, str]:
    return {each["type"]: each["state"] for each in stage.daemon.status()["first_copies"]}


def test_rows_that_were_there_before_are_copied_once(stage: Stage) -> None:
    stage.map("old", snapshot="initial")
    stage.daemon.run()
    wait_for("the first copy", lambda: _copies(stage) == {"old": "done"})
    wait_for("all documents", lambda: len(stage.documents("old")) == ROWS)
    stage.daemon.kill()
    stage.elastic.delete(index=stage.alias("old"), id="7", refresh=True)
    stage.daemon.run()
    stage.settle()
    assert _copies(stage) == {"old": "done"}
    assert stage.get("old", "7") is None, "a copy that is done is not repeated"


def test_a_copy_continues_after_a_kill(stage: Stage) -> None:
    stage.daemon.config["jobs"] = {"rate": 100}
    stage.map("old", snapshot="initial")
    stage.daemon.run()
    wait_for("the copy to run", lambda: _copies(stage) == {"old": "running"})
    stage.daemon.kill()
    stage.daemon.run()
    wait_for("the first copy", lambda: _copies(stage) == {"old": "done"})
    wait_for("all documents", lambda: len(stage.documents("old")) == ROWS)


def test_an_index_that_existed_gets_no_copy(stage: Stage) -> None:
    stage.map("old", snapshot="initial")
    stage.elastic.indices.create(
        index=f"{stage.alias('old')}-000001",
        settings=SMALL,
        mappings={"dynamic": "strict", "properties": {"id": {"type": "integer"}, "v": {"type": "keyword"}}},
        aliases={stage.alias("old"): {"is_write_index": True}},
    )
    stage.daemon.run()
    stage.settle()
    assert _copies(stage) == {}
    assert not stage.documents("old")
