"""`on_row_delete: mark` keeps the documents of removed rows, in whichever way a row goes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import spoil, sync, version_of, with_token
from tests.integration.tablejobs.conftest import finished, start

pytestmark = pytest.mark.other_engines

GRID = [(p, f"c{c}") for p in range(4) for c in range(4)]


def stage_tables(stage: Stage) -> None:
    stage.create("org", "id text PRIMARY KEY, orgname text")
    stage.map("org", on_row_delete="mark")
    lookup = {
        "table": f"{stage.keyspace}.org",
        "on": {"id": "org"},
        "fields": {"orgname": "orgName"},
        "dependents": {"field": "org"},
    }
    stage.table(
        "person", "id text PRIMARY KEY, name text, org text", on_row_delete="mark", lookups={"org": lookup},
        where="name != 'hidden'",
    )  # fmt: skip
    stage.table("grid", "p int, c text, v int, PRIMARY KEY (p, c)", on_row_delete="mark")
    stage.table("emptied", "id int PRIMARY KEY, v int", on_row_delete="mark")
    stage.table(
        "dropped", "id int PRIMARY KEY, v int", on_row_delete="mark", on_drop="remove",
        removal_mark={"field": "gone", "time_field": None},
    )  # fmt: skip
    stage.daemon.config["http"] = with_token()
    for identity in ("o1", "o2"):
        stage.execute("INSERT INTO {ks}.org (id, orgname) VALUES (%s, 'Name')", [identity])
    for name in ("a", "b", "c", "ttl", "hidden", "stays"):
        stage.execute("INSERT INTO {ks}.person (id, name, org) VALUES (%s, %s, 'o1')", [name, name.upper()])
    for p, c in GRID:
        stage.execute("INSERT INTO {ks}.grid (p, c, v) VALUES (%s, %s, 1)", [p, c])
    for number in range(3):
        for table in ("emptied", "dropped"):
            stage.execute(f"INSERT INTO {{ks}}.{table} (id, v) VALUES (%s, 1)", [number])


def marked(stage: Stage, table: str, field: str = "deleted") -> set[str]:
    return {identity for identity, document in stage.documents(table).items() if document.get(field) is True}


def test_the_document_of_a_row_is_kept_in_whichever_way_it_goes(stage: Stage) -> None:
    stage_tables(stage)
    stage.daemon.run()
    stage.settle()
    before = {name: stage.documents(name) for name in ("person", "grid", "emptied", "dropped")}
    assert {name: len(found) for name, found in before.items()} == {
        "person": 6, "grid": 16, "emptied": 3, "dropped": 3,
    }  # fmt: skip

    began = time.time()
    stage.execute("DELETE FROM {ks}.person WHERE id = 'a'")
    stage.execute("DELETE FROM {ks}.person WHERE id = 'never there'")
    stage.execute("UPDATE {ks}.person SET name = 'hidden' WHERE id = 'hidden'")  # not removed: it is not shown
    stage.execute("INSERT INTO {ks}.person (id, name, org) VALUES ('ttl', 'TTL', 'o1') USING TTL 2")
    stage.execute("DELETE FROM {ks}.grid WHERE p = 0")
    stage.execute("DELETE FROM {ks}.grid WHERE p = 1 AND c > 'c1'")
    stage.execute("DELETE FROM {ks}.grid WHERE p = 2 AND c = 'c0'")
    stage.execute("TRUNCATE {ks}.emptied")
    stage.execute("DROP TABLE {ks}.dropped")
    stage.execute("DELETE FROM {ks}.org WHERE id = 'o2'")
    stage.settle()
    rows = {"0:c0", "0:c1", "0:c2", "0:c3", "1:c2", "1:c3", "2:c0"}
    wait_for("marks in grid", lambda: marked(stage, "grid") == rows, pause=0.2)
    wait_for("the expired row's mark", lambda: marked(stage, "person") == {"a", "ttl"}, pause=0.2)
    wait_for("marks after TRUNCATE", lambda: marked(stage, "emptied") == {"0", "1", "2"}, pause=0.2)
    wait_for("marks after DROP", lambda: marked(stage, "dropped", "gone") == {"0", "1", "2"}, pause=0.2)
    assert set(stage.documents("person")) == {"a", "b", "c", "ttl", "stays"}
    assert set(stage.documents("grid")) == set(before["grid"])
    kept = stage.documents("person")["a"]
    at = kept.pop("deleted_at")
    assert kept == {**before["person"]["a"], "deleted": True}
    assert at > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began - 2))
    assert stage.documents("dropped")["1"] == {**before["dropped"]["1"], "gone": True}
    wait_for("the count", lambda: stage.daemon.metric("documents_total", outcome="marked") >= 7 + 2 + 3 + 3)

    # A removed organisation: its own document is marked, and documents that show it lose its name. A document that is
    # marked shows what it showed when its row was removed.
    stage.execute("DELETE FROM {ks}.org WHERE id = 'o1'")
    stage.settle()
    wait_for("a person without an organisation", lambda: stage.documents("person")["b"]["orgName"] is None, pause=0.2)
    assert marked(stage, "org") == {"o1", "o2"}
    assert stage.documents("org")["o1"]["orgname"] == "Name"
    wait_for("nothing waiting", lambda: stage.daemon.status()["dependents_waiting"] == 0)
    assert stage.documents("person")["a"] == {**kept, "deleted_at": at}

    check_requests_and_reconcile(stage, at)
    stage.assert_nothing_set_aside()
    assert stage.daemon.stop() == 0


def check_requests_and_reconcile(stage: Stage, at: str) -> None:
    """A request for a removed row, a reconcile, and a row that comes back."""
    answer = sync(stage, "person", "a", "never there", "stays")
    assert answer.status == 200
    assert answer.result["counts"] == {"indexed": 1, "deleted": 1, "missing": 1}
    assert stage.documents("person")["a"]["deleted_at"] == at
    found = reconcile(stage, repair=False)
    assert {name: (each["missing"], each["different"], each["surplus"]) for name, each in found.items()} == {
        "person": (0, 0, 0), "grid": (0, 0, 0),
    }  # fmt: skip

    version = version_of(stage, "person", "a")
    spoil(stage, "person", "a", {"id": "a", "name": "A"}, version=version)  # a document that lost its mark
    spoil(
        stage,
        "person",
        "b",
        {**stage.documents("person")["b"], "deleted": True},
        version=version_of(stage, "person", "b"),
    )
    stage.elastic.index(index=stage.alias("grid"), id="of no row", document={"v": 5})
    found = reconcile(stage, repair=True)
    counted = {
        name: [each[kind] for kind in ("missing", "different", "surplus", "repaired")] for name, each in found.items()
    }
    assert counted == {"person": [0, 1, 1, 2], "grid": [0, 0, 1, 1]}
    assert stage.documents("grid")["of no row"]["deleted"] is True
    assert marked(stage, "person") == {"a", "ttl"}
    assert stage.documents("person")["a"]["name"] == "A"

    stage.execute("INSERT INTO {ks}.person (id, name) VALUES ('a', 'back')")
    stage.settle()
    assert stage.documents("person")["a"] == {"id": "a", "name": "back", "org": None, "orgName": None}


def reconcile(stage: Stage, *, repair: bool) -> dict[str, Any]:
    types = ["person", "grid"]
    job = finished(stage, start(stage, "reconcile", types=types, repair=repair))
    assert job["state"] == "done", job
    found: dict[str, Any] = job["report"]["types"]
    return found
