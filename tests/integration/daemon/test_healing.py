"""What the log cannot have told of is asked for to be compared, and healed by nothing but the daemon."""

from __future__ import annotations

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage


def test_a_time_without_cdc_and_a_table_to_be_built_anew(stage: Stage) -> None:
    stage.table("silent", "id int PRIMARY KEY, v text")
    stage.table("rebuilt", "id int PRIMARY KEY, v text", on_truncate="rebuild")
    # So that both requests are still open when documents are missing.
    stage.daemon.config["jobs"] = {"heal": False}
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.silent (id, v) VALUES (1, 'x')")
    stage.execute("INSERT INTO {ks}.rebuilt (id, v) VALUES (1, 'x')")
    stage.settle()
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
    wait_for("the requests", lambda: open_requests(stage) == {"cdc_off": 1, "table": 1})

    # A daemon elsewhere may have told of either change; nobody tells of these.
    stage.daemon.stop()
    for name in ("silent", "rebuilt"):
        found = stage.elastic.options(ignore_status=404).delete(index=stage.alias(name), id="2")
        assert found["result"] in {"deleted", "not_found"}
        assert stage.get(name, "2") is None
    stage.daemon.config["jobs"] = {"heal": True}
    stage.daemon.run()
    begun = stage.daemon.wait_event("reconcile.after_loss")
    assert begun["types"] == ["rebuilt", "silent"]
    assert {request.split()[0] for request in begun["requests"]} == {"cdc_off", "table"}
    stage.daemon.wait_event("reconcile.loss_healed")
    wait_for("no request open", lambda: open_requests(stage) == {})
    assert not stage.daemon.status()["reconcile_requests"]
    stage.settle()
    assert stage.documents("silent").keys() == {"1", "2", "3"}
    stage.assert_equal("silent", "rebuilt")


def open_requests(stage: Stage) -> dict[str, float]:
    """Return how many comparisons are asked for, by reason."""
    counts = stage.daemon.metrics("reconcile_requests", "reason")
    return {reason: count for reason, count in counts.items() if count}
