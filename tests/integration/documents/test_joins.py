"""Documents that show rows of several tables, kept equal to all of them."""

from __future__ import annotations

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.documents.users import stage_users


def test_a_document_shows_children_and_looked_up_fields_and_follows_each_change_of_a_child(stage: Stage) -> None:
    stage_users(stage)
    stage.execute("INSERT INTO {ks}.org (id, orgname) VALUES ('o1', 'One')")
    stage.execute("INSERT INTO {ks}.org (id, orgname) VALUES ('o2', 'Two')")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.user (id, firstname, rootorgid) VALUES ('u1', 'Asha', 'o1')")
    stage.settle()
    empty = {"id": "u1", "firstname": "Asha", "rootorgid": "o1", "rootOrgName": "One", "organisations": [], "roles": {}}
    assert stage.get("user", "u1") == empty

    def member(org: str, joined: str, *, gone: bool = False) -> None:
        stage.execute(
            "INSERT INTO {ks}.member (userid, organisationid, joined, isdeleted) VALUES ('u1', %s, %s, %s)",
            [org, joined, gone],
        )

    member("o1", "2026-01-01 00:00Z")
    member("o2", "2026-01-02 00:00Z")
    member("o3", "2026-01-03 00:00Z", gone=True)
    stage.execute("INSERT INTO {ks}.role (userid, role, scope) VALUES ('u1', 'ADMIN', '[{\"orgId\": \"o1\"}]')")
    stage.execute("INSERT INTO {ks}.role (userid, role) VALUES ('u1', 'PUBLIC')")
    stage.settle()
    one = {"organisationid": "o1", "joined": "2026-01-01T00:00:00.000Z", "orgName": "One"}
    two = {"organisationid": "o2", "joined": "2026-01-02T00:00:00.000Z", "orgName": "Two"}
    three = {"organisationid": "o3", "joined": "2026-01-03T00:00:00.000Z", "orgName": None}
    roles = {"ADMIN": {"scope": [{"orgId": "o1"}]}, "PUBLIC": {"scope": []}}
    assert stage.get("user", "u1") == {**empty, "organisations": [two, one], "roles": roles}

    stage.execute("UPDATE {ks}.member SET isdeleted = false WHERE userid = 'u1' AND organisationid = 'o3'")
    stage.execute("DELETE FROM {ks}.member WHERE userid = 'u1' AND organisationid = 'o1'")
    stage.execute("DELETE FROM {ks}.role WHERE userid = 'u1'")
    stage.settle()
    assert stage.get("user", "u1") == {**empty, "organisations": [three, two]}

    stage.execute("DELETE FROM {ks}.member WHERE userid = 'u1' AND organisationid > 'o2'")
    stage.settle()
    assert stage.get("user", "u1") == {**empty, "organisations": [two]}

    stage.execute("DELETE FROM {ks}.user WHERE id = 'u1'")
    stage.execute("UPDATE {ks}.member SET isdeleted = true WHERE userid = 'u1' AND organisationid = 'o2'")
    stage.settle()
    assert stage.get("user", "u1") is None
    # Mutations of tables that other tests have dropped may be set aside.
    letters = stage.daemon.metric("dead_letters_total") - stage.daemon.metric("dead_letters_total", reason="mutation")
    assert letters == 0


def test_children_of_many_parents_are_read_together(stage: Stage) -> None:
    stage_users(stage)
    stage.create("elsewhere", "id int PRIMARY KEY")
    for number in range(300):
        stage.execute(
            "INSERT INTO {ks}.user (id, firstname, rootorgid) VALUES (%s, 'x', %s)", [f"u{number}", f"o{number % 7}"]
        )
        stage.execute("INSERT INTO {ks}.role (userid, role) VALUES (%s, 'PUBLIC')", [f"u{number}"])
    for number in range(7):
        stage.execute("INSERT INTO {ks}.org (id, orgname) VALUES (%s, %s)", [f"o{number}", f"Org {number}"])
    stage.daemon.run()
    stage.settle()
    documents = stage.documents("user")
    assert len(documents) == 300
    for identity, document in documents.items():
        assert document["rootOrgName"] == f"Org {int(identity[1:]) % 7}"
        assert document["roles"] == {"PUBLIC": {"scope": []}}


def test_a_reference_to_nothing_and_too_many_children_concern_their_document_alone(stage: Stage) -> None:
    stage_users(stage)
    stage.mappings["user"]["joins"]["roles"]["limit"] = 3
    stage.daemon.run()
    for user, org in (("blank", ""), ("long", "x" * 70_000), ("absent", "nowhere"), ("many", None), ("null", None)):
        stage.execute("INSERT INTO {ks}.user (id, firstname, rootorgid) VALUES (%s, 'x', %s)", [user, org])
    for number in range(4):
        stage.execute("INSERT INTO {ks}.role (userid, role) VALUES ('many', %s)", [str(number)])
    stage.settle()
    wait_for("the dead letter", lambda: stage.daemon.metric("dead_letters_total", reason="JoinLimitError") >= 1)
    for user in ("blank", "absent", "null"):
        document = stage.get("user", user)
        assert document is not None
        assert document["rootOrgName"] is None


def test_rows_of_a_partition_show_the_row_that_their_partition_key_points_to(stage: Stage) -> None:
    stage.create("person", "id text PRIMARY KEY, name text")
    lookup = {"table": f"{stage.keyspace}.person", "on": {"id": "userid"}, "fields": {"name": "userName"}}
    stage.table(
        "enrolment",
        "userid text, courseid text, progress int, PRIMARY KEY (userid, courseid)",
        lookups={"person": lookup},
    )
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.person (id, name) VALUES ('u1', 'Asha')")
    for course in ("c1", "c2"):
        stage.execute("INSERT INTO {ks}.enrolment (userid, courseid, progress) VALUES ('u1', %s, 1)", [course])
    stage.settle()
    stage.execute("UPDATE {ks}.person SET name = 'Asha Rao' WHERE id = 'u1'")
    stage.settle()
    names = {identity: document["userName"] for identity, document in stage.documents("enrolment").items()}
    assert names == {"u1:c1": "Asha Rao", "u1:c2": "Asha Rao"}
    stage.execute("DELETE FROM {ks}.person WHERE id = 'u1'")
    stage.settle()
    assert [document["userName"] for document in stage.documents("enrolment").values()] == [None, None]
