"""Rows and cells that expire: their documents follow within seconds, also after a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage

TABLES = ("t", "grid", "bare", "short", "elements")
TTL = 10
"""Seconds: long enough for every document to be shown before."""


@pytest.fixture(scope="module")
def shown(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A running daemon and the tables of this module."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("expiry")) as stage:
        stage.table("t", "id text PRIMARY KEY, a text, b text")
        stage.table("grid", "p text, c int, s text static, v text, PRIMARY KEY (p, c)")
        stage.table("bare", "id text PRIMARY KEY")
        stage.table("short", "id text PRIMARY KEY, v text", options=f"default_time_to_live = {TTL}")
        stage.table("elements", "id text PRIMARY KEY, m map<text, text>, l list<int>")
        stage.table("eternal", "id text PRIMARY KEY, v text")
        stage_holders(stage)
        stage.daemon.run()
        yield stage


def stage_holders(stage: Stage) -> None:
    """Holders that show rows of tables without CDC: no log tells when these expire."""
    ks = stage.keyspace
    stage.create("lease", "holder text, name text, note text, PRIMARY KEY (holder, name)", cdc=False)
    stage.execute(f"ALTER TABLE {{ks}}.lease WITH default_time_to_live = {TTL}")
    stage.create("badge", "id text PRIMARY KEY, label text", cdc=False)
    badge = {"table": f"{ks}.badge", "on": {"id": "badge"}, "fields": {"label": "label"}, "expiring": True}
    stage.table(
        "holder",
        "id text PRIMARY KEY, badge text",
        joins={"leases": {"table": f"{ks}.lease", "on": {"holder": "id"}, "include": ["name"]}},
        lookups={"badge": {**badge, "dependents": {"ignore": True}}},
    )


def differing(stage: Stage) -> list[str]:
    return [name for name in TABLES if stage.rows(name) != stage.documents(name)]


def equal_after(stage: Stage, moment: float) -> None:
    """Assert that everything is as it should be, soon after a moment (seconds since epoch)."""
    time.sleep(max(0.0, moment - time.time()))
    wait_for("documents equal to rows", lambda: not differing(stage), pause=0.3)


def test_rows_cells_statics_and_elements_expire(shown: Stage) -> None:
    ttl = f"USING TTL {TTL}"
    for statement in (
        f"INSERT INTO {{ks}}.t (id, a, b) VALUES ('row', 'a', 'b') {ttl}",
        "INSERT INTO {ks}.t (id, a, b) VALUES ('cell', 'a', 'b')",
        f"UPDATE {{ks}}.t {ttl} SET b = 'other' WHERE id = 'cell'",
        f"INSERT INTO {{ks}}.t (id, a) VALUES ('prolonged', 'a') {ttl}",
        "INSERT INTO {ks}.t (id, a) VALUES ('prolonged', 'a') USING TTL 100000",
        f"INSERT INTO {{ks}}.t (id, a) VALUES ('kept', 'a') {ttl}",
        "INSERT INTO {ks}.t (id, a) VALUES ('kept', 'a')",
        f"UPDATE {{ks}}.t {ttl} SET a = 'a' WHERE id = 'no liveness'",
        f"UPDATE {{ks}}.t USING TTL {TTL // 2} SET a = 'a' WHERE id = 'one after the other'",
        f"UPDATE {{ks}}.t {ttl} SET b = 'b' WHERE id = 'one after the other'",
        f"INSERT INTO {{ks}}.bare (id) VALUES ('expires') {ttl}",
        "INSERT INTO {ks}.bare (id) VALUES ('stays')",
        "INSERT INTO {ks}.short (id, v) VALUES ('expires', 'v')",
        "INSERT INTO {ks}.short (id, v) VALUES ('stays', 'v') USING TTL 0",
        "INSERT INTO {ks}.elements (id, m, l) VALUES ('row', {'a': 'b'}, [1, 2])",
        f"UPDATE {{ks}}.elements {ttl} SET m['x'] = 'y', l = l + [3] WHERE id = 'row'",
        f"INSERT INTO {{ks}}.elements (id, m) VALUES ('whole', {{'a': 'b'}}) {ttl}",
        "INSERT INTO {ks}.grid (p, c, v) VALUES ('p', 1, 'v')",
        f"UPDATE {{ks}}.grid {ttl} SET s = 's' WHERE p = 'p'",
        (
            "BEGIN BATCH "
            f"INSERT INTO {{ks}}.grid (p, c, v) VALUES ('batch', 1, 'v') USING TTL {TTL // 2}; "
            f"INSERT INTO {{ks}}.grid (p, c, v) VALUES ('batch', 2, 'v') {ttl}; "
            "INSERT INTO {ks}.grid (p, c, v) VALUES ('batch', 3, 'v') APPLY BATCH"
        ),
        "INSERT INTO {ks}.eternal (id, v) VALUES ('x', 'v')",
    ):
        shown.execute(statement)
    written = time.time()
    shown.settle()
    shown.assert_equal(*TABLES)
    assert len(shown.documents("t")) == 6

    equal_after(shown, written + TTL + 1)
    assert shown.documents("t").keys() == {"cell", "prolonged", "kept"}
    assert shown.documents("t")["cell"]["b"] is None
    assert shown.documents("bare").keys() == shown.documents("short").keys() == {"stays"}
    assert shown.documents("elements") == {"row": {"id": "row", "m": {"a": "b"}, "l": [1, 2]}}
    assert shown.documents("grid").keys() == {"p:1", "batch:3"}
    assert shown.documents("grid")["p:1"]["s"] is None
    tracked = {event["table"] for event in shown.daemon.events("removal.table_expires")}
    assert tracked
    assert f"{shown.keyspace}.eternal" not in tracked  # nothing is asked about a table without TTLs
    shown.assert_nothing_set_aside()


def test_what_is_joined_expires(shown: Stage) -> None:
    for statement in (
        "INSERT INTO {ks}.lease (holder, name, note) VALUES ('h', 'short', 'n')",
        "INSERT INTO {ks}.lease (holder, name, note) VALUES ('h', 'long', 'n') USING TTL 0",
        f"INSERT INTO {{ks}}.badge (id, label) VALUES ('b', 'B') USING TTL {TTL}",
        "INSERT INTO {ks}.badge (id, label) VALUES ('eternal', 'E')",
        "INSERT INTO {ks}.holder (id, badge) VALUES ('h', 'b')",
        "INSERT INTO {ks}.holder (id, badge) VALUES ('other', 'eternal')",
    ):
        shown.execute(statement)
    written = time.time()
    shown.settle()
    both = [{"name": "long"}, {"name": "short"}]
    assert shown.get("holder", "h") == {"id": "h", "badge": "b", "leases": both, "label": "B"}
    other = {"id": "other", "badge": "eternal", "leases": [], "label": "E"}
    assert shown.get("holder", "other") == other

    time.sleep(max(0.0, written + TTL + 1 - time.time()))
    left = {"id": "h", "badge": "b", "leases": [{"name": "long"}], "label": None}
    wait_for("what is left", lambda: shown.get("holder", "h") == left, pause=0.3)
    assert shown.get("holder", "other") == other
    shown.assert_nothing_set_aside()


def test_what_expires_while_the_daemon_is_away(shown: Stage) -> None:
    for number in range(50):
        shown.execute(f"INSERT INTO {{ks}}.t (id, a) VALUES (%s, 'a') USING TTL {TTL}", [f"away {number}"])
        shown.execute(f"INSERT INTO {{ks}}.bare (id) VALUES (%s) USING TTL {TTL}", [f"away {number}"])
    written = time.time()
    shown.settle()
    assert sum(identity.startswith("away") for identity in shown.documents("t")) == 50
    shown.daemon.kill()
    time.sleep(max(0.0, written + TTL + 1 - time.time()))
    assert sum(identity.startswith("away") for identity in shown.documents("t")) == 50
    shown.daemon.run()
    equal_after(shown, 0)
    assert not any(identity.startswith("away") for identity in shown.documents("bare"))
