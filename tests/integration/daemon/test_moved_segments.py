"""The daemon follows the log of Cassandra 3.11, which moves segments to cdc_raw: flushes, crashes, a full cdc_raw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest
from cassandra import WriteFailure, WriteTimeout
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import FAST_START, Sandbox
from sandbox.cassandra import CassandraNode
from sandbox.settings import old_spelling
from tests.fixtures_maker.make import PASSWORD, Combination, make_keystore
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.mixed import Mixed
from tests.integration.daemon.stage import Stage, new_stage

SPACE_MIB = 24
T = TypeVar("T")
TABLE = "p text, c int, v text, PRIMARY KEY (p, c)"


@pytest.fixture(scope="module")
def older() -> Iterator[Sandbox]:
    """A node with Cassandra 3.11, small segments, and little space for them."""
    changes = {
        "commitlog_segment_size": "1MiB",
        "cdc_total_space": f"{SPACE_MIB}MiB",
        "commitlog_sync_period": "500ms",
    }
    with Sandbox(cassandra="3.11", elasticsearch=False, yaml=changes, heap="512m", java_options=FAST_START) as older:
        yield older


@pytest.fixture(scope="module")
def older_cql(older: Sandbox) -> Iterator[Session]:
    with older.connect() as session:
        yield session


@pytest.fixture
def servers(older: Sandbox, box: Sandbox) -> Mixed:
    return Mixed(older, box)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore, which each daemon has: a test leaves segments behind that are encrypted."""
    path = tmp_path_factory.mktemp("keys") / "keystore.jceks"
    make_keystore(path)
    return path


@pytest.fixture
def stage(
    servers: Mixed, older_cql: Session, elastic: Elasticsearch, keystore: Path, tmp_path: Path
) -> Iterator[Stage]:
    with new_stage(servers, older_cql, elastic, tmp_path) as stage:
        stage.daemon.config["commit_log"] |= {"keystore": str(keystore), "keystore_password": PASSWORD}
        stage.table("t", TABLE)
        yield stage


def write(stage: Stage, first: int, count: int, *, text: str = "v") -> None:
    insert = f"INSERT INTO {stage.keyspace}.t (p, c, v) VALUES (%s, %s, %s)"
    for futures in batched(
        (stage.cql.execute_async(insert, [f"p{number % 5}", number, text]) for number in range(first, first + count)),
        50,
    ):
        for future in futures:
            future.result()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def segments(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("CommitLog-6-*.log")}


def released(node: CassandraNode) -> Callable[[], bool]:
    return lambda: not segments(node.cdc_raw_directory)


def test_a_row_is_shown_while_its_segment_is_active_and_a_flush_repeats_nothing(stage: Stage) -> None:
    node = stage.box.cassandra
    stage.daemon.run()
    stage.settle()
    wait_for("an empty cdc_raw", released(node))
    write(stage, 0, 20)
    stage.settle()
    stage.assert_equal("t")
    active = segments(node.commitlog_directory)
    assert active
    assert not segments(node.cdc_raw_directory)
    before = stage.daemon.metric("mutations_total", table="t")
    assert before == 20

    write(stage, 20, 600, text="x" * 4000)  # the segments before the current one are complete
    node.nodetool("flush")
    wait_for("the segments to move", lambda: not active <= segments(node.commitlog_directory))
    wait_for("an empty cdc_raw", released(node))
    stage.execute("DELETE FROM {ks}.t WHERE p = 'p1'")
    stage.settle()
    stage.assert_equal("t")
    assert stage.daemon.metric("mutations_total", table="t") == 621
    assert stage.daemon.metric("segments_released_total") >= 2
    assert stage.daemon.metric("gaps_total") == 0
    stage.assert_nothing_set_aside()


def test_a_daemon_that_was_killed_finds_the_segments_where_they_moved(stage: Stage) -> None:
    node = stage.box.cassandra
    stage.daemon.run()
    write(stage, 0, 300, text="x" * 4000)
    stage.daemon.kill()
    write(stage, 300, 300, text="x" * 4000)
    node.nodetool("flush")
    assert segments(node.cdc_raw_directory)
    write(stage, 600, 20)
    stage.daemon.run()
    stage.settle()
    stage.assert_equal("t")
    wait_for("an empty cdc_raw", released(node))

    write(stage, 620, 300, text="x" * 4000)
    stage.settle()
    counted = stage.daemon.metric("mutations_total", table="t")
    assert counted >= 620
    wait_for(
        "the resting segments to be noted",
        lambda: stage.daemon.metric("checkpoint_segment_id") == newest_used(node),
    )
    assert stage.daemon.stop() == 0
    stage.daemon.run()
    write(stage, 920, 1)
    stage.settle()
    assert stage.daemon.metric("mutations_total", table="t") < 100
    stage.assert_equal("t")
    assert stage.daemon.metric("gaps_total") == 0
    stage.assert_nothing_set_aside()


def newest_used(node: CassandraNode) -> int:
    """Return the id of the segment in use: the newest but one, as the next one is prepared."""
    return int(sorted(segments(node.commitlog_directory))[-2].removesuffix(".log").rpartition("-")[2])


def start_with(node: CassandraNode, kind: str, keystore: Path) -> None:
    """Start the node with commit-log segments of another kind."""
    node.settings.pop("commitlog_compression", None)
    node.settings.update(old_spelling(Combination("3.11", kind, segment_version=6).yaml(keystore)))
    node.start()


def test_after_a_crash_documents_are_equal_and_compressed_segments_are_followed(stage: Stage, keystore: Path) -> None:
    node = stage.box.cassandra
    stage.daemon.run()
    write(stage, 0, 50)
    stage.settle()
    write(stage, 50, 600, text="x" * 4000)
    node.kill()
    start_with(node, "lz4", keystore)
    stage.wait_session()
    stage.daemon.wait_event("tail.segment_repeated")
    write(stage, 700, 300, text="x" * 4000)
    node.nodetool("flush")
    stage.execute("DELETE FROM {ks}.t WHERE p = 'p1'")
    stage.settle()
    stage.assert_equal("t")
    wait_for("an empty cdc_raw", released(node))
    assert stage.daemon.metric("gaps_total") == 0
    stage.assert_nothing_set_aside()


def test_after_a_crash_without_a_daemon_documents_are_equal_and_encrypted_segments_are_followed(
    stage: Stage, keystore: Path
) -> None:
    node = stage.box.cassandra
    stage.daemon.run()
    write(stage, 0, 50)
    stage.settle()
    stage.daemon.kill()
    write(stage, 50, 600, text="x" * 4000)
    node.kill()
    start_with(node, "encrypted", keystore)
    stage.wait_session()
    write(stage, 700, 300, text="x" * 4000)
    stage.daemon.run()
    node.nodetool("flush")
    stage.execute("DELETE FROM {ks}.t WHERE p = 'p1'")
    stage.settle()
    stage.assert_equal("t")
    wait_for("an empty cdc_raw", released(node))
    assert stage.daemon.metric("gaps_total") == 0
    stage.assert_nothing_set_aside()


def test_a_full_cdc_raw_takes_writes_again_when_the_daemon_has_emptied_it(stage: Stage) -> None:
    node = stage.box.cassandra
    stage.daemon.run()
    stage.settle()
    stage.daemon.kill()

    wait_for("a refused write", lambda: is_refused(stage))
    node.nodetool("flush")
    assert len(segments(node.cdc_raw_directory)) > SPACE_MIB / 2
    stage.daemon.run()
    wait_for("an empty cdc_raw", released(node))
    wait_for("a write that is taken", lambda: is_taken(stage))
    stage.settle()
    stage.assert_equal("t")
    assert stage.daemon.metric("gaps_total") == 0


def is_refused(stage: Stage) -> bool:
    try:
        write(stage, 0, 200, text="x" * 4000)
    except (WriteTimeout, WriteFailure):
        return True
    return False


def is_taken(stage: Stage) -> bool:
    try:
        write(stage, 1000, 1)
    except (WriteTimeout, WriteFailure):
        return False
    return True
