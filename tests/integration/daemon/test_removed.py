"""Removed documents stay removed: signals that come late, twice and out of order, deletions that are forgotten."""

from __future__ import annotations

import shutil
import time

from tests.integration.daemon.stage import SMALL, Stage

FORGETFUL = {**SMALL, "gc_deletes": "1s"}


def test_old_changes_that_are_read_again_bring_nothing_back(stage: Stage) -> None:
    stage.table("t", "id text PRIMARY KEY, v text, hidden boolean", settings=FORGETFUL, where="hidden != true")
    stage.table("grid", "p int, c int, v text, PRIMARY KEY (p, c)", settings=FORGETFUL)
    stage.daemon.run()
    for number in range(30):
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 'v')", [f"row {number}"])
        stage.execute("UPDATE {ks}.t SET v = 'v' WHERE id = %s", [f"cell {number}"])
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 'v')", [f"filtered {number}"])
        stage.execute("INSERT INTO {ks}.grid (p, c, v) VALUES (%s, %s, 'v')", [number % 3, number])
    stage.settle()
    assert (len(stage.documents("t")), len(stage.documents("grid"))) == (90, 30)
    for number in range(30):
        stage.execute("DELETE FROM {ks}.t WHERE id = %s", [f"row {number}"])
        stage.execute("DELETE v FROM {ks}.t WHERE id = %s", [f"cell {number}"])  # the last cell: the row goes
        stage.execute("UPDATE {ks}.t SET hidden = true WHERE id = %s", [f"filtered {number}"])
    stage.execute("DELETE FROM {ks}.grid WHERE p = 0")
    stage.execute("DELETE FROM {ks}.grid WHERE p = 1 AND c > 10")
    stage.settle()
    assert stage.documents("t") == {}
    stage.assert_equal("grid")

    stage.daemon.kill()
    shutil.rmtree(stage.daemon.state)  # so that everything that is left of the log is read again
    time.sleep(2.5)  # the deletions are forgotten, and at once when an index is closed, as when its node restarts
    for name in ("t", "grid"):
        stage.elastic.indices.close(index=stage.alias(name))
        stage.elastic.indices.open(index=stage.alias(name), wait_for_active_shards=1)
    stage.daemon.run()
    stage.settle()
    assert stage.daemon.metric("documents_total", outcome="filtered") >= 30
    assert stage.daemon.metric("documents_total", outcome="deleted") >= 60
    assert stage.documents("t") == {}
    stage.assert_equal("grid")
