"""Documents that show a row they only point to: they follow when it changes, however many they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

USERS = 300

ONE, TWO = "Org-1", "o2 " * 100
"""Keys that a text field does not hold as one word, one of them longer than its keyword takes."""


def stage_users(stage: Stage, dependents: dict[str, Any]) -> None:
    stage.create("org", "id text PRIMARY KEY, orgname text")
    stage.create("by_org", "org text, userid text, PRIMARY KEY (org, userid)")
    lookup = {
        "table": f"{stage.keyspace}.org",
        "on": {"id": "rootorgid"},
        "fields": {"orgname": "rootOrgName"},
        "dependents": dependents,
    }
    stage.table("user", "id text PRIMARY KEY, rootorgid text", lookups={"root": lookup})
    for number in range(USERS):
        org = ONE if number % 3 else TWO
        stage.execute("INSERT INTO {ks}.user (id, rootorgid) VALUES (%s, %s)", [f"u{number}", org])
        stage.execute("INSERT INTO {ks}.by_org (org, userid) VALUES (%s, %s)", [org, f"u{number}"])
    for org, name in ((ONE, "One"), (TWO, "Two")):
        stage.execute("INSERT INTO {ks}.org (id, orgname) VALUES (%s, %s)", [org, name])


def names(stage: Stage) -> dict[str, set[Any]]:
    """Return, by organisation, the names that users' documents show for it."""
    shown: dict[str, set[Any]] = {}
    documents = stage.documents("user")
    assert len(documents) == USERS
    for document in documents.values():
        shown.setdefault(document["rootorgid"], set()).add(document["rootOrgName"])
    return shown


def wait_for_names(stage: Stage, expected: dict[str, set[Any]]) -> None:
    wait_for("the names", lambda: names(stage) == expected, pause=0.2)
    wait_for("nothing waiting", lambda: stage.daemon.status()["dependents_waiting"] == 0)
    assert names(stage) == expected


@pytest.mark.other_engines
@pytest.mark.parametrize("by", ["field", "table"])
def test_users_follow_their_organisation(stage: Stage, by: str) -> None:
    by_table = {"table": f"{stage.keyspace}.by_org", "on": {"org": "id"}, "key": {"id": "userid"}}
    stage_users(stage, {"field": "rootorgid"} if by == "field" else by_table)
    stage.daemon.run()
    stage.settle()
    wait_for_names(stage, {ONE: {"One"}, TWO: {"Two"}})

    stage.execute("UPDATE {ks}.org SET orgname = 'First' WHERE id = %s", [ONE])
    wait_for_names(stage, {ONE: {"First"}, TWO: {"Two"}})
    stage.execute("DELETE FROM {ks}.org WHERE id = %s", [TWO])
    wait_for_names(stage, {ONE: {"First"}, TWO: {None}})
    assert stage.daemon.metric("dependents_refreshed_total", table="org") >= USERS


def test_killed_in_the_middle_it_goes_on_where_it_was_and_follows_the_last_change(stage: Stage) -> None:
    stage_users(stage, {"field": "rootorgid"})
    stage.daemon.run()
    stage.settle()
    wait_for_names(stage, {ONE: {"One"}, TWO: {"Two"}})
    stage.daemon.kill()

    stage.daemon.config["pipeline"] = {"dependents_rate": 100}
    stage.execute("UPDATE {ks}.org SET orgname = 'First' WHERE id = %s", [ONE])
    stage.daemon.run()
    wait_for("the change in the queue", lambda: stage.daemon.status()["dependents_waiting"] > 0, pause=0.01)
    stage.daemon.kill()
    stage.execute("UPDATE {ks}.org SET orgname = 'Foremost' WHERE id = %s", [ONE])
    stage.daemon.config["pipeline"] = {"dependents_rate": 10_000}
    stage.daemon.run()
    wait_for_names(stage, {ONE: {"Foremost"}, TWO: {"Two"}})
