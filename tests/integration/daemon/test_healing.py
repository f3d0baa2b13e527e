"""Changes that the log does not contain are found by a comparison, and the daemon repairs them without help."""

from __future__ import annotations

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage


def test_a_time_without_cdc_and_a_table_to_be_built_anew(stage: Stage) -> None:
    stage.table("silent", "id int PRIMARY KEY, v text")
    stage.table("rebuilt", "id int PRIMARY KEY, v text", on_truncate="rebuild")
    stage.execute("CREATE TYPE {ks}.place (city text)")
    for name in ("blinking", "absent", "grown"):
        stage.table(name, "id int PRIMARY KEY, v text, home frozen<place>")
    # So that both requests are still open when documents are missing.
    stage.daemon.config["jobs"] = {"heal": False}
    stage.daemon.run()
    for name in ("silent", "rebuilt", "grown"):
        stage.execute(f"INSERT INTO {{ks}}.{name} (id, v) VALUES (1, 'x')")
    stage.settle()
    # What is altered while somebody looks hides nothing; CDC off and on again in one moment hides in the alteration.
    stage.execute("ALTER TABLE {ks}.grown ADD w text")
    stage.daemon.wait_event("mapping.columns_changed", mapping="grown")
    stage.execute("ALTER TABLE {ks}.grown DROP w")
    wait_for("an unseen time without CDC", lambda: blink(stage, "blinking"))
    stage.execute("ALTER TYPE {ks}.place ADD zip int")
    stage.execute("ALTER TABLE {ks}.silent WITH cdc = false")
    stage.daemon.wait_event("removal.cdc_off", table=f"{stage.keyspace}.silent")
    stage.execute("INSERT INTO {ks}.silent (id, v) VALUES (2, 'unseen')")
    stage.execute("TRUNCATE {ks}.rebuilt")
    stage.execute("INSERT INTO {ks}.rebuilt (id, v) VALUES (2, 'after')")
    stage.execute("ALTER TABLE {ks}.silent WITH cdc = true")
    stage.daemon.wait_event("removal.cdc_on_again", table=f"{stage.keyspace}.silent")
    stage.daemon.wait_event("removal.swept", table=f"{stage.keyspace}.rebuilt")
    stage.execute("INSERT INTO {ks}.silent (id, v) VALUES (3, 'y')")
    stage.settle()
    assert stage.documents("silent").keys() >= {"1", "3"}
    wait_for("the requests", lambda: open_requests(stage).keys() == {"cdc_off", "table", "altered"})
    told = {line["table"] for line in stage.daemon.log() if line.get("event") == "removal.altered_unseen"}
    assert told == {f"{stage.keyspace}.blinking"}

    # A daemon elsewhere may have told of either change; nobody tells of these.
    stage.daemon.stop()
    stage.execute("ALTER TABLE {ks}.absent WITH cdc = false")
    for name in ("absent", "blinking"):
        stage.execute(f"INSERT INTO {{ks}}.{name} (id, v) VALUES (2, 'unseen')")
    stage.execute("ALTER TABLE {ks}.absent WITH cdc = true")
    for name in ("silent", "rebuilt", "blinking", "absent"):
        found = stage.elastic.options(ignore_status=404).delete(index=stage.alias(name), id="2")
        assert found["result"] in {"deleted", "not_found"}
        assert stage.get(name, "2") is None
    stage.daemon.config["jobs"] = {"heal": True}
    stage.daemon.run()
    stage.daemon.wait_event("removal.altered_unseen", table=f"{stage.keyspace}.absent")
    begun = stage.daemon.wait_event("reconcile.after_loss")
    assert {"blinking", "rebuilt", "silent"} <= set(begun["types"]) <= {"absent", "blinking", "rebuilt", "silent"}
    assert {request.split()[0] for request in begun["requests"]} == {"cdc_off", "table", "altered"}
    stage.daemon.wait_event("reconcile.loss_healed")
    wait_for("no request open", lambda: open_requests(stage) == {})
    assert not stage.daemon.status()["reconcile_requests"]
    stage.settle()
    assert stage.documents("silent").keys() == {"1", "2", "3"}
    stage.assert_equal("silent", "rebuilt", "blinking", "absent")


def open_requests(stage: Stage) -> dict[str, float]:
    """Return how many comparisons are asked for, by reason."""
    counts = stage.daemon.metrics("reconcile_requests", "reason")
    return {reason: count for reason, count in counts.items() if count}


def blink(stage: Stage, name: str) -> bool:
    """Switch CDC off and on again; return whether the daemon noticed the alteration and not the time in between."""

    def noticed() -> list[str]:
        lines = [line for line in stage.daemon.log() if line.get("table") == f"{stage.keyspace}.{name}"]
        found = [str(line["event"]) for line in lines]
        return [event for event in found if event in {"removal.altered_unseen", "removal.cdc_on_again"}]

    before = len(noticed())
    stage.execute(f"ALTER TABLE {{ks}}.{name} WITH cdc = false")
    stage.execute(f"ALTER TABLE {{ks}}.{name} WITH cdc = true")
    found = wait_for("the alteration", lambda: noticed()[before:], pause=0.2)
    return "removal.altered_unseen" in found
