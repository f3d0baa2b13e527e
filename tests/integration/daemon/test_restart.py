"""The daemon stops, is killed, starts again: nothing is lost, nothing is done twice that need not be."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.load import TABLES, MixedLoad
from tests.integration.daemon.harness import DaemonProcess, wait_for
from tests.integration.daemon.stage import Stage

KILLS = 3


@pytest.fixture
def loaded(stage: Stage) -> Stage:
    """The stage with the tables of the mixed load."""
    for name, columns in TABLES.items():
        stage.table(name, columns)
    return stage


def test_killed_in_mid_flow_again_and_again_it_ends_equal(loaded: Stage) -> None:
    chance = random.Random(3)
    loaded.daemon.run()
    with MixedLoad(loaded.cql, loaded.keyspace, rate=400) as load:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.3, 1.5))
            loaded.daemon.kill()
            before = load.total
            loaded.daemon.start()
            load.wait_total(before + 100)
        loaded.daemon.wait_running()
        load.wait_total(load.total + 200)
        load.stop()
    assert load.failed == 0
    loaded.settle()
    loaded.assert_equal(*TABLES)
    assert all(loaded.documents(name) for name in TABLES)


def test_killed_while_it_starts_it_loses_nothing(loaded: Stage) -> None:
    with MixedLoad(loaded.cql, loaded.keyspace, rate=400) as load:
        for pause in (0.5, 1.0, 1.5):
            loaded.daemon.start()
            time.sleep(pause)
            loaded.daemon.kill()
        load.stop()
    loaded.daemon.run()
    loaded.settle()
    loaded.assert_equal(*TABLES)


def test_mixed_load_from_several_threads_ends_equal(loaded: Stage) -> None:
    loaded.daemon.run()
    with MixedLoad(loaded.cql, loaded.keyspace, threads=3, partitions=10) as load:
        load.wait_total(3000)
        load.stop()
    loaded.settle()
    loaded.assert_equal(*TABLES)
    assert len(load.changes) > 10
    loaded.assert_nothing_set_aside()


def test_sigterm_drains_and_the_next_start_reads_nothing_again(stage: Stage) -> None:
    stage.table("t", "p int, c int, v int, PRIMARY KEY (p, c)")
    stage.daemon.run()
    for number in range(300):
        stage.execute("INSERT INTO {ks}.t (p, c, v) VALUES (%s, %s, 1)", [number % 7, number])
    stage.execute("DELETE FROM {ks}.t WHERE p = 3")
    stage.settle()

    assert stage.daemon.stop() == 0
    assert stage.daemon.events("daemon.draining")
    (stopped,) = stage.daemon.events("tail.stopped")
    assert stopped["portions_unacknowledged"] == 0

    stage.daemon.run()
    wait_for("the folder to be listed", lambda: stage.daemon.metric("cdc_raw_segments"))
    stage.settle()
    assert stage.daemon.metric("mutations_total", table="t") == 0
    assert stage.daemon.metric("mutations_total", table="sentinel") == 1
    stage.assert_equal("t")


def test_sigterm_under_load_writes_what_it_has_taken(loaded: Stage) -> None:
    loaded.daemon.run()
    with MixedLoad(loaded.cql, loaded.keyspace, rate=400) as load:
        for _ in range(2):
            load.wait_total(load.total + 300)
            assert loaded.daemon.stop() == 0
            (stopped,) = loaded.daemon.events("tail.stopped")
            assert stopped["portions_unacknowledged"] == 0
            loaded.daemon.run()
        load.stop()
    loaded.settle()
    loaded.assert_equal(*TABLES)


def test_a_second_sigterm_ends_it_at_once_and_nothing_is_lost(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    # Not one index alone: its changes would go to the state directory, and the drain would have nothing to wait for.
    stage.elastic.cluster.put_settings(persistent={"cluster.blocks.read_only": True})
    try:
        for number in range(50):
            stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
        wait_for("changes to wait", lambda: stage.daemon.status()["pending"])
        stage.daemon.terminate()
        stage.daemon.wait_event("daemon.draining")
        asked_again = time.monotonic()
        stage.daemon.terminate()
        code = stage.daemon.wait_exit()
    finally:
        stage.elastic.cluster.put_settings(persistent={"cluster.blocks.read_only": None})
    assert code == 128 + signal.SIGTERM
    assert time.monotonic() - asked_again < 5  # the drain would have taken ten seconds
    stage.daemon.run()
    stage.settle()
    stage.assert_equal("t")
    assert len(stage.documents("t")) == 50


def test_a_stop_that_cannot_drain_ends_in_time_and_nothing_is_lost(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    # Not one index alone: its changes would go to the state directory, and the drain would have nothing to wait for.
    stage.elastic.cluster.put_settings(persistent={"cluster.blocks.read_only": True})
    try:
        for number in range(50):
            stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
        wait_for("changes to wait", lambda: stage.daemon.status()["pending"])
        assert stage.daemon.stop() == 0
        (stopped,) = stage.daemon.events("tail.stopped")
        assert stopped["portions_unacknowledged"] > 0
    finally:
        stage.elastic.cluster.put_settings(persistent={"cluster.blocks.read_only": None})
    stage.daemon.run()
    stage.settle()
    assert len(stage.documents("t")) == 50


def readiness(stage: Stage) -> int:
    try:
        stage.daemon.get("/readyz")
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200


def test_a_state_that_is_deleted_under_it_stops_acknowledging_and_a_restart_works(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (0, 1)")
    stage.settle()
    assert readiness(stage) == 200
    shutil.rmtree(stage.daemon.state)
    lost = stage.daemon.wait_event("state.lost")
    assert lost["level"] == "error"
    assert "restart the daemon" in lost["hint"]
    wait_for("the daemon to be not ready", lambda: readiness(stage) == 503)
    wait_for("the metric", lambda: stage.daemon.metric("state_lost") == 1)
    wait_for("the other metric", lambda: stage.daemon.metric("ready") == 0)
    wait_for(
        "the page to say it",
        lambda: "state directory" in " ".join(p["text"] for p in stage.daemon.status()["problems"]),
    )
    before = stage.daemon.status()["position"]
    for number in range(1, 50):
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
    stage.daemon.wait_event("tail.checkpoint_failed")
    assert stage.daemon.status()["position"] == before

    assert stage.daemon.stop() == 0
    stage.daemon.run()
    wait_for("the daemon to be ready", lambda: readiness(stage) == 200)
    stage.settle()
    stage.assert_equal("t")
    assert len(stage.documents("t")) == 50
    assert stage.daemon.metric("state_lost") == 0


def test_sighup_with_the_same_configuration_changes_nothing(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    os.kill(stage.daemon.pid, signal.SIGHUP)
    stage.daemon.wait_event("config.unchanged", by="SIGHUP")
    assert len(stage.daemon.events("daemon.running")) == 1
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (1, 1)")
    stage.settle()
    assert stage.daemon.stop() == 0
    assert stage.daemon.events("daemon.draining")


def test_a_clean_stop_logs_no_error(stage: Stage) -> None:
    """A turn of the schedule is under way, as its poll waits for Cassandra, and somebody watches the status page."""
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (1, 1)")
    stage.settle()
    with urllib.request.urlopen(f"{stage.daemon.url}/events", timeout=60) as events:
        assert events.readline()
        assert stage.daemon.stop() == 0
    assert not [line for line in stage.daemon.log() if line.get("level") in {"error", "critical"}]
    assert not stage.daemon.events("text")


def another(stage: Stage, directory: Path, **sections: dict[str, Any]) -> DaemonProcess:
    return DaemonProcess(stage.box, directory, mappings=stage.mappings, **sections)


def refused(daemon: DaemonProcess) -> tuple[int, str]:
    daemon.start()
    code = daemon.wait_exit()
    return code, daemon.log_text()


def test_a_second_daemon_on_the_folder_or_the_state_is_refused(stage: Stage, tmp_path: Path) -> None:
    stage.daemon.run()
    code, said = refused(another(stage, tmp_path / "folder"))
    assert code == 1
    assert f"found the folder in use by process {stage.daemon.pid}" in said
    assert str(stage.box.cassandra.cdc_raw_directory) in said

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sections = {"state": {"directory": str(stage.daemon.state)}, "commit_log": {"cdc_raw_directory": str(elsewhere)}}
    code, said = refused(another(stage, tmp_path / "state", **sections))
    assert code == 1
    assert f"expected a state directory of its own, found it in use by process {stage.daemon.pid}" in said
    assert str(stage.daemon.state) in said

    assert stage.daemon.alive


def test_a_port_that_is_taken_is_told(stage: Stage) -> None:
    stage.daemon.config["http"] = {"port": stage.box.elasticsearch.port}
    code, said = refused(stage.daemon)
    assert code == 2
    assert "another process listens there" in said
    assert "http.port" in said


def misspell(config: dict[str, Any]) -> None:
    config["elasticsearch"]["hostz"] = config["elasticsearch"].pop("hosts")


def name_a_strange_column(config: dict[str, Any]) -> None:
    config["mappings"]["sentinel"] = {**config["mappings"]["sentinel"], "fields": {"idd": "x"}}


@pytest.mark.parametrize(
    ("spoil", "nearest"),
    [(misspell, "did you mean hosts"), (name_a_strange_column, "did you mean 'id'")],
    ids=["key", "column"],
)
def test_a_wrong_configuration_is_refused_with_the_nearest_name(
    stage: Stage, spoil: Callable[[dict[str, Any]], None], nearest: str
) -> None:
    stage.daemon.config["mappings"] = dict(stage.mappings)
    spoil(stage.daemon.config)
    code, said = refused(stage.daemon)
    assert code == 2
    assert nearest in said
    assert "Traceback" not in said


def test_a_state_that_is_no_state_is_told(stage: Stage) -> None:
    stage.daemon.state.mkdir()
    (stage.daemon.state / "cdc-daemon.sqlite3").write_text("no database" * 1000)
    code, said = refused(stage.daemon)
    assert code == 1
    assert "cdc-daemon.sqlite3" in said
    assert "Traceback" not in said
