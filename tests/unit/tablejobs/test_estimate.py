"""Estimates of backfills: by counting, by sampling, and what they say about themselves."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdc_daemon.cassandra.ring import LARGEST, RING, SMALLEST, Estimate, TokenRange
from cdc_daemon.cassandra.scan import KeyPage, RowPage
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.sources.requests import UnknownObjectTypeError
from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import ROWS, RangeJob
from cdc_daemon.tablejobs.estimate import COUNTED_ROWS, GOOD, BackfillEstimator, density_of
from cdc_daemon.tablejobs.range_job import JobRequest

TABLE = TableName("k", "t")
NONE = Estimate(0.0, 0.0)


class Ring:
    """A ring whose partitions have random tokens, each with `width` rows of a hundred bytes."""

    def __init__(self, partitions: int, width: int = 1, *, readable: bool = True) -> None:
        chance = random.Random(7)
        self.tokens = sorted(chance.randrange(SMALLEST, LARGEST) for _ in range(partitions))
        self.width = width
        self.readable = readable
        self.own = NONE
        self.read = 0

    async def estimate(self, _table: TableName) -> Estimate:
        return self.own

    def scan(self, page_rows: int) -> Any:
        return _Scan(self, page_rows)


class _Scan:
    def __init__(self, ring: Ring, page_rows: int) -> None:
        self._ring = ring
        self._rows = page_rows

    async def keys(self, _table: TableName, token_range: TokenRange) -> AsyncIterator[KeyPage]:
        ring = self._ring
        first, last = (bisect_right(ring.tokens, each) for each in token_range)
        total = (last - first) * ring.width
        done, covered, covered_rows = 0, token_range.first, 0
        while True:
            number = min(self._rows, total - done)
            done += number
            ring.read += number
            if done == total:
                covered, covered_rows = token_range.last, total
            elif number:
                at = (done - 1) // ring.width
                if ring.tokens[first + at] - 1 > covered and at:
                    covered, covered_rows = ring.tokens[first + at] - 1, at * ring.width
            yield KeyPage([Key(TABLE, b"k", ())] * number, [()] * number, covered, covered_rows)
            if done == total:
                return

    async def rows(self, table: TableName, token_range: TokenRange) -> AsyncIterator[RowPage]:
        async for page in self.keys(table, token_range):
            reading = Reading(1, 0.0, ("v",), [RowState(("x" * 100,), None)] * len(page.keys))
            yield RowPage(page.keys, reading if self._ring.readable else None, page.covered, page.covered_rows)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = Store(tmp_path)
    yield store
    store.close()


def estimator(ring: Ring, store: Store, **more: Any) -> BackfillEstimator:
    async def plan(_type: str) -> Any:
        return {"index": "t-2"}

    given: dict[str, Any] = {"rate": None, "ranges_at_once": 2, "plan": plan, "chance": random.Random(3), **more}
    return BackfillEstimator(ring, ring.scan, store.range_jobs, {"t": TABLE}, **given)


def request(**more: Any) -> JobRequest:
    return JobRequest(kind="backfill", types=("t",), **more)


async def of(ring: Ring, store: Store, *, wanted: JobRequest | None = None, **more: Any) -> Any:
    return (await estimator(ring, store, **more).estimate(wanted or request()))["types"]["t"]


@pytest.mark.parametrize(("partitions", "width"), [(0, 1), (1, 1), (500, 3), (COUNTED_ROWS - 1, 1)])
async def test_a_small_table_is_counted(store: Store, partitions: int, width: int) -> None:
    found = await of(Ring(partitions, width), store)
    assert (found["rows"], found["certainty"], found["error"]) == (partitions * width, "counted", 0.0)
    assert found["bytes"] == (100 * partitions * width if partitions else None)
    assert found["cassandra"] is None
    assert "the database has no estimate of k.t" in found["notes"][0]


@pytest.mark.parametrize(("partitions", "width"), [(200_000, 1), (40_000, 7), (20_000, 150)])
async def test_a_large_table_is_sampled(store: Store, partitions: int, width: int) -> None:
    ring = Ring(partitions, width)
    ring.own = Estimate(float(partitions), 100.0 * width)
    found = await of(ring, store)
    rows = partitions * width
    assert rows / 1.5 < found["rows"] < rows * 1.5
    assert found["bytes"] == pytest.approx(100 * found["rows"], rel=0.01)
    assert found["certainty"] == ("good" if found["error"] <= GOOD else "rough")
    assert found["cassandra"] == {"partitions": partitions, "bytes": rows * 100}
    assert found["sampled_rows"] == ring.read < 40_000


async def test_only_some_tokens(store: Store) -> None:
    ring = Ring(50_000)
    found = await of(ring, store, wanted=request(ranges=(TokenRange(SMALLEST, 0), TokenRange(5, RING // 4))))
    assert 30_000 < found["rows"] < 45_000


async def test_partitions_larger_than_a_probe_make_it_rough(store: Store) -> None:
    ring = Ring(20, 20_000)
    ring.own = Estimate(20.0, 2_000_000.0)
    found = await of(ring, store)
    assert found["certainty"] == "rough"
    assert any("partitions" in note for note in found["notes"])
    assert found["rows"] > 0


async def test_values_that_cannot_be_weighed_are_weighed_by_cassandra(store: Store) -> None:
    ring = Ring(100, readable=False)
    assert (await of(ring, store))["bytes"] is None
    ring.own = Estimate(100.0, 250.0)
    assert (await of(ring, store))["bytes"] == 25_000


async def test_the_time_is_that_of_the_last_backfill(store: Store) -> None:
    ring = Ring(5000)
    assert (await of(ring, store))["rate"]["basis"] == "reading"
    assert any("no backfill has been measured" in note for note in (await of(ring, store))["notes"])
    for identity, options, rows in (("a", {"types": ["t"]}, 4000), ("b", {"types": ["u"], "count": True}, 9000)):
        store.range_jobs.add(RangeJob(id=identity, kind="backfill", options=options), [("t", 0, 1, ROWS)], limit=9)
        store.range_jobs.begin(identity)
        store.range_jobs.move(identity, 0, 1, rows, done=True)
        store.range_jobs.finish(identity, "done")
        with store.range_jobs._database.transaction() as connection:
            connection.execute("UPDATE range_job SET finished = started + 8000000 WHERE id = ?", (identity,))
    found = await of(ring, store)
    assert found["rate"] == {"rows_per_second": 500.0, "basis": "last_backfill"}
    assert found["seconds"] == 10.0
    slow = await of(ring, store, wanted=request(rate=50))
    assert (slow["rate"], slow["seconds"]) == ({"rows_per_second": 50.0, "basis": "limit"}, 100.0)
    assert (await of(ring, store, rate=100.0))["seconds"] == 50.0
    assert (await of(ring, store, rate=9000.0))["seconds"] == 10.0


async def test_all_types_their_total_and_an_unknown_one(store: Store) -> None:
    ring = Ring(10)
    answer = await estimator(ring, store).estimate(JobRequest(kind="backfill", types=(), new_index=True))
    assert (answer["dry_run"], answer["total"]["rows"]) == (True, 10)
    assert answer["types"]["t"]["new_index"] == {"index": "t-2"}
    with pytest.raises(UnknownObjectTypeError):
        await estimator(ring, store).estimate(JobRequest(kind="backfill", types=("x",)))
    assert not store.range_jobs.newest()


@pytest.mark.parametrize(
    ("probes", "density"), [([], None), ([(0, 0)], None), ([(5, 10)], 0.5), ([(5, 10), (10, 20)], 0.5), ([(0, 9)], 0)]
)
def test_the_density_of_probes(probes: Sequence[tuple[int, int]], density: float | None) -> None:
    found, error = density_of(probes)
    assert found == density
    assert (error == 0) == (len(probes) > 1)
