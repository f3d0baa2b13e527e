"""A comparison finds exactly what is wrong, and a repair mends exactly that."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cdc_daemon.model.version_clock import wall_clock
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import send, spoil, version_of
from tests.integration.tablejobs.conftest import fill, finished, job, start


@pytest.fixture(autouse=True)
def _equal(stage: Stage) -> Iterator[None]:
    """Leave both tables equal to their documents."""
    yield
    finished(stage, start(stage, "reconcile", types=["person", "old_event"], repair=True))
    stage.settle()


def reconcile(stage: Stage, object_type: str, **wanted: Any) -> Mapping[str, Any]:
    report = finished(stage, start(stage, "reconcile", types=[object_type], **wanted))
    assert report["state"] == "done", report
    found: Mapping[str, Any] = report["report"]["types"][object_type]
    return found


def counts(found: Mapping[str, Any]) -> tuple[int, int, int, int]:
    return found["missing"], found["different"], found["surplus"], found["unsettled"]


def remove(stage: Stage, table: str, identity: str) -> None:
    """Remove a document as somebody else."""
    stage.elastic.delete(
        index=stage.alias(table), id=identity, version=version_of(stage, table, identity), version_type="external_gte"
    )


@pytest.mark.other_engines
def test_planted_drift_is_found_and_mended(stage: Stage) -> None:
    fill(stage, "person", [(f"drift-{number:04}", "Ada", number) for number in range(3000)])
    stage.settle()
    assert counts(reconcile(stage, "person")) == (0, 0, 0, 0)
    for number in range(3):
        remove(stage, "person", f"drift-{number:04}")
    for number in range(10, 15):
        name = f"drift-{number:04}"
        version = version_of(stage, "person", name)
        spoil(stage, "person", name, {"id": name, "name": "Eve", "n": number}, version=version)
    ahead = wall_clock() + 3600 * 1_000_000
    spoil(stage, "person", "drift-0020", {"id": "drift-0020", "n": 20}, version=ahead)
    for number in range(2):
        spoil(stage, "person", f"ghost-{number}", {"id": f"ghost-{number}"}, version=5)
    found = reconcile(stage, "person")
    assert counts(found) == (3, 6, 2, 0)
    assert {each["id"] for each in found["examples"]["missing"]} == {f"drift-{number:04}" for number in range(3)}
    assert {each["id"] for each in found["examples"]["surplus"]} == {"ghost-0", "ghost-1"}
    assert all("name" in each["fields"] for each in found["examples"]["different"])
    assert found["repaired"] == 0
    mended = reconcile(stage, "person", repair=True)
    assert counts(mended) == counts(found)
    assert set(mended["left"].values()) == {0}
    stage.assert_equal("person")
    assert counts(reconcile(stage, "person")) == (0, 0, 0, 0)


def test_rows_with_clustering_columns(stage: Stage) -> None:
    for p in range(4):
        for c in range(5):
            stage.execute(f"INSERT INTO {{ks}}.old_event (p, c, d, v) VALUES ({p}, {c}, 'd:{c}', {c})")
    finished(stage, start(stage, "backfill", types=["old_event"]))
    stage.settle()
    name = "1:1970-01-01T00\\:00\\:00.003Z:d\\:3"
    good = stage.get("old_event", name)
    assert good is not None
    whole = dict(stage.elastic.get(index=stage.alias("old_event"), id=name)["_source"])
    spoil(stage, "old_event", name, {**whole, "s": 9}, version=version_of(stage, "old_event", name))
    remove(stage, "old_event", name.replace("1:", "3:", 1))
    ghost = name.replace("1:", "7:", 1)
    partition = (7).to_bytes(4, "big").hex()
    spoil(stage, "old_event", ghost, {**whole, "p": 7, "cdc_partition_key": partition}, version=5)
    found = reconcile(stage, "old_event", repair=True)
    assert counts(found) == (1, 1, 1, 0)
    assert found["examples"]["different"][0]["fields"] == ["s"]
    assert found["examples"]["surplus"][0]["id"] == ghost
    assert set(found["left"].values()) == {0}
    stage.assert_equal("old_event")


def test_documents_that_no_row_can_have(stage: Stage) -> None:
    spoil(stage, "old_event", "nobody", {"v": 1}, version=5)
    found = reconcile(stage, "old_event", repair=True)
    assert [each["id"] for each in found["examples"]["surplus"]] == ["nobody"]
    assert found["left"]["surplus"] == 0
    assert stage.get("old_event", "nobody") is None


def test_changes_under_way_are_no_drift(stage: Stage) -> None:
    ids = [f"busy-{number:02}" for number in range(40)]
    fill(stage, "person", [(identity, "old", 0) for identity in ids])
    stage.settle()
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            identity = ids[number % len(ids)]
            if number % 5 == 0:
                stage.execute("DELETE FROM {ks}.person WHERE id = %s", [identity])
            else:
                stage.execute("UPDATE {ks}.person SET n = %s WHERE id = %s", [number, identity])

    writer = threading.Thread(target=change)
    writer.start()
    try:
        assert counts(reconcile(stage, "person"))[:3] == (0, 0, 0)
    finally:
        stop.set()
        writer.join()


def test_a_part_of_the_tokens(stage: Stage) -> None:
    fill(stage, "person", [(f"part-{number:03}", "Ada", 1) for number in range(40)])
    stage.settle()
    for number in range(40):
        remove(stage, "person", f"part-{number:03}")
    halves = [f"{-(2**63)}:0", f"0:{2**63 - 1}"]
    found = [reconcile(stage, "person", ranges=[half])["missing"] for half in halves]
    assert sum(found) == 40
    assert min(found) > 3
    sampled = reconcile(stage, "person", sample=0.5)
    assert 0 <= sampled["missing"] < 40
    assert reconcile(stage, "person", sample=5e-324)["missing"] < 40, "the smallest number there is"


def test_while_the_tail_is_held_nothing_is_judged(stage: Stage) -> None:
    fill(stage, "person", [("held", "Ada", 1)])
    stage.settle()
    send(stage, "POST", "/admin/pause")
    try:
        stage.execute("UPDATE {ks}.person SET n = 2 WHERE id = 'held'")
        identity = start(stage, "reconcile", types=["person"])
        wait_for("all but one range", lambda: job(stage, identity)["ranges"]["done"] > 10)
        assert job(stage, identity)["state"] == "running"
    finally:
        send(stage, "POST", "/admin/resume")
    assert counts(finished(stage, identity)["report"]["types"]["person"]) == (0, 0, 0, 0)


def test_the_command_tells_by_its_exit_code(stage: Stage, token: Path) -> None:
    fill(stage, "person", [("told", "Ada", 1)])
    stage.settle()
    port = stage.daemon.wait_event("http.listening")["port"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = Path(sys.executable).with_name("cdc-daemon")
        asked = [str(command), "reconcile", "--url", f"http://127.0.0.1:{port}", "--token-file", str(token), *arguments]
        return subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)

    equal = run("person")
    assert (equal.returncode, "person: EQUAL" in equal.stdout) == (0, True), equal
    remove(stage, "person", "told")
    drift = run("person", "--json")
    assert drift.returncode == 1
    assert json.loads(drift.stdout)["report"]["types"]["person"]["examples"]["missing"][0]["id"] == "told"
    mended = run("person", "--repair")
    assert mended.returncode == 0
    assert "1 rows without a document, 1 repaired" in mended.stdout
    assert run("nobody").returncode == 2
    assert run("person", "--sample", "200%").returncode == 2
    assert stage.daemon.metric("drift_documents", type="person", kind="missing") == 0


def test_lost_changes_are_healed_unasked(stage: Stage) -> None:
    fill(stage, "person", [(f"lost-{number}", "Ada", 1) for number in range(5)])
    stage.settle()
    remove(stage, "person", "lost-1")
    spoil(stage, "person", "lost-ghost", {"id": "lost-ghost"}, version=5)
    stage.daemon.stop()
    store = Store(stage.daemon.state)
    store.reconcile_requests.add([ReconcileRequest(reason=ReconcileReason.GAP, segment_id=1, to_segment_id=2)])
    store.close()
    stage.daemon.run()
    wait_for("the request settled", lambda: not stage.daemon.status()["reconcile_requests"])
    assert stage.daemon.wait_event("reconcile.after_loss")["types"]
    stage.assert_equal("person")
