"""Sync jobs from a real store: their order, retries after failures, and their continuation after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import StoreError, Trouble
from cdc_daemon.model.signal import Key, Signal
from cdc_daemon.pipeline.ports import Watch
from cdc_daemon.sources.requests import InvalidIdError, Refresh, TooManyJobsError, UnknownObjectTypeError
from cdc_daemon.sources.requests.jobs import SyncJobReport, SyncJobRunner
from cdc_daemon.store import Store
from cdc_daemon.store.sync_jobs import SyncJob, SyncJobs
from tests.unit.http.fake import FakeDaemon, running


@contextmanager
def opened(directory: Path) -> Iterator[Store]:
    store = Store(directory)
    try:
        yield store
    finally:
        store.close()


def runner_of(daemon: FakeDaemon) -> SyncJobRunner:
    assert daemon.jobs is not None
    return daemon.jobs


async def until(look: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not look():  # noqa: ASYNC110 -- what is looked at tells of no change
            await asyncio.sleep(0.005)


async def ended(jobs: SyncJobRunner, job: SyncJob) -> SyncJobReport:
    async with asyncio.timeout(30):
        while True:
            report = await jobs.report(job.id)
            assert report is not None
            if not report.job.open:
                return report
            await asyncio.sleep(0.005)


async def test_what_is_wrong_is_kept_of_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        jobs = runner_of(FakeDaemon(store, limit=1))
        with pytest.raises(UnknownObjectTypeError):
            await jobs.start("nobody", ["a"])
        with pytest.raises(InvalidIdError):
            await jobs.start("device", ["a"])
        assert list(store.sync_jobs.newest()) == []
        await jobs.start("user", ["a"])
        with pytest.raises(TooManyJobsError):
            await jobs.start("user", ["b"])
        assert [job.total for job in store.sync_jobs.newest()] == [1]


async def test_they_take_turns_and_are_done_once_for_each_key(tmp_path: Path) -> None:
    async with running(tmp_path, part=2) as daemon:
        jobs = runner_of(daemon)
        first = await jobs.start("user", ["a", "b", "a", "c"], refresh=Refresh.SHARED)
        second = await jobs.start("user", ["d"])
        assert (first.total, second.total) == (3, 1)
        assert (await ended(jobs, second)).job.state == "done"
        assert (await ended(jobs, first)).job.settled == 3
        assert [key.partition_key for key in daemon.pipeline.asked] == [b"a", b"b", b"d", b"c"]
        assert daemon.refresher.refreshed == [("user_alias", Refresh.SHARED)]


async def test_trouble_is_waited_for_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.model.backoff.Backoff.next", lambda _self: 0.001)
    async with running(tmp_path) as daemon:
        jobs, failures = runner_of(daemon), ["the disk", "the service"]
        settle, usual = daemon.service.replicate, jobs._store.next_open

        async def fail_once(*arguments: Any, **named: Any) -> Any:
            if "the service" in failures:
                failures.remove("the service")
                return await settle("user", daemon.service.parse_ids("user", ["never"]), seconds=0.0)
            return await settle(*arguments, **named)

        def fail_to_look(kind: str, object_type: str, *, after: SyncJob | None = None) -> SyncJob | None:
            if "the disk" in failures:
                failures.remove("the disk")
                raise StoreError("the disk is full")
            return usual(kind, object_type, after=after)

        monkeypatch.setattr(daemon.service, "replicate", fail_once)
        monkeypatch.setattr(jobs._store, "next_open", fail_to_look)
        job = await jobs.start("user", ["a", "b"])
        report = await ended(jobs, job)
        assert (report.job.state, report.job.settled, report.job.indexed) == ("done", 2, 2)
        assert failures == []


async def test_another_process_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        daemon = FakeDaemon(store, part=1)
        pipeline, held = daemon.pipeline, list[Key]()

        def request(signals: Iterable[Signal], watch: Watch) -> None:
            for key in map(Key.of, signals):
                if key.partition_key == b"b":
                    held.append(key)
                else:
                    watch.settled(key, [DocumentOutcome("user_alias", "x", Outcome.INDEXED)])

        pipeline.request = request  # type: ignore[method-assign]
        jobs = runner_of(daemon)
        job = await jobs.start("user", ["a", "b", "c"])
        work = asyncio.create_task(jobs.run())
        await until(lambda: held)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert pipeline.withdrawn == held
    async with running(tmp_path, part=1) as after:
        report = await ended(runner_of(after), job)
        assert (report.job.settled, report.job.indexed) == (3, 3)
        assert [key.partition_key for key in after.pipeline.asked] == [b"b", b"c"]


async def test_a_job_of_an_older_configuration_says_what_it_cannot_do(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for identity, object_type, ids in (("1", "gone", ["a"]), ("2", "device", ["no uuid", {"id": 5}])):
            job = SyncJob(id=identity, kind="sync", object_type=object_type, refresh="false")
            assert store.sync_jobs.add(job, ids, part=9, limit=9)
    async with running(tmp_path) as daemon:
        jobs = runner_of(daemon)
        gone, changed = await jobs.report("1"), await jobs.report("2")
        assert gone is not None
        assert changed is not None
        report = await ended(jobs, gone.job)
        assert (report.job.state, report.job.message) == ("failed", "object type gone has no mapping any more")
        report = await ended(jobs, changed.job)
        assert (report.job.state, report.job.settled, report.job.failed) == ("done", 2, 2)
        assert set(report.failures) == {"no uuid", "{'id': 5}"}


async def test_a_job_of_a_type_that_is_held_waits_and_holds_up_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        waiting = await runner_of(FakeDaemon(store)).start("user", ["a"])
    async with running(tmp_path, suspended={"user": "column name is gone"}) as daemon:
        jobs = runner_of(daemon)
        assert (await ended(jobs, await jobs.start("batch", ["c:b"]))).job.settled == 1
        report = await jobs.report(waiting.id)
        assert report is not None
        assert (report.job.state, report.job.settled) == ("queued", 0)
        assert report.job.message == "waiting: the mapping of its type does not fit its table: column name is gone"
    async with running(tmp_path) as daemon:
        report = await ended(runner_of(daemon), waiting)
        assert (report.job.state, report.job.settled, report.job.message) == ("done", 1, None)


async def test_a_type_that_cannot_be_written_holds_up_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        jobs, usual, stuck = runner_of(daemon), daemon.pipeline.request, list[Signal]()

        def request(signals: Iterable[Signal], watch: Watch) -> None:
            given = list(signals)
            stuck.extend(each for each in given if each.table.table == "user")
            usual([each for each in given if each.table.table != "user"], watch)

        daemon.pipeline.request = request  # type: ignore[method-assign]
        await jobs.start("user", ["a"])
        await until(lambda: stuck)
        assert (await ended(jobs, await jobs.start("batch", ["c:b"]))).job.settled == 1


async def test_the_disk_is_waited_for_also_to_end_jobs_of_unknown_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_daemon.model.backoff.Backoff.next", lambda _self: 0.001)
    failures = ["the disk"]
    usual = SyncJobs.open_types

    def fail_once(self: SyncJobs, kind: str) -> frozenset[str]:
        if failures:
            raise StoreError(failures.pop())
        return usual(self, kind)

    monkeypatch.setattr(SyncJobs, "open_types", fail_once)
    with opened(tmp_path) as store:
        gone = store.sync_jobs.add(SyncJob(id="1", kind="sync", object_type="gone"), ["a"], part=1, limit=9)
    assert gone is not None
    async with running(tmp_path) as daemon:
        assert (await ended(runner_of(daemon), gone)).job.state == "failed"
    assert failures == []


async def test_jobs_of_others_are_not_told(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.sync_jobs.add(SyncJob(id="1", kind="other", object_type="user"), ["a"], part=1, limit=9)
        jobs = runner_of(FakeDaemon(store))
        assert await jobs.report("1") is None
        assert await jobs.report("2") is None


async def test_while_a_server_is_away_a_job_waits(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        watches: Sequence[Any] = []
        usual = daemon.pipeline.request

        def request(signals: Iterable[Signal], watch: Watch) -> None:
            nonlocal watches
            watches = [*watches, watch]
            usual(signals, watch)

        daemon.pipeline.request = request  # type: ignore[method-assign]
        daemon.pipeline.held = Trouble("cassandra", "away")
        jobs = runner_of(daemon)
        job = await jobs.start("user", ["a"])
        await until(lambda: watches)
        await asyncio.sleep(0)
        report = await jobs.report(job.id)
        assert report is not None
        assert (report.job.state, report.job.settled) == ("running", 0)
        watches[0].settled(daemon.pipeline.asked[0], [DocumentOutcome("user_alias", "a", Outcome.INDEXED)])
        assert (await ended(jobs, job)).job.indexed == 1


async def test_a_job_is_cancelled_while_its_part_is_under_way(tmp_path: Path) -> None:
    async with running(tmp_path, part=1) as daemon:
        jobs = runner_of(daemon)
        daemon.pipeline.held = Trouble("elasticsearch", "no node")
        job = await jobs.start("user", ["a", "b"])
        await until(lambda: daemon.pipeline.asked)
        report = await jobs.cancel(job.id)
        assert report is not None
        assert report.job.state == "cancelled"
        await until(lambda: daemon.pipeline.withdrawn == daemon.pipeline.asked)
        daemon.pipeline.held = None
        other = await jobs.start("user", ["c"])
        assert (await ended(jobs, other)).job.state == "done", "it holds up no other"
        after = await jobs.report(job.id)
        assert after is not None
        assert (after.job.state, after.job.settled) == ("cancelled", 0)
        assert await jobs.cancel("nobody's") is None
