"""What happens to servers and their data when something is killed, restarted, misconfigured or doubled."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement
from elasticsearch import ConnectionTimeout, Elasticsearch

from sandbox import FAST_START, Sandbox, SandboxError
from sandbox import cql as cql_client

_CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    """Servers of this module alone, which its tests may kill."""
    with Sandbox(yaml={"commitlog_sync": "batch"}, java_options=FAST_START) as running:
        yield running


def test_cassandra_keeps_what_it_acknowledged_when_it_is_killed(own: Sandbox) -> None:
    with own.connect() as session:
        session.execute(
            "CREATE KEYSPACE killed WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.execute("CREATE TABLE killed.t (id int PRIMARY KEY, v text) WITH cdc = true")
        for number in range(100):
            session.execute("INSERT INTO killed.t (id, v) VALUES (%s, 'x')", [number])
    before = (own.cassandra.port, own.cassandra.pid)

    own.cassandra.kill()
    assert not cql_client.answers(own.cassandra.host, own.cassandra.port)
    own.cassandra.start()
    own.cassandra.wait_ready()

    assert own.cassandra.port == before[0]
    assert own.cassandra.pid != before[1]
    with own.connect() as session:
        assert {row.id for row in session.execute("SELECT id FROM killed.t")} == set(range(100))


def test_elasticsearch_keeps_what_it_acknowledged_when_it_is_killed(own: Sandbox) -> None:
    with Elasticsearch(own.elasticsearch.url, request_timeout=60) as client:
        client.index(index="killed", id="1", document={"v": "x"})
        before = own.elasticsearch.pid

        own.elasticsearch.kill()
        own.elasticsearch.start()
        own.elasticsearch.wait_ready()

        assert own.elasticsearch.pid != before
        assert client.get(index="killed", id="1")["_source"] == {"v": "x"}


def test_a_paused_server_takes_connections_and_answers_only_when_resumed(own: Sandbox) -> None:
    with Elasticsearch(own.elasticsearch.url, request_timeout=0.5, max_retries=0) as client:
        client.info()
        own.elasticsearch.pause()
        own.cassandra.pause()
        try:
            with pytest.raises(ConnectionTimeout):
                client.info()
            assert not cql_client.answers(own.cassandra.host, own.cassandra.port, timeout=0.5)
        finally:
            own.elasticsearch.resume()
            own.cassandra.resume()

        own.elasticsearch.wait_ready(30)
        own.cassandra.wait_ready(30)


def test_sandboxes_side_by_side_share_nothing(own: Sandbox, box: Sandbox, cql: Session, keyspace: str) -> None:
    def ports(running: Sandbox) -> set[int]:
        node = running.cassandra
        return {node.port, node.ports.storage, node.ports.jmx, running.elasticsearch.port}

    assert not ports(own) & ports(box)
    assert own.directory != box.directory
    with own.connect() as session:
        found = {row.keyspace_name for row in session.execute("SELECT keyspace_name FROM system_schema.keyspaces")}
    assert keyspace not in found


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    sandbox = Sandbox(elasticsearch=False, yaml={"num_tokens": "many"}, java_options=FAST_START)

    with pytest.raises(SandboxError, match="ended with code") as caught:
        sandbox.start()

    assert "num_tokens" in str(caught.value)
    assert sandbox.nodes == []


def test_a_ring_of_two_with_segments_of_version_8() -> None:
    yaml = {"storage_compatibility_mode": "NONE"}
    with Sandbox(nodes=2, elasticsearch=False, yaml=yaml, heap="400m", java_options=FAST_START) as ring:
        assert ring.contact_points == ["127.0.0.1", "127.0.0.2"]
        with ring.connect() as session:
            session.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 2}")
            session.execute("CREATE TABLE k.t (id int PRIMARY KEY) WITH cdc = true")
            everywhere = SimpleStatement("INSERT INTO k.t (id) VALUES (1)", consistency_level=ConsistencyLevel.ALL)
            session.execute(everywhere)
        for node in ring.nodes:
            assert list(node.cdc_raw_directory.glob("CommitLog-8-*.log"))


@pytest.mark.parametrize("version", ["4.1", "4.0"])
def test_older_versions_write_cdc_too(version: str) -> None:
    yaml = {"commitlog_sync_period": "100ms"}
    with (
        Sandbox(cassandra=version, elasticsearch=False, yaml=yaml, java_options=FAST_START) as old,
        old.connect() as session,
    ):
        release = session.execute("SELECT release_version FROM system.local").one().release_version
        session.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.execute("CREATE TABLE k.t (id int PRIMARY KEY, m map<text, text>) WITH cdc = true")
        session.execute("INSERT INTO k.t (id, m) VALUES (1, {'a': 'b'})")

        assert release.startswith(version)
        assert list(old.cassandra.cdc_raw_directory.glob("CommitLog-7-*.log"))


def test_cassandra_3_11_makes_commit_logs_and_moves_none_to_cdc_raw_yet() -> None:
    with Sandbox(cassandra="3.11", elasticsearch=False, java_options=FAST_START) as old, old.connect() as session:
        release = session.execute("SELECT release_version FROM system.local").one().release_version
        session.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.execute("CREATE TABLE k.t (id int PRIMARY KEY, m map<text, text>) WITH cdc = true")
        session.execute("INSERT INTO k.t (id, m) VALUES (1, {'a': 'b'})")

        assert release == "3.11.13"
        assert list(old.cassandra.commitlog_directory.glob("CommitLog-6-*.log"))
        assert not list(old.cassandra.cdc_raw_directory.iterdir())
        assert old.cassandra.nodetool("flush", "k") == ""


def test_a_given_directory_keeps_its_data(tmp_path: Path) -> None:
    with (
        Sandbox(cassandra=None, directory=tmp_path, java_options=FAST_START) as first,
        Elasticsearch(first.elasticsearch.url, request_timeout=60) as client,
    ):
        client.index(index="kept", id="1", document={"v": 1})
    with (
        Sandbox(cassandra=None, directory=tmp_path, java_options=FAST_START) as second,
        Elasticsearch(second.elasticsearch.url, request_timeout=60) as client,
    ):
        assert client.get(index="kept", id="1")["found"]


_PARENT = """
import json, time
from sandbox import FAST_START, Sandbox
with Sandbox(cassandra=None, java_options=FAST_START) as box:
    print(json.dumps(box.describe()), flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_server_outlives_a_program_that_is_killed_or_interrupted(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], cwd=_CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        state = json.loads(parent.stdout.readline())
        server = psutil.Process(state["elasticsearch"]["pid"])

        parent.send_signal(number)
        parent.wait(30)

        gone, alive = psutil.wait_procs([server], timeout=10)
    assert gone == [server]
    assert alive == []
    if number == signal.SIGINT:
        assert not Path(state["directory"]).exists()
