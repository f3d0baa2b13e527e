"""Whatever is written to base, child and looked-up tables, in whatever order: documents end as the rows make them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sandbox import Sandbox
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Documents, Stage, new_stage

IDS = st.sampled_from(["a", "b", "c"])
HOMES = st.sampled_from(["g", "h"])
WORDS = st.sampled_from(["x", "y", None])
PLACES = st.integers(1, 3)
LIVES = st.sampled_from([None, None, None, 1, 2])
"""Seconds to live."""


@pytest.fixture(scope="module")
def shown(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A running daemon, and the tables that all runs share; each run has keys of its own."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("equal")) as stage:
        stage.create("role", "userid text, role text, scope text, PRIMARY KEY (userid, role)")
        stage.create("home", "id text PRIMARY KEY, name text")
        stage.table(
            "user",
            "id text PRIMARY KEY, name text, tags set<text>, hidden boolean, home text",
            where="hidden != true",
            joins={
                "roles": {
                    "table": f"{stage.keyspace}.role",
                    "on": {"userid": "id"},
                    "order": ["role"],
                    "exclude": ["userid"],
                }
            },
            lookups={
                "home": {
                    "table": f"{stage.keyspace}.home",
                    "on": {"id": "home"},
                    "fields": {"name": "homeName"},
                    "dependents": {"field": "home"},
                }
            },
        )
        stage.table("grid", "p text, c int, d int, s text static, v text, PRIMARY KEY (p, c, d)")
        stage.daemon.run()
        yield stage


def wanted_users(stage: Stage) -> Documents:
    """What the documents of users should be, by Cassandra's own reading of the tables."""
    roles: dict[str, list[dict[str, Any]]] = {}
    for row in stage.execute("SELECT userid, role, scope FROM {ks}.role"):
        roles.setdefault(row.userid, []).append({"role": row.role, "scope": row.scope})
    homes = {row.id: row.name for row in stage.execute("SELECT id, name FROM {ks}.home")}
    return {
        identity: {
            **row,
            "roles": sorted(roles.get(identity, []), key=lambda role: str(role["role"])),
            "homeName": homes.get(row["home"]),
        }
        for identity, row in stage.rows("user").items()
        if row["hidden"] is not True
    }


class Changes(RuleBasedStateMachine):
    """Random changes; what they make is compared at the end, and in between when the rule for it comes up."""

    stage: Stage
    runs = itertools.count()

    @initialize()
    def begin(self) -> None:
        self.run = str(next(self.runs))

    def _using(self, life: int | None) -> str:
        return "" if life is None else f" USING TTL {life}"

    def _do(self, statement: str, *values: Any) -> None:
        self.stage.execute(statement, values)

    @rule(key=IDS, name=WORDS, hidden=st.sampled_from([True, False, None]), life=LIVES)
    def write_user(self, key: str, name: str | None, hidden: bool | None, life: int | None) -> None:
        insert = "INSERT INTO {ks}.user (id, name, hidden) VALUES (%s, %s, %s)" + self._using(life)
        self._do(insert, self.run + key, name, hidden)

    @rule(key=IDS, name=WORDS, life=LIVES)
    def update_user(self, key: str, name: str | None, life: int | None) -> None:
        """An update makes no liveness: with its last cell the row goes."""
        self._do("UPDATE {ks}.user" + self._using(life) + " SET name = %s WHERE id = %s", name, self.run + key)

    @rule(key=IDS, home=st.none() | HOMES, life=LIVES)
    def move_user(self, key: str, home: str | None, life: int | None) -> None:
        update = "UPDATE {ks}.user" + self._using(life) + " SET home = %s WHERE id = %s"
        self._do(update, home and self.run + home, self.run + key)

    @rule(key=HOMES, name=WORDS, life=LIVES)
    def write_home(self, key: str, name: str | None, life: int | None) -> None:
        insert = "INSERT INTO {ks}.home (id, name) VALUES (%s, %s)" + self._using(life)
        self._do(insert, self.run + key, name)

    @rule(key=HOMES)
    def remove_home(self, key: str) -> None:
        self._do("DELETE FROM {ks}.home WHERE id = %s", self.run + key)

    @rule(key=IDS, tag=st.sampled_from(["t", "u"]), life=LIVES, adds=st.booleans())
    def change_tags(self, key: str, tag: str, life: int | None, adds: bool) -> None:
        sign = "+" if adds else "-"
        update = "UPDATE {ks}.user" + self._using(life) + f" SET tags = tags {sign} %s WHERE id = %s"
        self._do(update, {tag}, self.run + key)

    @rule(key=IDS, columns=st.sampled_from(["", "name", "tags", "hidden", "name, hidden, tags"]))
    def remove_user(self, key: str, columns: str) -> None:
        self._do(f"DELETE {columns} FROM {{ks}}.user WHERE id = %s", self.run + key)

    @rule(key=IDS, role=st.sampled_from(["r", "s"]), scope=WORDS, life=LIVES)
    def write_role(self, key: str, role: str, scope: str | None, life: int | None) -> None:
        insert = "INSERT INTO {ks}.role (userid, role, scope) VALUES (%s, %s, %s)" + self._using(life)
        self._do(insert, self.run + key, role, scope)

    @rule(key=IDS, scope=st.sampled_from(["", " AND role = 'r'", " AND role > 'r'", " AND role >= 'q' AND role < 's'"]))
    def remove_roles(self, key: str, scope: str) -> None:
        self._do("DELETE FROM {ks}.role WHERE userid = %s" + scope, self.run + key)

    @rule(p=IDS, c=PLACES, d=PLACES, v=WORDS, life=LIVES)
    def write_grid(self, p: str, c: int, d: int, v: str | None, life: int | None) -> None:
        insert = "INSERT INTO {ks}.grid (p, c, d, v) VALUES (%s, %s, %s, %s)" + self._using(life)
        self._do(insert, self.run + p, c, d, v)

    @rule(p=IDS, s=WORDS, life=LIVES)
    def write_static(self, p: str, s: str | None, life: int | None) -> None:
        self._do("UPDATE {ks}.grid" + self._using(life) + " SET s = %s WHERE p = %s", s, self.run + p)

    @rule(p=IDS, c=PLACES, d=PLACES, scope=st.integers(0, 4))
    def remove_of_grid(self, p: str, c: int, d: int, scope: int) -> None:
        where = ["", " AND c = %s", " AND c >= %s", " AND c = %s AND d > %s", " AND c = %s AND d = %s"][scope]
        values = (self.run + p, c, d)[: 1 + where.count("%s")]
        self._do("DELETE FROM {ks}.grid WHERE p = %s" + where, *values)

    @rule()
    def compare(self) -> None:
        self.stage.settle()
        wait_for("documents equal to rows", self._equal, pause=0.2)

    def teardown(self) -> None:
        self.compare()

    def _equal(self) -> bool:
        stage = self.stage
        return stage.documents("user") == wanted_users(stage) and stage.documents("grid") == stage.rows("grid")


@pytest.mark.other_engines
def test_documents_end_equal_to_what_the_rows_make(shown: Stage) -> None:
    Changes.stage = shown
    run_state_machine_as_test(
        Changes,
        settings=settings(
            max_examples=6,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    shown.assert_nothing_set_aside()
    assert shown.daemon.metric("documents_total", outcome="indexed") > 0
