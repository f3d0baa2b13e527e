"""Every row has its document after a backfill, whatever happens meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import send, version_of
from tests.integration.tablejobs.conftest import fill, finished, job, start

ROWS = 5000


def test_it_survives_kill_9_and_loses_no_row(stage: Stage) -> None:
    fill(stage, "old_person", [(f"p-{number:05}", "Ada", number) for number in range(ROWS)])
    identity = start(stage, "backfill", types=["old_person"], rate=1500)
    for _ in range(2):
        # So far and no further, twice: each start goes on where the last one ended.
        seen = job(stage, identity)["rows"]
        wait_for("progress", lambda: job(stage, identity)["rows"] > seen + 300)  # noqa: B023
        stage.daemon.kill()
        stage.daemon.run()
        assert job(stage, identity)["rows"] > seen
    report = finished(stage, identity)
    assert (report["state"], report["fraction"], report["rows"]) == ("done", 1.0, ROWS)
    assert report["ranges"]["done"] == report["ranges"]["total"]
    stage.assert_equal("old_person")
    stage.assert_nothing_set_aside()


def test_rows_of_every_shape(stage: Stage) -> None:
    for p in range(5):
        for moment in (0, -1, 1_700_000_000_123):
            stage.execute(f"INSERT INTO {{ks}}.old_event (p, c, d, v) VALUES ({p}, {moment}, '', {p})")
    stage.execute("UPDATE {ks}.old_event SET s = 3 WHERE p = 2")
    stage.execute("INSERT INTO {ks}.old_event (p, s) VALUES (77, 1)")
    report = finished(stage, start(stage, "backfill", types=["old_event"]))
    assert (report["state"], report["rows"]) == ("done", 15)
    stage.assert_equal("old_event")


def test_a_count_writes_nothing(stage: Stage) -> None:
    fill(stage, "person", [(f"dry-{number}", "Ada", 1) for number in range(20)])
    stage.settle()
    version = version_of(stage, "person", "dry-1")
    rows = len(stage.rows("person"))
    report = finished(stage, start(stage, "backfill", types=["person"], count=True))
    assert (report["state"], report["rows_by_type"]) == ("done", {"person": rows})
    assert version_of(stage, "person", "dry-1") == version


def test_live_changes_are_neither_lost_nor_held_up(stage: Stage) -> None:
    """Rows change and go while the backfill passes them, and a new row is shown within seconds all the while."""
    ids = [f"live-{number:04}" for number in range(2000)]
    fill(stage, "person", [(identity, "old", 0) for identity in ids])
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            identity = ids[number * 7919 % len(ids)]
            if number % 5 == 0:
                stage.execute("DELETE FROM {ks}.person WHERE id = %s", [identity])
            else:
                stage.execute("UPDATE {ks}.person SET n = %s WHERE id = %s", [number, identity])

    writer = threading.Thread(target=change)
    writer.start()
    try:
        identities = [start(stage, "backfill", types=["person"]) for _ in range(3)]
        stage.wait_shown()
        report = [finished(stage, identity) for identity in identities]
    finally:
        stop.set()
        writer.join()
    assert [each["state"] for each in report] == ["done"] * 3
    assert min(each["rows"] for each in report) > 1000
    stage.settle()
    stage.assert_equal("person")


def test_only_some_tokens(stage: Stage) -> None:
    fill(stage, "person", [(f"half-{number}", "Ada", 1) for number in range(200)])
    everything = finished(stage, start(stage, "backfill", types=["person"], count=True))["rows"]
    low, high = f"{-(2**63)}:0", f"0:{2**63 - 1}"
    halves = [
        finished(stage, start(stage, "backfill", types=["person"], count=True, ranges=[half]))["rows"]
        for half in (low, high)
    ]
    assert sum(halves) == everything
    assert min(halves) > 0


def test_it_is_ended_on_demand(stage: Stage) -> None:
    fill(stage, "person", [(f"cancel-{number}", "Ada", 1) for number in range(100)])
    identity = start(stage, "backfill", types=["person"], rate=1)
    wait_for("the job under way", lambda: [each for each in stage.daemon.status()["jobs"] if each["job"] == identity])
    assert send(stage, "POST", f"/admin/jobs/{identity}/cancel").content["state"] == "cancelled"
    wait_for("nothing under way", lambda: not stage.daemon.status()["jobs"])
    time.sleep(0.1)
    assert job(stage, identity)["state"] == "cancelled"
    after = finished(stage, start(stage, "backfill", types=["person"], count=True))
    assert after["state"] == "done"


def test_a_dry_run_estimates_and_changes_nothing(stage: Stage) -> None:
    """Before a flush Cassandra has no estimate, and the sample stands alone; afterwards both have the right size."""
    rows = 12_000
    digits = "0123456789" * 30
    fill(stage, "estimated", [(f"e-{number:05}", digits, number) for number in range(rows)])
    stage.settle()
    before = written(stage)

    def estimate(**wanted: object) -> dict[str, Any]:
        answer = send(stage, "POST", "/admin/backfill", {"types": ["estimated"], "dry_run": True, **wanted})
        assert answer.status == 200, answer
        content: dict[str, Any] = answer.content
        return content

    jobs = send(stage, "GET", "/admin/jobs").content["jobs"]
    fresh = estimate()["types"]["estimated"]
    assert fresh["cassandra"] is None
    assert "has no estimate" in fresh["notes"][0]
    assert rows / 1.5 < fresh["rows"] < rows * 1.5
    stage.box.cassandra.nodetool("flush", stage.keyspace, "estimated")
    stage.box.cassandra.nodetool("refreshsizeestimates")
    found = estimate(rate=1000)["types"]["estimated"]
    assert rows / 1.5 < found["rows"] < rows * 1.5
    assert rows / 3 < found["cassandra"]["partitions"] < rows * 3
    assert 300 * rows / 3 < found["bytes"] < 300 * rows * 3
    assert 300 * rows / 3 < found["cassandra"]["bytes"] < 300 * rows * 3
    assert found["rate"]["rows_per_second"] <= 1000
    half = estimate(ranges=[f"0:{2**63 - 1}"])["types"]["estimated"]
    assert rows / 4 < half["rows"] < rows / 1.3
    everything = estimate(types=[])
    assert set(everything["types"]) == set(stage.mappings)
    assert written(stage) == before
    assert send(stage, "GET", "/admin/jobs").content["jobs"] == jobs


def written(stage: Stage) -> int:
    """Return how many documents were written to the indices of the stage, since they exist."""
    stats = stage.elastic.indices.stats(index=f"{stage.keyspace}-*", metric="indexing")
    total: int = stats["_all"]["total"]["indexing"]["index_total"]
    return total
