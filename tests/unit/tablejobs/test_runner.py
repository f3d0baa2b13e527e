"""How jobs run: they are resumed, retried, failed and completed, and none blocks another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.model.errors import (
    CassandraRefusedError,
    CassandraUnavailableError,
    CdcError,
    ElasticsearchRefusedError,
    Trouble,
)
from cdc_daemon.sources.requests.errors import UnknownObjectTypeError
from cdc_daemon.store.range_jobs import DOCUMENTS, JobRange
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun
from cdc_daemon.tablejobs.runner import MOST_REFUSALS
from tests.unit.tablejobs.jobs import Counting, ended, running, until


async def test_each_range_is_settled_once(tmp_path: Path) -> None:
    work = Counting()
    async with running(tmp_path, work) as runner:
        started = await runner.start(JobRequest(kind="backfill", types=("user", "course"), rate=1000))
        report = await until(runner, started.job.id, ended)
    assert (report.job.state, report.progress.fraction, report.rows) == ("done", 1.0, {"course": 14, "user": 14})
    assert len(work.worked) == 4
    assert len(work.finished) == 1


async def test_what_is_done_is_not_done_again_after_a_crash(tmp_path: Path) -> None:
    work = Counting()
    work.failures = [CassandraUnavailableError("away")] * 2
    async with running(tmp_path, work) as runner:
        started = await runner.start(JobRequest(kind="backfill", types=("user",)))
        await until(runner, started.job.id, lambda _: not work.failures)
        work.hold.clear()
    again = Counting()
    async with running(tmp_path, again) as runner:
        report = await until(runner, started.job.id, ended)
    assert report.job.state == "done"
    numbers = [part.number for part in (*work.worked, *again.worked)]
    assert sorted(numbers) == [0, 1]


async def test_a_table_that_is_gone_fails_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.model.backoff.Backoff.next", lambda _: 0.001)
    work = Counting()
    work.failures = [CassandraRefusedError("no such table")] * (2 * MOST_REFUSALS + 2)
    async with running(tmp_path, work) as runner:
        started = await runner.start(JobRequest(kind="backfill", types=("user",)))
        report = await until(runner, started.job.id, ended)
        assert (report.job.state, report.job.message) == ("failed", "no such table")


@pytest.mark.parametrize("failure", [CdcError("for good"), ValueError("a mistake of ours")])
async def test_what_cannot_be_mended_fails_the_job_and_nothing_else(tmp_path: Path, failure: Exception) -> None:
    work = Counting()
    work.failures = [failure, failure]
    async with running(tmp_path, work) as runner:
        first = await runner.start(JobRequest(kind="backfill", types=("user",)))
        assert (await until(runner, first.job.id, ended)).job.state == "failed"
        work.failures = []
        second = await runner.start(JobRequest(kind="backfill", types=("user",)))
        assert (await until(runner, second.job.id, ended)).job.state == "done"


async def test_the_daemons_own_jobs_do_not_wait_for_an_operators(tmp_path: Path) -> None:
    work = Counting()
    work.hold.clear()
    async with running(tmp_path, work) as runner:
        asked = await runner.start(JobRequest(kind="backfill", types=("user",)))
        own = await runner.start(JobRequest(kind="reconcile", types=("user",), origin="audit", sample=0.25))
        await until(runner, own.job.id, lambda _: len(runner.status()) == 2)
        assert await runner.has_open("audit")
        cancelled = await runner.cancel(asked.job.id)
        assert cancelled is not None
        assert cancelled.job.state == "cancelled"
        work.hold.set()
        assert (await until(runner, own.job.id, ended)).job.state == "done"
    assert {part.side for part in work.worked} == {"rows", DOCUMENTS}
    assert sum(part.last - part.first for part in work.worked if part.side == "rows") < (2**64) / 3


async def test_a_repair_waits_neither_for_an_audit_nor_for_an_operators_job(tmp_path: Path) -> None:
    work, repairing = Counting(), Counting()
    work.hold.clear()

    class Apart(Counting):
        async def work(self, run: JobRun, part: JobRange) -> None:
            await (repairing if run.request.origin == "gap" else work).work(run, part)

    async with running(tmp_path, Apart()) as runner:
        asked = await runner.start(JobRequest(kind="backfill", types=("user",)))
        audit = await runner.start(JobRequest(kind="reconcile", types=("user",), origin="audit"))
        for started in (asked, audit):
            await until(runner, started.job.id, lambda report: report.job.state == "running")
        repair = await runner.start(JobRequest(kind="reconcile", types=("user",), origin="gap", repair=True))
        assert (await until(runner, repair.job.id, ended)).job.state == "done"
        assert work.worked == []
        assert {each["origin"] for each in runner.status()} == {"operator", "audit"}


async def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, Counting()) as runner:
        with pytest.raises(UnknownObjectTypeError):
            await runner.start(JobRequest(kind="backfill", types=("nobody",)))
        assert await runner.newest(10) == []


async def test_ranges_of_a_type_in_trouble_wait_and_delay_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_daemon.tablejobs.runner.STALLED_SECONDS", 0.01)
    troubles = {"user": Trouble("elasticsearch", "users takes no writes", "users")}
    work = Counting()
    async with running(tmp_path, work, troubles.get) as runner:
        user = await runner.start(JobRequest(kind="backfill", types=("user",)))
        both = await runner.start(JobRequest(kind="reconcile", types=("user", "course")))
        course = await runner.start(JobRequest(kind="backfill", types=("course",)))
        report = await until(runner, course.job.id, ended)
        assert report.job.state == "done"
        assert {part.object_type for part in work.worked} == {"course"}
        for waiting in (user, both):
            report = await until(runner, waiting.job.id, lambda _: True)
            assert report.job.open
        assert (await until(runner, both.job.id, lambda _: True)).rows == {"course": 14, "user": 0}
        assert len(work.finished) == 1
        troubles.clear()
        for waiting in (user, both):
            assert (await until(runner, waiting.job.id, ended)).job.state == "done"
    assert len(work.finished) == 3


async def test_trouble_that_begins_during_a_job_makes_it_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.tablejobs.runner.STALLED_SECONDS", 0.01)
    monkeypatch.setattr("cdc_daemon.model.backoff.Backoff.next", lambda _: 0.001)
    troubles: dict[str, Trouble] = {}

    class Refusing(Counting):
        async def work(self, run: JobRun, part: JobRange) -> None:
            if part.object_type == "user" and not self.worked:
                troubles["user"] = Trouble("elasticsearch", "users takes no writes", "users")
                raise ElasticsearchRefusedError("users takes no writes", alias="users")
            await super().work(run, part)

    work = Refusing()
    async with running(tmp_path, work, troubles.get) as runner:
        started = await runner.start(JobRequest(kind="backfill", types=("user", "course")))
        await until(runner, started.job.id, lambda report: report.rows.get("course") == 14)
        report = await until(runner, started.job.id, lambda _: True)
        assert report.job.open
        assert report.rows["user"] == 0
        troubles.clear()
        assert (await until(runner, started.job.id, ended)).rows == {"course": 14, "user": 14}
