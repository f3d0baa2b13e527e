"""A tail with a division: what is left to others holds the checkpoint and the segment until it is confirmed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.sources.log.lifecycle import Evidence
from cdc_daemon.sources.log.segment_reader import SegmentReader
from cdc_daemon.sources.ring.division import ChangeDivision
from cdc_daemon.sources.ring.left import LeftChanges
from cdc_daemon.sources.ring.owned import ChangeState, OwnedChanges
from tests.segments import SCHEMA, USERS_NAME, CommitLogWriter, user
from tests.unit.sources.log.harness import Harness


class Order:
    """Keys that begin with "b" belong to another node."""

    def refresh(self) -> None:
        pass

    def token(self, partition_key: bytes) -> int:
        return partition_key[0]

    def before(self, keyspace: str, token: int) -> Sequence[str]:
        assert keyspace
        return ["node b"] if token == ord("b") else []


class Counts:
    def __init__(self) -> None:
        self.number = 0

    def left(self, count: int) -> None:
        self.number += count

    def confirmed(self, count: int) -> None:
        raise AssertionError(count)

    def settled_here(self, reason: str, count: int) -> None:
        raise AssertionError((reason, count))


async def test_a_segment_with_a_change_of_another_node_stays_until_it_is_confirmed(tmp_path: Path) -> None:
    node, harness = CommitLogWriter(tmp_path), Harness(tmp_path)
    owned, books, counts = OwnedChanges(), LeftChanges(), Counts()
    harness.division = ChangeDivision(Order(), owned=owned, left=books, observer=counts)
    harness.start()
    first = node.current
    node.write(user("a1"))
    node.write(user("b1"))
    node.write(user("a2"))
    node.advance()
    await harness.until(lambda: harness.sink.keys == ["a1", "a2"])
    await harness.until(lambda: len(books) == 1)
    await harness.settle()
    assert first.link.exists()
    assert harness.observer.reads == {(USERS_NAME, "row"): 3}
    assert counts.number == 1
    (change,) = books.take("node b")
    assert change.update.partition_key == b"b1"
    assert owned.state(change.identity) is ChangeState.UNKNOWN
    books.settled([change])
    await harness.until(lambda: not first.link.exists())
    await harness.stop()


async def test_a_restart_reads_what_was_left_again(tmp_path: Path) -> None:
    node, harness = CommitLogWriter(tmp_path), Harness(tmp_path)
    books = LeftChanges()
    harness.division = ChangeDivision(Order(), owned=OwnedChanges(), left=books, observer=Counts())
    harness.start()
    node.write(user("b1"))
    node.current.sync()
    await harness.until(lambda: len(books) == 1)
    await harness.kill()
    again = LeftChanges()
    harness.division = ChangeDivision(Order(), owned=OwnedChanges(), left=again, observer=Counts())
    harness.start()
    await harness.until(lambda: len(again) == 1)
    await harness.kill()


def test_the_checksum_of_an_entry_is_that_of_its_size_and_its_mutation(tmp_path: Path) -> None:
    node = CommitLogWriter(tmp_path)
    segment, texts = node.current, ["a", "bcd", "a"]
    mutations = [user(each) for each in texts]
    for mutation in mutations:
        assert segment.add(mutation)
        segment.mark()
    segment.close()
    [file] = [each for each in CdcFolder(node.cdc_raw).look().segments if each.id == segment.id]
    reader = SegmentReader(file)
    found: list[int] = []
    while reader.fetch(Evidence(segment.marker, closed=True)):
        portion = reader.decode(SCHEMA, limit=100)
        found += reader.checksums(portion)
        reader.advance(portion)
    reader.close()
    assert found == [zlib.crc32(each, zlib.crc32(len(each).to_bytes(4, "big"))) for each in mutations]
