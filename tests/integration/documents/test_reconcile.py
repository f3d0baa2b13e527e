"""Drift in joined fields of documents is found and repaired like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.integration.daemon.stage import Stage
from tests.integration.documents.users import stage_users
from tests.integration.sources.requests.asking import spoil, version_of, with_token
from tests.integration.tablejobs.conftest import finished, start

USERS = 60


def reconcile(stage: Stage, *, repair: bool = False) -> Mapping[str, Any]:
    job = finished(stage, start(stage, "reconcile", types=["user"], repair=repair))
    assert job["state"] == "done", job
    found: Mapping[str, Any] = job["report"]["types"]["user"]
    return found


def counts(found: Mapping[str, Any]) -> tuple[int, int, int, int]:
    return found["missing"], found["different"], found["surplus"], found["unsettled"]


def plant(stage: Stage, identity: str, **fields: Any) -> None:
    """Write a document with other fields at its own version, as one that missed a change would be."""
    source = dict(stage.elastic.get(index=stage.alias("user"), id=identity)["_source"])
    spoil(stage, "user", identity, {**source, **fields}, version=version_of(stage, "user", identity))


def test_drift_of_joined_rows_is_found_and_mended(stage: Stage) -> None:
    stage_users(stage)
    for number in range(6):
        stage.execute("INSERT INTO {ks}.org (id, orgname) VALUES (%s, %s)", [f"o{number}", f"Org {number}"])
    for number in range(USERS):
        user, org = f"u{number}", f"o{number % 6}"
        stage.execute("INSERT INTO {ks}.user (id, firstname, rootorgid) VALUES (%s, 'x', %s)", [user, org])
        stage.execute("INSERT INTO {ks}.role (userid, role) VALUES (%s, 'PUBLIC')", [user])
        stage.execute("INSERT INTO {ks}.member (userid, organisationid, joined) VALUES (%s, %s, 0)", [user, org])
    stage.daemon.config["http"] = with_token()
    stage.daemon.run()
    stage.settle()
    good = stage.documents("user")
    assert len(good) == USERS
    assert counts(reconcile(stage)) == (0, 0, 0, 0)

    (membership,) = good["u3"]["organisations"]
    plant(stage, "u1", roles={})  # a child row that the document does not show
    plant(stage, "u2", roles={"PUBLIC": {"scope": []}, "ADMIN": {"scope": []}})  # one that is gone
    plant(stage, "u3", organisations=[{**membership, "orgName": "Former"}])  # what a child looks up, stale
    plant(stage, "u4", rootOrgName="Former")  # what the row itself looks up, stale
    stage.elastic.delete(index=stage.alias("user"), id="u5")
    spoil(stage, "user", "gone", {**good["u6"], "id": "gone"}, version=5)  # of a base row that is gone
    # Nobody follows this table (`dependents: {ignore: true}`): ten users and memberships show its row.
    stage.execute("UPDATE {ks}.org SET orgname = 'Renamed' WHERE id = 'o0'")
    stage.settle()

    renamed = {f"u{number}" for number in range(0, USERS, 6)}
    found = reconcile(stage)
    assert counts(found) == (1, 4 + len(renamed), 1, 0)
    fields = {each["id"]: set(each["fields"]) for each in found["examples"]["different"]}
    assert fields == {
        **{user: {"rootOrgName", "organisations"} for user in renamed},
        "u1": {"roles"},
        "u2": {"roles"},
        "u3": {"organisations"},
        "u4": {"rootOrgName"},
    }
    assert found["examples"]["missing"][0]["id"] == "u5"
    assert found["examples"]["surplus"][0]["id"] == "gone"

    mended = reconcile(stage, repair=True)
    assert counts(mended) == counts(found)
    assert set(mended["left"].values()) == {0}
    (of_renamed,) = good["u0"]["organisations"]
    assert stage.get("user", "u0") == {
        **good["u0"],
        "rootOrgName": "Renamed",
        "organisations": [{**of_renamed, "orgName": "Renamed"}],
    }
    documents = stage.documents("user")
    assert {user: each for user, each in documents.items() if user not in renamed} == {
        user: each for user, each in good.items() if user not in renamed
    }
    assert counts(reconcile(stage)) == (0, 0, 0, 0)


def test_a_column_that_is_new_is_no_drift(stage: Stage) -> None:
    stage_users(stage)
    for number in range(20):
        stage.execute("INSERT INTO {ks}.user (id, firstname) VALUES (%s, 'x')", [f"u{number}"])
    stage.daemon.config["http"] = with_token()
    stage.daemon.run()
    stage.settle()
    stage.execute("ALTER TABLE {ks}.user ADD nickname text")
    stage.execute("ALTER TABLE {ks}.role ADD since text")
    stage.settle()
    stage.execute("UPDATE {ks}.user SET nickname = 'Al' WHERE id = 'u1'")
    stage.execute("INSERT INTO {ks}.role (userid, role, since) VALUES ('u2', 'PUBLIC', 'ever')")
    stage.settle()
    document = stage.get("user", "u1")
    assert document is not None
    assert document["nickname"] == "Al"
    assert counts(reconcile(stage)) == (0, 0, 0, 0)
    plant(stage, "u1", nickname=None)
    found = reconcile(stage, repair=True)
    assert counts(found) == (0, 1, 0, 0)
    assert found["examples"]["different"][0]["fields"] == ["nickname"]
    assert stage.get("user", "u1") == document
