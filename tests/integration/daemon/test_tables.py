"""Tables that are truncated, dropped and created again: their documents follow as the mapping says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from elasticsearch import Elasticsearch

from cdc_daemon.sources.unlogged_removals.table_watch import INTERVAL
from sandbox import Sandbox
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage

MORE_THAN_A_PAGE = 1200
"""Documents are looked at a thousand at a time."""


@pytest.fixture(scope="module")
def shown(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A running daemon, and tables that are full of rows."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("tables")) as stage:
        stage.table("plain", "id text PRIMARY KEY, v int")
        stage.table("grid", "p int, c text, v int, PRIMARY KEY (p, c)")
        stage.table("restarted", "p int, c text, v int, PRIMARY KEY (p, c)")
        stage.table("composite", "a int, b text, v int, PRIMARY KEY ((a, b))", id="{b}_{a}")
        stage.table("kept", "id int PRIMARY KEY, v int", on_truncate="keep")
        stage.table("rebuilt", "id int PRIMARY KEY, v int", on_truncate="rebuild")
        stage.table("again", "id int PRIMARY KEY, v int", on_drop="remove")
        stage.table("renewed", "id int PRIMARY KEY, v int")
        stage.create("child", "parent text, c int, PRIMARY KEY (parent, c)")
        joined = {"table": f"{stage.keyspace}.child", "on": {"parent": "id"}, "exclude": ["parent"]}
        stage.table("parent", "id text PRIMARY KEY", joins={"children": joined})
        stage.daemon.run()
        insert(stage, "INSERT INTO {ks}.parent (id) VALUES (?)", [("p",), ("q",)])
        insert(stage, "INSERT INTO {ks}.child (parent, c) VALUES (?, 1)", [("p",), ("q",)])
        insert(stage, "INSERT INTO {ks}.plain (id, v) VALUES (?, 1)", [(f"row {n}:x",) for n in range(20)])
        insert(
            stage,
            "INSERT INTO {ks}.grid (p, c, v) VALUES (?, ?, 1)",
            [(n % 7, f"c{n}") for n in range(MORE_THAN_A_PAGE)],
        )
        insert(stage, "INSERT INTO {ks}.composite (a, b, v) VALUES (?, ?, 1)", [(n, f"b_{n}") for n in range(20)])
        for name in ("kept", "rebuilt", "again", "renewed"):
            insert(stage, f"INSERT INTO {{ks}}.{name} (id, v) VALUES (?, 1)", [(n,) for n in range(20)])
        stage.settle()
        yield stage


def insert(stage: Stage, statement: str, values: list[tuple[Any, ...]]) -> None:
    prepared = stage.cql.prepare(statement.replace("{ks}", stage.keyspace))
    execute_concurrent_with_args(stage.cql, prepared, values)


def swept(stage: Stage, name: str) -> dict[str, Any]:
    return stage.daemon.wait_event("removal.swept", table=f"{stage.keyspace}.{name}")


@pytest.mark.other_engines
def test_a_truncated_table_keeps_what_was_written_after_it(shown: Stage) -> None:
    assert len(shown.documents("grid")) == MORE_THAN_A_PAGE
    for name in ("plain", "grid", "composite"):
        shown.execute(f"TRUNCATE {{ks}}.{name}")
    shown.execute("INSERT INTO {ks}.plain (id, v) VALUES ('row 1:x', 2)")
    shown.execute("INSERT INTO {ks}.grid (p, c, v) VALUES (1, 'c1', 2)")
    shown.execute("INSERT INTO {ks}.composite (a, b, v) VALUES (1, 'b_1', 2)")
    for name in ("plain", "grid", "composite"):
        assert swept(shown, name)["documents"] >= 20
        shown.settle()  # a sweep that began before the insert removes the document, and the insert brings it back
        assert len(shown.documents(name)) == 1
        shown.assert_equal(*({name} - {"composite"}))
    assert shown.documents("composite") == {"b\\_1_1": {"a": 1, "b": "b_1", "v": 2}}
    shown.assert_nothing_set_aside()


def test_documents_follow_a_truncated_table_that_they_join(shown: Stage) -> None:
    assert shown.get("parent", "p") == {"id": "p", "children": [{"c": 1}]}
    shown.execute("TRUNCATE {ks}.child")
    swept(shown, "child")
    assert shown.documents("parent") == {each: {"id": each, "children": []} for each in "pq"}


def test_what_a_mapping_says_of_truncation(shown: Stage) -> None:
    shown.execute("TRUNCATE {ks}.kept")
    shown.execute("TRUNCATE {ks}.rebuilt")
    swept(shown, "rebuilt")
    shown.daemon.wait_event("removal.table_truncated", table=f"{shown.keyspace}.kept", on_truncate="keep")
    assert shown.documents("rebuilt") == {}
    healing = shown.daemon.wait_event("reconcile.after_loss")
    assert healing["requests"] == [f"table of {shown.keyspace}.rebuilt"]
    shown.daemon.wait_event("reconcile.loss_healed")
    assert len(shown.documents("kept")) == 20


def test_a_dropped_table_and_one_that_is_created_again(shown: Stage) -> None:
    shown.execute("DROP TABLE {ks}.again")
    shown.execute("DROP TABLE {ks}.renewed")
    swept(shown, "again")
    shown.daemon.wait_event("removal.table_dropped", table=f"{shown.keyspace}.renewed", on_drop="keep")
    assert shown.documents("again") == {}
    assert len(shown.documents("renewed")) == 20

    for name in ("again", "renewed"):
        shown.create(name, "id int PRIMARY KEY, v int")
    shown.execute("INSERT INTO {ks}.renewed (id, v) VALUES (3, 3)")
    swept(shown, "renewed")
    shown.settle()
    assert shown.documents("renewed") == {"3": {"id": 3, "v": 3}}


def test_a_truncation_while_the_daemon_is_away_and_an_unfinished_sweep(shown: Stage) -> None:
    insert(shown, "INSERT INTO {ks}.restarted (p, c, v) VALUES (?, ?, 1)", [(n % 7, f"c{n}") for n in range(50)])
    shown.settle()
    shown.daemon.kill()
    shown.execute("TRUNCATE {ks}.restarted")
    shown.execute("INSERT INTO {ks}.restarted (p, c, v) VALUES (1, 'c1', 3)")
    shown.daemon.start()
    shown.daemon.wait_event("removal.table_truncated", table=f"{shown.keyspace}.restarted")
    shown.daemon.kill()
    shown.daemon.run()
    left = {"1:c1": {"p": 1, "c": "c1", "v": 3}}
    wait_for("the sweep", lambda: shown.documents("restarted") == left)
    shown.settle()
    assert shown.documents("restarted") == left
    shown.daemon.stop()
    shown.daemon.run()
    shown.settle()
    time.sleep(2 * INTERVAL)
    assert shown.daemon.events("removal.table_truncated") == []  # it is dealt with for good
