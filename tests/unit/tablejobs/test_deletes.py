"""When delete passes begin, and what is said of the time within which a removed row is gone from search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.poll import DeletesSettings
from cdc_daemon.model.errors import CassandraUnavailableError
from cdc_daemon.model.signal import TableName
from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import ROWS, RangeJob
from cdc_daemon.tablejobs.deletes import (
    CHECK_INTERVAL,
    OVERDUE_SECONDS,
    RETRY_SECONDS,
    DeletePasses,
    DeletesPlan,
    DeletesStatus,
    SharedPasses,
)
from cdc_daemon.tablejobs.metrics import DeletesMetrics
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun
from cdc_daemon.tablejobs.runner import RangeJobReport
from cdc_daemon.telemetry.metrics import Metrics

USER, COURSE = TableName("k", "user"), TableName("k", "course")
DONE = {"types": {"user": {"rows": 70, "repaired": 3}}}


class World:
    """A runner that stores jobs, and a clock that a test sets by the times of the jobs in the store."""

    def __init__(self, store: Store, **plans: float) -> None:
        self.jobs = store.range_jobs
        self.store = store
        self.requests: list[JobRequest] = []
        self.failures: dict[str, str] = {}
        self.trouble: set[str] = set()
        self.refused: set[str] = set()
        self.later = 0.0
        self.removed: list[tuple[TableName, int]] = []
        self.plans = [
            DeletesPlan(TableName("k", name), (name,), DeletesSettings(every=every, rate=7))
            for name, every in plans.items()
        ]
        self.passes = self.made()

    def made(self, **options: Any) -> DeletePasses:
        return DeletePasses(
            self,
            self.jobs,
            self.plans,
            on_removed=lambda table, count: self.removed.append((table, count)),
            now=self.now,
            **options,
        )

    def now(self) -> float:
        newest = self.jobs.newest(limit=1)
        return (newest[0].created / 1e6 if newest else 0.0) + self.later

    async def start(self, request: JobRequest) -> RangeJobReport:
        if self.refused & {*request.types}:
            raise CassandraUnavailableError("away")
        self.requests.append(request)
        job = RangeJob(id=str(len(self.requests)), kind=request.kind, origin=request.origin, options=request.options())
        kept = self.jobs.add(job, [(name, 0, 100, ROWS) for name in request.types], limit=100)
        assert kept is not None
        return RangeJobReport(kept, self.jobs.progress(kept.id), {})

    def failure(self, identity: str) -> str | None:
        return self.failures.get(identity)

    def is_in_trouble(self, object_type: str) -> bool:
        return object_type in self.trouble

    def status(self) -> DeletesStatus:
        return self.passes.status[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


async def test_a_pass_begins_one_interval_after_the_last_one_began(store: Store) -> None:
    world = World(store, user=3600.0)
    await world.passes.check()
    (request,) = world.requests
    assert (request.kind, request.origin, request.types, request.rate) == ("deletes", "deletes", ("user",), 7)
    assert request.ranges == ()
    world.later = 9999.0
    await world.passes.check()
    assert len(world.requests) == 1, "it still runs"
    assert world.status().running
    assert (world.status().bound, world.status().searched) == (None, None)
    store.range_jobs.report("1", DONE)
    store.range_jobs.finish("1", "done")
    world.later = 3599.0
    await world.passes.check()
    assert len(world.requests) == 1
    world.later = 3601.0
    await world.passes.check()
    assert len(world.requests) == 2


async def test_a_restart_neither_repeats_nor_delays_a_pass(store: Store) -> None:
    world = World(store, user=3600.0)
    await world.passes.check()
    store.range_jobs.finish("1", "done")
    world.later = 1800.0
    again = world.made()
    await again.check()
    assert len(world.requests) == 1
    world.later = 3600.5
    await again.check()
    assert len(world.requests) == 2


async def test_a_clock_that_was_set_back_delays_no_pass(store: Store) -> None:
    world = World(store, user=3600.0)
    await world.passes.check()
    store.range_jobs.finish("1", "done")
    world.later = -86400.0
    await world.passes.check()
    assert len(world.requests) == 2


async def test_the_bound_is_the_interval_and_the_duration_of_the_last_pass(store: Store) -> None:
    world = World(store, user=3600.0)
    await world.passes.check()
    store.range_jobs.report("1", DONE)
    store.range_jobs.finish("1", "done")
    await world.passes.check()
    status = world.status()
    assert (status.rows, status.removed, status.error) == (70, 3, None)
    assert status.seconds is not None
    assert status.bound == 3600.0 + CHECK_INTERVAL + status.seconds
    slow = status._replace(seconds=9000.0)
    assert slow.bound == 9000.0 + CHECK_INTERVAL + 9000.0, "the next pass begins when this one has ended"
    assert status.searched is not None
    late = status.searched + 2 * status.bound + OVERDUE_SECONDS
    assert not status.is_overdue(late - 1)
    assert status.is_overdue(late + 1)
    metrics = Metrics()
    DeletesMetrics(metrics).show([status])
    DeletesMetrics(metrics).removed(USER, 3)
    labels = {"keyspace": "k", "table": "user"}
    read = metrics.registry.get_sample_value
    assert read("cdc_daemon_deletes_bound_seconds", labels) == status.bound
    assert read("cdc_daemon_deletes_searched_timestamp_seconds", labels) == status.searched
    assert read("cdc_daemon_deletes_failing", labels) == 0
    assert read("cdc_daemon_deletes_removed_total", labels) == 3


async def test_a_pass_that_fails_says_why_and_is_started_again_soon(store: Store) -> None:
    world = World(store, user=3600.0)
    await world.passes.check()
    world.failures["1"] = "Cassandra is away"
    await world.passes.check()
    assert world.status().error == "Cassandra is away"
    store.range_jobs.finish("1", "failed", message="no such table")
    await world.passes.check()
    assert world.status().error == "no such table"
    world.later = RETRY_SECONDS - 1
    await world.passes.check()
    assert len(world.requests) == 1
    world.later = RETRY_SECONDS + 1
    await world.passes.check()
    assert len(world.requests) == 2


async def test_a_failure_of_one_table_does_not_stop_another(store: Store) -> None:
    world = World(store, user=60.0, course=60.0)
    world.refused = {"user"}
    with pytest.raises(CassandraUnavailableError):
        await world.passes.check()
    assert [request.types for request in world.requests] == [("course",)]
    assert "away" in (world.status().error or "")
    world.refused = set()
    await world.passes.check()
    assert world.requests[-1].types == ("user",)


async def test_no_pass_begins_while_the_index_accepts_no_writes(store: Store) -> None:
    world = World(store, user=60.0)
    world.trouble = {"user"}
    await world.passes.check()
    assert not world.requests
    assert world.status().error == "the index of user accepts no writes"
    world.trouble = set()
    await world.passes.check()
    assert len(world.requests) == 1


async def test_a_daemon_may_search_a_part_of_the_ring(store: Store) -> None:
    world = World(store, user=60.0)
    await world.made(ranges=lambda keyspace: [TokenRange(0, len(keyspace))]).check()
    assert world.requests[0].ranges == (TokenRange(0, 1),)


async def test_only_the_latest_passes_are_kept(store: Store) -> None:
    world = World(store, user=60.0)
    for number in range(1, 5):
        world.later = 61.0
        await world.passes.check()
        world.later = 0.0
        store.range_jobs.finish(str(number), "done" if number < 3 else "failed", message="broken")
        world.later = 301.0
    assert {job.id for job in store.range_jobs.newest()} == {"2", "3", "4"}
    newest, done = store.range_jobs.latest("deletes", ("user",))
    assert newest is not None
    assert done is not None
    assert (newest.id, done.id) == ("4", "2")


async def test_what_a_pass_removed_is_counted_for_its_table(store: Store) -> None:
    world = World(store, user=60.0, course=60.0)
    await world.passes.check()
    request = world.requests[1]
    job = store.range_jobs.get("2")
    assert job is not None
    run = JobRun(job, request, store.range_jobs, store.range_jobs.progress("2"))
    run.found = cast("dict[str, Any]", {"types": {"course": {"rows": 5, "repaired": 2}}})
    await world.passes.note_done(run)
    assert world.removed == [(COURSE, 2)]


class Owners:
    """Says which tables are this daemon's."""

    def __init__(self) -> None:
        self.known = False
        self.mine: set[str] = set()

    def is_mine(self, topic: str, piece: str = "") -> bool:
        assert not piece
        return topic.removeprefix("deletes ") in self.mine


async def test_of_several_daemons_one_searches_a_table(store: Store) -> None:
    owners, world = Owners(), World(store, user=60.0)
    shared = SharedPasses(owners)
    passes = world.made(shared=shared)
    owners.mine.add("k.user")
    await passes.check()
    assert world.requests == []  # the others are not known yet
    owners.known = True
    owners.mine.clear()
    await passes.check()
    assert world.requests == []
    owners.mine.add("k.user")
    await passes.check()
    assert [request.types for request in world.requests] == [("user",)]


async def test_a_pass_of_another_daemon_counts(store: Store) -> None:
    owners, world = Owners(), World(store, user=60.0)
    owners.known = True
    shared = SharedPasses(owners)
    passes = world.made(shared=shared)
    owners.mine.add("k.user")
    world.later = 1000.0
    searched = world.now() - 10
    shared.learn({"k.user": [searched, 3.0], "k.course": "x", 7: None})
    await passes.check()
    assert world.requests == []
    (status,) = passes.status
    assert (status.searched, status.seconds) == (searched, 3.0)
    assert not status.is_overdue(world.now())
    assert shared.report() == {"k.user": (searched, 3.0)}
    world.later += 60
    await passes.check()
    assert len(world.requests) == 1


@pytest.mark.parametrize("report", [None, 7, [], {"k.user": None}, {"k.user": ["x", 1]}, {"k.user": [1]}])
def test_a_report_of_any_shape_does_no_harm(report: Any) -> None:
    shared = SharedPasses(Owners())
    shared.learn(report)
    assert shared.report() == {}
