"""The bookkeeping of a delete pass: its sums contain each row once, whenever it is interrupted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.cassandra.scan import KeyPage, TokenScan
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import CassandraUnavailableError
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import DOCUMENTS, ROWS, RangeJob
from cdc_daemon.tablejobs import delete_pass
from cdc_daemon.tablejobs.delete_pass import DeletePass, NoBarrier
from cdc_daemon.tablejobs.document_ids import IdSums, lasting_digest
from cdc_daemon.tablejobs.findings import MismatchCounts
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun
from cdc_daemon.tablejobs.surplus import ComparedMapping, ComparisonTarget, ComparisonTargets
from tests.unit.document.tables import table

TABLE = TableName("sunbird", "t")
PAGE = 10


def number(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


class World:
    """A table whose token N has `rows[N]` rows, scanned in small pages; the scan fails after `left` pages."""

    def __init__(self, store: Store, rows: dict[int, int]) -> None:
        self.store = store
        self.rows = rows
        self.left = 10**9
        self.done: list[JobRun] = []
        self.read = 0
        settings = MappingSettings(table=TABLE, alias="a")
        mapping = DocumentMapping("user", settings, table(("p", "int", "partition_key"), ("c", "int", "clustering")))
        self.compared = ComparedMapping(mapping, settings)

    async def keys(self, name: TableName, wanted: TokenRange) -> AsyncIterator[KeyPage]:
        found = [
            (token, Key(name, number(token), (number(row),)))
            for token in sorted(self.rows)
            if token in wanted
            for row in range(self.rows[token])
        ]
        for start in range(0, max(1, len(found)), PAGE):
            if not self.left:
                raise CassandraUnavailableError("away")
            self.left -= 1
            page = found[start : start + PAGE]
            last = start + PAGE >= len(found)
            covered = wanted.last if last else page[-1][0] - 1
            self.read += len(page)
            settled = sum(token <= covered for token, _ in found[: start + PAGE])
            yield KeyPage([key for _, key in page], [()] * len(page), covered, settled)

    async def of(self, object_type: str, _compared: ComparedMapping, *, repair: bool) -> ComparisonTarget:
        assert repair
        return ComparisonTarget(cast("Any", None), MismatchCounts(object_type), cast("Any", None), "a")

    async def note(self, run: JobRun) -> None:
        self.done.append(run)

    def scan(self, run: JobRun) -> TokenScan:
        assert run.job.id == "job"
        return cast("TokenScan", self)

    async def work(self) -> JobRun:
        """Work on the open ranges of rows, as after a start of the daemon."""
        job = self.store.range_jobs.get("job")
        assert job is not None
        request = JobRequest.of("deletes", "deletes", job.options)
        run = JobRun(job, request, self.store.range_jobs, self.store.range_jobs.progress("job"))
        work = DeletePass(cast("ComparisonTargets", self), self.scan, {"user": self.compared}, self.note)
        for part in self.store.range_jobs.open_ranges("job"):
            if part.side == ROWS:
                await work.work(run, part)
        return run

    def expected(self) -> IdSums:
        sums = IdSums(lasting_digest("job"))
        sums.add(f"{token}:{row}" for token, count in self.rows.items() for row in range(count))
        return sums

    def stored(self) -> IdSums:
        return IdSums(lasting_digest("job"), stored=self.store.range_jobs.sums("job", "user"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    ranges = [("user", 0, 50, ROWS), ("user", 50, 100, ROWS), ("user", 0, 100, DOCUMENTS)]
    store.range_jobs.add(RangeJob(id="job", kind="deletes", options={"types": ["user"]}), ranges, limit=1)
    yield store
    store.close()


def rows(*, large: int = 25) -> dict[int, int]:
    return {token: 3 if token % 9 else large for token in range(1, 101)}


async def test_the_sums_contain_each_row_once(store: Store) -> None:
    world = World(store, rows())
    await world.work()
    assert world.stored().differing(world.expected()) == set()
    assert store.range_jobs.progress("job").rows == sum(world.rows.values())


@pytest.mark.parametrize("after", range(1, 50, 4))
async def test_an_interrupted_pass_continues_and_counts_no_row_twice(
    store: Store, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delete_pass, "SAVED_EVERY", 0.0)
    world = World(store, rows())
    world.left = after
    with pytest.raises(CassandraUnavailableError):
        await world.work()
    before = world.read
    world.left = 10**9
    run = await world.work()
    assert world.stored().differing(world.expected()) == set()
    assert store.range_jobs.progress("job").rows == sum(world.rows.values())
    assert run.found["types"]["user"]["rows"] == sum(world.rows.values())
    if after > 10:
        assert world.read - before < sum(world.rows.values()), "it does not begin anew"


async def test_memory_is_bounded_in_a_large_partition(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that cannot wait are recorded early: after a crash they count twice, and their documents are looked at."""
    monkeypatch.setattr(delete_pass, "MOST_UNSAVED", 20)
    world = World(store, rows(large=200))
    world.left = 30
    with pytest.raises(CassandraUnavailableError):
        await world.work()
    world.left = 10**9
    await world.work()
    assert store.range_jobs.progress("job").rows >= sum(world.rows.values())
    whole = World(store, rows(large=200))
    assert whole.expected().differing(world.stored())


async def test_the_sums_are_forgotten_with_the_end_of_the_pass(store: Store) -> None:
    world = World(store, rows())
    await world.work()
    assert store.range_jobs.sums("job", "user") is not None
    store.range_jobs.finish("job", "done")
    assert store.range_jobs.sums("job", "user") is None


async def test_nothing_is_waited_for() -> None:
    keys: Sequence[Key] = []
    assert await NoBarrier().wait(keys)
