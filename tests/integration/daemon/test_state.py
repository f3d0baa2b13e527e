"""State directories that are damaged, older than the log, newer than the program, or on a failing disk."""

from __future__ import annotations

import resource
import shutil
import sqlite3

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

FILE = "cdc-daemon.sqlite3"
MEBIBYTE = b"x" * 2**20


def complete_segment(stage: Stage) -> None:
    """Write more than a segment of the log holds, to a table that no mapping names."""
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.bulky (id, v) VALUES (?, ?)")
    for number in range(5):
        stage.cql.execute(insert, [number, MEBIBYTE])


def assert_refused(stage: Stage, *words: str) -> None:
    """Start the daemon and expect it to end with an error in words."""
    stage.daemon.start()
    assert stage.daemon.wait_exit(120) == 1
    said = " ".join(stage.daemon.log_text().split())
    for word in words:
        assert word in said
    assert "Traceback" not in said


def test_overwritten_pages_end_the_start_and_a_new_state_loses_nothing(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    for number in range(20):
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
    stage.settle()
    stage.daemon.stop()
    file = stage.daemon.state / FILE
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xa5" * (file.stat().st_size - 4096))
    stage.execute("DELETE FROM {ks}.t WHERE id = 3")
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (100, 1)")
    assert_refused(stage, FILE, "SQLite says", "move the file away", "reconcile")

    for path in stage.daemon.state.glob(f"{FILE}*"):
        path.rename(path.with_name(f"damaged-{path.name}"))
    stage.daemon.run()
    stage.settle()
    stage.assert_equal("t")
    assert stage.get("t", "3") is None


def test_a_state_of_a_newer_program_is_refused_and_left_as_it_is(stage: Stage) -> None:
    stage.daemon.run()
    stage.daemon.stop()
    file = stage.daemon.state / FILE
    connection = sqlite3.connect(file)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    assert_refused(stage, FILE, "version is 9999", "newer cdc-daemon")
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA user_version").fetchone() == (9999,)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    stage.daemon.run()


def test_a_state_that_is_older_than_the_log_is_a_gap_that_is_healed(stage: Stage) -> None:
    """Rows that are written to expire after the copy was made expire in search too."""
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.create("bulky", "id int PRIMARY KEY, v blob")
    stage.daemon.run()
    for number in range(20):
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (50, 1) USING TTL 1")
    stage.settle()
    stage.daemon.stop()
    copy = stage.daemon.directory / "copy"
    shutil.copytree(stage.daemon.state, copy)

    stage.daemon.run()
    stage.execute("DELETE FROM {ks}.t WHERE id = 3")
    stage.execute("UPDATE {ks}.t SET v = 2 WHERE id = 4")
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (60, 1) USING TTL 40")
    for _ in range(2):
        complete_segment(stage)
    stage.settle()
    wait_for("the segments to be released", lambda: stage.daemon.metric("segments_released_total") > 0)
    stage.daemon.stop()
    shutil.rmtree(stage.daemon.state)
    shutil.copytree(copy, stage.daemon.state)

    stage.daemon.run()
    stage.daemon.wait_event("reconcile.loss_healed")
    stage.settle()
    assert stage.get("t", "3") is None
    wait_for("the expired row to go", lambda: stage.get("t", "60") is None, pause=1.0)
    stage.assert_equal("t")


def test_a_state_on_a_failing_disk_acknowledges_nothing_until_the_disk_works(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (0, 1)")
    stage.settle()
    resource.prlimit(stage.daemon.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    before = stage.daemon.status()["position"]
    for number in range(1, 30):
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
    wait_for("the documents", lambda: stage.get("t", "29") is not None)
    stage.execute("DELETE FROM {ks}.t WHERE id = 5")
    wait_for("the removal", lambda: stage.get("t", "5") is None)
    assert stage.daemon.alive
    assert stage.daemon.status()["position"] == before
    resource.prlimit(stage.daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    stage.settle()
    wait_for("the checkpoint", lambda: stage.daemon.status()["position"] != before)
    stage.assert_equal("t")
    stage.daemon.kill()
    stage.daemon.run()
    stage.settle()
    stage.assert_equal("t")
