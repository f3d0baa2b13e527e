"""Servers and indices go away and come back: the daemon keeps trying, says so, and ends equal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy

from bench.load import TABLES, MixedLoad
from sandbox import Sandbox
from sandbox.search_client import make_search_client
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import SMALL, Stage, new_stage
from tests.servers import make_sandbox


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    """Servers that may be killed. With `batch` Cassandra keeps all that it acknowledged, as more replicas would."""
    with make_sandbox(yaml={"commitlog_sync": "batch"}) as running:
        yield running


@pytest.fixture(scope="module")
def own_cql(own: Sandbox) -> Iterator[Session]:
    """A session that is back soon after Cassandra is."""
    cluster = Cluster(
        own.contact_points,
        port=own.cassandra.port,
        protocol_version=5,
        reconnection_policy=ConstantReconnectionPolicy(0.2, max_attempts=None),
        execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(RoundRobinPolicy(), request_timeout=30.0)},
    )
    yield cluster.connect()
    cluster.shutdown()


@pytest.fixture
def fragile(own: Sandbox, own_cql: Session, tmp_path: Path) -> Iterator[Stage]:
    """A stage on servers that may be killed, with the tables of the mixed load."""
    with (
        make_search_client(own.elasticsearch.url, max_retries=5, retry_on_timeout=True) as elastic,
        new_stage(own, own_cql, elastic, tmp_path) as stage,
    ):
        for name, columns in TABLES.items():
            stage.table(name, columns)
        try:
            yield stage
        finally:
            if not own.elasticsearch.alive:
                own.elasticsearch.start()
            own.elasticsearch.wait_ready()
            start_cassandra(stage)


def start_cassandra(stage: Stage) -> None:
    """Start Cassandra if it is down and return when the test's own session is back."""
    if not stage.box.cassandra.alive:
        stage.box.cassandra.start()
    stage.box.cassandra.wait_ready()
    stage.wait_session()


@contextmanager
def load_on(stage: Stage, *, rate: float = 300) -> Iterator[MixedLoad]:
    with MixedLoad(stage.cql, stage.keyspace, rate=rate) as load:
        yield load
        load.stop()


def assert_ends_equal(stage: Stage) -> None:
    stage.settle()
    stage.assert_equal(*TABLES)


def test_both_servers_down_at_start(fragile: Stage) -> None:
    with load_on(fragile) as load:
        load.wait_total(300)
    fragile.box.cassandra.kill()
    fragile.box.elasticsearch.kill()
    fragile.daemon.start()
    waiting = fragile.daemon.wait_event("startup.waiting", waiting_for="cassandra")
    assert "native transport" in waiting["hint"]
    wait_for(
        "the daemon to tell", lambda: (fragile.daemon.status().get("waiting_for") or {}).get("what") == "cassandra"
    )
    assert fragile.daemon.status()["state"] == "starting"

    start_cassandra(fragile)
    fragile.daemon.wait_event("startup.waiting", waiting_for="elasticsearch")
    assert fragile.daemon.status()["state"] == "starting"
    assert fragile.daemon.metric("ready") == 0

    fragile.box.elasticsearch.start()
    fragile.box.elasticsearch.wait_ready()
    fragile.daemon.wait_running()
    wait_for("the metrics to tell", lambda: fragile.daemon.metric("ready") == 1)
    assert_ends_equal(fragile)


@pytest.mark.other_engines
def test_elasticsearch_is_killed_in_mid_flow(fragile: Stage) -> None:
    fragile.daemon.run()
    for change in ("INSERT INTO {ks}.account (id, name) VALUES (%s, 'x')", "DELETE FROM {ks}.account WHERE id = %s"):
        for number in range(20):
            fragile.execute(change, [f"removed {number}"])
        fragile.settle()
    with load_on(fragile) as load:
        load.wait_total(300)
        fragile.box.elasticsearch.kill()
        wait_for("the daemon to notice", lambda: not fragile.daemon.status()["elasticsearch"]["available"])
        assert fragile.daemon.metric("elasticsearch_available") == 0
        load.wait_total(load.total + 200)
    fragile.box.elasticsearch.start()
    fragile.box.elasticsearch.wait_ready()
    wait_for("the daemon to notice", lambda: fragile.daemon.status()["elasticsearch"]["available"])
    assert fragile.daemon.events("elasticsearch.unavailable")
    assert fragile.daemon.events("elasticsearch.available")
    assert_ends_equal(fragile)
    fragile.assert_nothing_set_aside()

    # A restart forgets deletions. All that is left of the log is read again, and brings nothing back.
    fragile.daemon.kill()
    shutil.rmtree(fragile.daemon.state)
    fragile.daemon.run()
    assert_ends_equal(fragile)
    assert not any(identity.startswith("removed") for identity in fragile.documents("account"))


def test_elasticsearch_freezes_in_mid_flow(fragile: Stage) -> None:
    fragile.daemon.config["elasticsearch"]["request_timeout"] = "1s"
    fragile.daemon.run()
    with load_on(fragile) as load:
        load.wait_total(load.total + 200)
        fragile.box.elasticsearch.pause()
        try:
            wait_for("the daemon to notice", lambda: not fragile.daemon.status()["elasticsearch"]["available"])
            load.wait_total(load.total + 200)
        finally:
            fragile.box.elasticsearch.resume()
    assert_ends_equal(fragile)


def test_cassandra_is_killed_in_mid_flow_while_changes_wait_to_be_read(fragile: Stage) -> None:
    fragile.daemon.run()
    with load_on(fragile) as load:
        load.wait_total(300)
        fragile.box.elasticsearch.pause()  # so that changes wait, and are read when Cassandra is gone
        try:
            load.wait_total(load.total + 200)
            wait_for("changes to wait", lambda: fragile.daemon.status()["pending"])
            fragile.box.cassandra.kill()
            wait_for("the daemon to tell", lambda: not fragile.daemon.status()["cassandra"]["available"])
        finally:
            fragile.box.elasticsearch.resume()
        retry = fragile.daemon.wait_event("pipeline.retry")
        assert "Cassandra did not answer" in retry["error"]
        assert fragile.daemon.status()["backlog"]["bytes"] > 0
        start_cassandra(fragile)
        load.wait_total(load.total + 200)
    assert load.failed
    assert_ends_equal(fragile)
    fragile.assert_nothing_set_aside()


def test_cassandra_and_the_daemon_are_killed_together(fragile: Stage) -> None:
    fragile.daemon.run()
    with load_on(fragile) as load:
        load.wait_total(400)
        fragile.daemon.kill()
        fragile.box.cassandra.kill()
    fragile.daemon.start()
    start_cassandra(fragile)
    fragile.daemon.wait_running()
    assert_ends_equal(fragile)


def wait_back(stage: Stage) -> None:
    """Wait until no index is in trouble, and nothing waits on disk because of it."""

    def is_back() -> bool:
        status = stage.daemon.status()
        return not status["spooled"] and not any(index["trouble"] for index in status["indices"])

    wait_for("every index to take writes", is_back)


def test_a_closed_index_is_waited_for(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.table("other", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (0, 0)")
    stage.settle()
    stage.elastic.indices.close(index=stage.alias("t"))
    for number in range(30):
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
        stage.execute("INSERT INTO {ks}.other (id, v) VALUES (%s, 1)", [number])
    stage.execute("DELETE FROM {ks}.t WHERE id = 0")
    unavailable = stage.daemon.wait_event("elasticsearch.alias_unavailable")
    assert unavailable["error_type"] == "index_closed_exception"
    assert unavailable["hint"] == "open the index again"
    stage.elastic.indices.open(index=stage.alias("t"))
    wait_back(stage)
    stage.settle()
    stage.assert_equal("t", "other")
    assert len(stage.documents("t")) == 29
    stage.assert_nothing_set_aside()


def test_an_alias_taken_away_is_waited_for(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    alias = stage.alias("t")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (0, 0)")
    stage.settle()
    stage.elastic.indices.delete_alias(index=f"{alias}-000001", name=alias)
    for number in range(1, 30):
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 1)", [number])
    stage.execute("DELETE FROM {ks}.t WHERE id = 0")
    stage.daemon.wait_event("elasticsearch.alias_unavailable", error_type="index_not_found_exception")
    assert not stage.elastic.indices.exists(index=alias)
    stage.elastic.indices.put_alias(index=f"{alias}-000001", name=alias)
    wait_back(stage)
    stage.settle()
    stage.assert_equal("t")
    assert len(stage.documents("t")) == 29


@pytest.mark.parametrize("change", ["INSERT INTO {ks}.t (id, v) VALUES (1, 2)", "DELETE FROM {ks}.t WHERE id = 1"])
def test_no_index_is_made_up_when_one_is_deleted(stage: Stage, change: str) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    alias = stage.alias("t")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (1, 1)")
    stage.settle()
    stage.elastic.indices.delete(index=f"{alias}-000001")
    stage.execute(change)
    stage.daemon.wait_event("elasticsearch.alias_unavailable", error_type="index_not_found_exception")
    time.sleep(1)
    assert list(stage.elastic.indices.get(index=f"{alias}*", expand_wildcards="all")) == []
    status = stage.daemon.status()
    assert status["pending"] + status["spooled"] >= 1

    stage.elastic.indices.create(index=f"{alias}-000001", aliases={alias: {"is_write_index": True}}, settings=SMALL)
    wait_back(stage)
    stage.settle()
    stage.assert_equal("t")
