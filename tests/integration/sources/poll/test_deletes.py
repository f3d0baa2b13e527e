"""Polling with delete passes keeps tables equal without a log: removed rows and partitions lose their documents."""

from __future__ import annotations

import time
from typing import Any

from cassandra.concurrent import execute_concurrent_with_args

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.poll.polled import poll, wait_equal


def deletes_of(stage: Stage, table: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = stage.daemon.status()["deletes"]
    return next(each for each in found if each["table"] == f"{stage.keyspace}.{table}")


def wait_pass(stage: Stage, table: str, *, since: float | None = None) -> dict[str, Any]:
    """Return the state after a pass that began after this call, or after `since`, is complete."""
    began = time.time() if since is None else since
    wait_for(f"a pass over {table}", lambda: (deletes_of(stage, table)["searched"] or 0) > began, pause=0.2)
    return deletes_of(stage, table)


def two_tables(stage: Stage, **deletes: Any) -> None:
    stage.create("person", "id text PRIMARY KEY, name text", cdc=False)
    stage.create("visit", "p int, c text, n int, s int STATIC, PRIMARY KEY (p, c)", cdc=False)
    stage.map("person")
    stage.map("visit")
    how = {"every": "1s", **deletes}
    stage.daemon.config["poll"] = [
        poll(stage, "person", strategy="scan", deletes=how),
        poll(stage, "visit", strategy="scan", deletes=how),
    ]


def fill_people(stage: Stage, people: int) -> None:
    statement = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.person (id, name) VALUES (?, ?)")
    execute_concurrent_with_args(stage.cql, statement, [(f"p-{each}", f"name {each}") for each in range(people)])


def fill(stage: Stage, *, people: int = 300, partitions: int = 10, rows: int = 20) -> None:
    fill_people(stage, people)
    statement = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.visit (p, c, n, s) VALUES (?, ?, ?, ?)")
    execute_concurrent_with_args(
        stage.cql, statement, [(p, f"c:{c}", c, p) for p in range(partitions) for c in range(rows)]
    )


def test_removed_rows_ranges_and_partitions_are_gone_within_the_bound(stage: Stage) -> None:
    two_tables(stage)
    fill(stage)
    stage.daemon.run()
    wait_equal(stage, "person", "visit")

    # A document of another program stays: its id belongs to no row of this table.
    stage.elastic.index(index=stage.alias("visit"), id="of another program", document={}, refresh=True)
    stage.execute("DELETE FROM {ks}.person WHERE id IN ('p-1', 'p-2', 'p-299')")
    stage.execute("DELETE FROM {ks}.visit WHERE p = 1 AND c = 'c:1'")
    stage.execute("DELETE FROM {ks}.visit WHERE p = 2 AND c >= 'c:1' AND c < 'c:2'")
    stage.execute("DELETE FROM {ks}.visit WHERE p = 3")
    stage.execute("DELETE FROM {ks}.person WHERE id = 'p-7'")
    stage.execute("INSERT INTO {ks}.person (id, name) VALUES ('p-7', 'written again')")
    removed = time.time()
    state = wait_pass(stage, "visit", since=removed)
    assert state["bound"] >= state["every"]
    assert state["error"] is None
    assert not state["overdue"]
    wait_pass(stage, "person", since=removed)
    assert stage.get("visit", "of another program") == {}
    stage.elastic.delete(index=stage.alias("visit"), id="of another program", refresh=True)
    wait_equal(stage, "person", "visit")
    assert stage.get("person", "p-7") == {"id": "p-7", "name": "written again"}
    assert stage.daemon.metric("deletes_removed_total", table="person") == 3
    assert stage.daemon.metric("deletes_bound_seconds", table="visit") >= state["every"]
    assert stage.daemon.metric("deletes_failing", table="visit") == 0
    (source,) = (
        each for each in stage.daemon.status()["sources"] if each["name"] == f"removed rows {stage.keyspace}.visit"
    )
    assert {fact["title"] for fact in source["facts"]} >= {"gone from search within", "last search began"}
    stage.assert_nothing_set_aside()
    assert stage.daemon.stop() == 0


def test_a_pass_marks_the_document_of_a_removed_row_and_leaves_it_alone_afterwards(stage: Stage) -> None:
    stage.create("person", "id text PRIMARY KEY, name text", cdc=False)
    stage.map("person", on_row_delete="mark", snapshot="never")
    stage.daemon.config["poll"] = [poll(stage, "person", strategy="scan", deletes={"every": "1s"})]
    fill_people(stage, 20)
    stage.daemon.run()
    wait_equal(stage, "person")
    stage.execute("DELETE FROM {ks}.person WHERE id IN ('p-1', 'p-7')")

    def marked() -> set[str]:
        return {name for name, document in stage.documents("person").items() if document.get("deleted")}

    wait_for("the marks", lambda: marked() == {"p-1", "p-7"}, pause=0.2)
    document = stage.get("person", "p-1")
    assert document is not None
    assert (document["name"], len(stage.documents("person"))) == ("name 1", 20)
    wait_for("the report of the pass", lambda: stage.daemon.metric("deletes_removed_total", table="person") == 2)
    version = stage.elastic.get(index=stage.alias("person"), id="p-1")["_version"]
    wait_pass(stage, "person")
    assert stage.elastic.get(index=stage.alias("person"), id="p-1")["_version"] == version
    assert stage.daemon.metric("deletes_removed_total", table="person") == 2
    stage.execute("INSERT INTO {ks}.person (id, name) VALUES ('p-7', 'back')")
    wait_for("the row that is back", lambda: stage.get("person", "p-7") == {"id": "p-7", "name": "back"})
    stage.assert_nothing_set_aside()
    assert stage.daemon.stop() == 0


def test_rows_deleted_and_written_again_during_the_passes(stage: Stage) -> None:
    """Rows come and go all the time, with passes back to back; in the end both sides are equal."""
    two_tables(stage)
    fill(stage, people=100, partitions=4)
    stage.daemon.run()
    wait_equal(stage, "person", "visit")
    until = time.monotonic() + 15
    turn = 0
    while time.monotonic() < until:
        turn += 1
        for each in range(turn % 7, 100, 7):
            stage.execute("DELETE FROM {ks}.person WHERE id = %s", [f"p-{each}"])
            if each % 2:
                stage.execute("INSERT INTO {ks}.person (id, name) VALUES (%s, %s)", [f"p-{each}", f"turn {turn}"])
        stage.execute("DELETE FROM {ks}.visit WHERE p = %s", [turn % 4])
        stage.execute("INSERT INTO {ks}.visit (p, c, n) VALUES (%s, 'c:1', %s)", [turn % 4, turn])
    assert deletes_of(stage, "person")["searched"] is not None
    wait_equal(stage, "person", "visit")
    stage.assert_nothing_set_aside()
    assert stage.daemon.stop() == 0


def test_a_pass_goes_on_after_the_daemon_is_killed_in_its_middle(stage: Stage) -> None:
    stage.create("person", "id text PRIMARY KEY, name text", cdc=False)
    stage.map("person")
    stage.daemon.config["poll"] = [
        poll(stage, "person", strategy="scan", deletes={"every": "1h", "rate": 150}),
    ]
    statement = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.person (id, name) VALUES (?, 'a')")
    execute_concurrent_with_args(stage.cql, statement, [(f"p-{each}",) for each in range(2000)])
    stage.daemon.run()
    # The first pass began with the daemon, and reads 150 rows a second.
    wait_for("all documents", lambda: len(stage.documents("person")) == 2000, pause=0.2)
    stage.execute("DELETE FROM {ks}.person WHERE id IN ('p-3', 'p-1500')")

    def running() -> dict[str, Any] | None:
        jobs = stage.daemon.status()["jobs"]
        return next((each for each in jobs if each["origin"] == "deletes" and each["fraction"] > 0.2), None)

    wait_for("a pass in its middle", running, pause=0.05)
    before = running()
    assert before is not None
    stage.daemon.kill()
    stage.daemon.run()
    wait_for("the same pass", running, pause=0.05)
    after = running()
    assert after is not None
    assert after["job"] == before["job"]
    state = wait_pass(stage, "person", since=0)
    assert state["rows"] <= 2000
    # Rows that the pass had read before they were deleted are found by the next one; these were deleted during it.
    wait_for("the same job to be the only one", lambda: not stage.daemon.status()["jobs"])
    assert stage.daemon.stop() == 0


def test_a_filter_hides_soft_deleted_rows_and_the_passes_read_what_it_needs(stage: Stage) -> None:
    stage.create("person", "id text PRIMARY KEY, name text, deleted boolean", cdc=False)
    stage.map("person", where="deleted != true", fields={"id": "id", "name": "name"})
    stage.daemon.config["poll"] = [poll(stage, "person", strategy="scan", deletes={"every": "1s"})]
    for each in range(60):
        stage.execute(
            "INSERT INTO {ks}.person (id, name, deleted) VALUES (%s, 'a', %s)", [f"p-{each:02}", each % 2 == 0]
        )
    stage.daemon.run()
    expected = {f"p-{each:02}" for each in range(60) if each % 2}
    wait_for("the documents", lambda: set(stage.documents("person")) == expected, pause=0.2)
    stage.execute("UPDATE {ks}.person SET deleted = true WHERE id = 'p-01'")
    stage.execute("DELETE FROM {ks}.person WHERE id = 'p-03'")
    stage.execute("DELETE FROM {ks}.person WHERE id = 'p-04'")
    expected -= {"p-01", "p-03"}
    wait_for("the documents", lambda: set(stage.documents("person")) == expected, pause=0.2)
    state = wait_pass(stage, "person")
    assert state["rows"] == 58
    assert state["removed"] == 0
    assert stage.daemon.stop() == 0
