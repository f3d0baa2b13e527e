"""Segments are given back soon after they are complete and acknowledged, and never before."""

from __future__ import annotations

import time
from pathlib import Path

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

MEBIBYTE = b"x" * 2**20
MORE_THAN_A_SEGMENT = 5
"""Rows of one mebibyte: the sandbox's segments have four."""

STILL = 3.0
"""Seconds in which a segment that may not go has to stay: several listings of the folder."""


def newest_segments(folder: Path) -> list[Path]:
    """The segments with CDC data that Cassandra has not completed yet."""
    return [
        index.with_name(index.name.replace("_cdc.idx", ".log"))
        for index in sorted(folder.glob("*_cdc.idx"))
        if "COMPLETED" not in index.read_text()
    ]


def current_segment(stage: Stage) -> Path:
    """Return the segment that Cassandra writes to, after it was forced to disk once."""
    found = wait_for(
        "an index file of the segment in use",
        lambda: newest_segments(stage.box.cassandra.cdc_raw_directory),
        pause=0.2,
    )
    return found[-1]


def index_of(segment: Path) -> Path:
    return segment.with_name(segment.name.replace(".log", "_cdc.idx"))


def is_completed(segment: Path) -> bool:
    try:
        return "COMPLETED" in index_of(segment).read_text()
    except FileNotFoundError:
        return not segment.exists()


def complete(stage: Stage) -> None:
    """Write more than a segment holds to a table that no mapping speaks of."""
    # Prepared, as a blob in a statement's text takes twice the bytes and more than a message may have.
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.bulky (id, v) VALUES (?, ?)")
    for number in range(MORE_THAN_A_SEGMENT):
        stage.cql.execute(insert, [number, MEBIBYTE])


def prepare(stage: Stage) -> Path:
    """Run the daemon, write a row to the segment in use, and return that segment."""
    stage.create("bulky", "id int PRIMARY KEY, v blob")
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (1, 1)")
    stage.settle()
    return current_segment(stage)


def test_a_segment_is_released_when_it_is_complete_and_acknowledged(stage: Stage) -> None:
    segment = prepare(stage)
    complete(stage)
    wait_for("the segment to be complete", lambda: is_completed(segment))
    wait_for("the segment to go", lambda: not segment.exists())
    wait_for("its index file to go", lambda: not index_of(segment).exists())
    assert stage.daemon.metric("segments_released_total") >= 1
    assert [line for line in stage.daemon.events("tail.segment_released") if line["segment"] == segment.name]
    assert stage.daemon.metric("gaps_total") == 0
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (2, 2)")
    stage.settle()
    stage.assert_equal("t")


def test_a_segment_stays_until_all_in_it_is_acknowledged(stage: Stage) -> None:
    segment = prepare(stage)
    # Not one index alone: its changes would go to the state directory, and the segment with them.
    stage.elastic.cluster.put_settings(persistent={"cluster.blocks.read_only": True})
    try:
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (2, 2)")
        complete(stage)
        wait_for("the segment to be complete", lambda: is_completed(segment))
        time.sleep(STILL)
        assert segment.exists()
        assert stage.daemon.status()["backlog"]["bytes"] > 0
        stage.daemon.kill()
        stage.daemon.run()
        time.sleep(STILL)
        assert segment.exists()
    finally:
        stage.elastic.cluster.put_settings(persistent={"cluster.blocks.read_only": None})
    wait_for("the segment to go", lambda: not segment.exists())
    stage.settle()
    stage.assert_equal("t")
    assert stage.get("t", "2") == {"id": 2, "v": 2}


def test_segments_that_came_while_the_daemon_was_away_are_read_and_released(stage: Stage) -> None:
    segment = prepare(stage)
    stage.daemon.kill()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (2, 2)")
    complete(stage)
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (3, 3)")
    wait_for("the segment to be complete", lambda: is_completed(segment))
    time.sleep(STILL)
    assert segment.exists()
    stage.daemon.run()
    wait_for("the segment to go", lambda: not segment.exists())
    stage.settle()
    stage.assert_equal("t")
    assert stage.daemon.metric("gaps_total") == 0


def test_nothing_is_deleted_when_release_is_off(stage: Stage) -> None:
    stage.daemon.config["commit_log"]["release"] = False
    segment = prepare(stage)
    complete(stage)
    wait_for("the segment to be complete", lambda: is_completed(segment))
    stage.settle()
    time.sleep(STILL)
    assert segment.exists()
    assert index_of(segment).exists()
    assert stage.daemon.metric("segments_released_total") == 0


def test_a_segment_deleted_while_the_daemon_is_stopped_is_a_possible_gap_that_is_healed_once(stage: Stage) -> None:
    prepare(stage)
    folder = stage.box.cassandra.cdc_raw_directory
    stage.daemon.stop()
    known = {path.name for path in folder.glob("*.log")}
    last = 2
    while len(came := completed_since(folder, known)) < 3:
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 0)", [last])
        complete(stage)
        last += 1
    # Cassandra has the newest ones in use, and the daemon never saw those in between.
    index_of(came[1]).unlink()
    came[1].unlink()
    stage.daemon.run()
    gap = stage.daemon.wait_event("tail.gap_possible", reason="hole")
    assert segment_id(came[1]) in gap["gap"]
    assert "can be without loss" in gap["hint"]
    assert stage.daemon.metrics("gaps_total", "reason")["hole"] == 1
    begun = stage.daemon.wait_event("reconcile.after_loss")
    assert [request.split(" from ")[0] for request in begun["requests"]] == ["possible gap"]
    stage.daemon.wait_event("reconcile.loss_healed")
    stage.settle()
    stage.assert_equal("t")
    assert len(stage.rows("t")) == last - 1
    stage.daemon.kill()
    stage.daemon.run()
    stage.settle()
    assert stage.daemon.metric("gaps_total") == 0
    assert not stage.daemon.status()["reconcile_requests"]


def segment_id(segment: Path) -> str:
    return segment.stem.rsplit("-", 1)[1]


def completed_since(folder: Path, known: set[str]) -> list[Path]:
    """Return the completed segments with CDC data that are none of the known ones, oldest first."""
    indexes = sorted(folder.glob("*_cdc.idx"), key=lambda path: int(path.name.split("-")[2].removesuffix("_cdc.idx")))
    found = [
        index.with_name(index.name.replace("_cdc.idx", ".log")) for index in indexes if "COMPLETED" in index.read_text()
    ]
    return [segment for segment in found if segment.name not in known]
