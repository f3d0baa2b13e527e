"""How jobs are worked off: resumed, tried again, failed, ended, and none in the way of another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cdc_daemon.cassandra.ring import LARGEST, WHOLE_RING, TokenRange, split
from cdc_daemon.model.errors import (
    CassandraRefusedError,
    CassandraUnavailableError,
    CdcError,
    ElasticsearchRefusedError,
    Trouble,
)
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.requests.errors import UnknownObjectTypeError
from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import DOCUMENTS, JobRange
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.tablejobs.healing import FIRST_PAUSE, Healing
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun
from cdc_daemon.tablejobs.runner import MOST_REFUSALS, RangeJobReport, RangeJobRunner

TABLES = {"user": TableName("k", "user"), "course": TableName("k", "course")}


class Halves:
    async def pieces(self, table: TableName, wanted: Sequence[TokenRange]) -> Sequence[TokenRange]:
        assert table.keyspace == "k"
        return [piece for each in wanted for piece in split(each, 2)]


class Counting:
    """Settles each range as seven rows, after what a test makes of it."""

    def __init__(self) -> None:
        self.worked: list[JobRange] = []
        self.finished: list[JobRun] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.failures: list[Exception] = []

    async def work(self, run: JobRun, part: JobRange) -> None:
        await self.hold.wait()
        if self.failures:
            raise self.failures.pop()
        self.worked.append(part)
        await run.move(part, part.last, 7, done=True)

    async def finish(self, run: JobRun) -> None:
        self.finished.append(run)


@asynccontextmanager
async def running(
    directory: Path, work: Counting, trouble: Callable[[str], Trouble | None] = lambda _type: None
) -> AsyncIterator[RangeJobRunner]:
    store = Store(directory)
    runner = RangeJobRunner(store.range_jobs, Halves(), {"backfill": work, "reconcile": work}, TABLES, trouble=trouble)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()


async def until(runner: RangeJobRunner, identity: str, look: Callable[[RangeJobReport], bool]) -> RangeJobReport:
    async with asyncio.timeout(20):
        while True:
            report = await runner.report(identity)
            assert report is not None
            if look(report):
                return report
            await asyncio.sleep(0.01)


def ended(report: RangeJobReport) -> bool:
    return not report.job.open


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


async def test_lost_changes_are_healed_once(tmp_path: Path) -> None:
    work = Counting()
    store = Store(tmp_path / "requests")
    store.reconcile_requests.add(
        [
            ReconcileRequest(reason=ReconcileReason.GAP, segment_id=5, to_segment_id=7),
            ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=9, to_position=10, keyspace="k", table="user"),
        ]
    )
    own = [TokenRange(0, LARGEST)]
    async with running(tmp_path, work) as runner:
        healing = Healing(
            store.reconcile_requests,
            runner,
            types={table: [name] for name, table in TABLES.items()},
            ranges=lambda _: own,
        )
        await healing.check()
        await healing.check()
        (report,) = await runner.newest(10)
        await until(runner, report.job.id, ended)
        request = work.finished[0].request
        assert (request.types, request.ranges, request.repair) == (("course", "user"), tuple(own), True)
        await healing.close_requests(work.finished[0])
        assert store.reconcile_requests.open() == []
        await healing.check()
        assert len(await runner.newest(10)) == 1
    store.close()


async def test_only_the_table_in_doubt_is_healed(tmp_path: Path) -> None:
    store = Store(tmp_path / "requests")
    requests = store.reconcile_requests
    requests.add([ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=9, keyspace="k", table="course")])
    async with running(tmp_path, Counting()) as runner:
        types = {table: [name] for name, table in TABLES.items()}
        healing = Healing(requests, runner, types=types, ranges=lambda _: [WHOLE_RING])
        await healing.check()
        (report,) = await runner.newest(10)
        assert (report.job.options["types"], report.job.options["ranges"]) == (["course"], [])
        await until(runner, report.job.id, ended)
        await asyncio.to_thread(requests.settle, report.job.options["requests"])
        requests.add([ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=9, keyspace="k", table="unmapped")])
        await healing.check()
        assert requests.open() == []
        assert len(await runner.newest(10)) == 1
    store.close()


async def test_what_is_only_perhaps_lost_is_compared_slowly_and_delays_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "requests")
    requests = store.reconcile_requests
    hole = ReconcileRequest(reason=ReconcileReason.GAP, segment_id=5, to_segment_id=7, detail={"certain": False})
    requests.add([hole])
    work = Counting()
    work.hold.clear()
    types = {table: [name] for name, table in TABLES.items()}
    async with running(tmp_path, work) as runner:
        healing = Healing(requests, runner, types=types, ranges=lambda _: [WHOLE_RING], possible_rate=500.0)
        await healing.check()
        await healing.check()
        (slow,) = await runner.newest(10)
        assert (slow.job.origin, slow.job.options["rate"], slow.job.options["repair"]) == ("possible_gap", 500.0, True)
        requests.add([ReconcileRequest(reason=ReconcileReason.GAP, segment_id=9, detail={"certain": True})])
        await healing.check()
        quick, _ = await runner.newest(10)
        assert (quick.job.origin, quick.job.options["rate"]) == ("gap", None)
        assert len(quick.job.options["requests"]) == 2, "it compares the same rows"
        work.hold.set()
        for report in (slow, quick):
            await until(runner, report.job.id, ended)
        for run in work.finished:
            await healing.close_requests(run)
        requests.add([hole])
        assert requests.open() == [], "a hole that was compared is not compared again"
        await healing.check()
        assert len(await runner.newest(10)) == 2
    store.close()


async def test_a_table_whose_mapping_does_not_fit_it_waits_and_is_healed_as_a_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "requests")
    requests = store.reconcile_requests
    requests.add([ReconcileRequest(reason=ReconcileReason.KEY, segment_id=0, keyspace="k", table="course")])
    types = {table: [name] for name, table in TABLES.items()}
    own = [TokenRange(0, LARGEST)]
    async with running(tmp_path, Counting()) as runner:
        course = TABLES["course"]
        held = {table: names for table, names in types.items() if table != course}
        await Healing(requests, runner, types=held, ranges=lambda _: own, held=[course]).check()
        assert len(requests.open()) == 1
        assert await runner.newest(10) == []
        # Documents of the old key are of no node's tokens.
        await Healing(requests, runner, types=types, ranges=lambda _: own).check()
        (report,) = await runner.newest(10)
        assert (report.job.options["types"], report.job.options["ranges"]) == (["course"], [])
    store.close()


async def test_a_repair_that_fails_for_good_is_made_anew_ever_less_often_and_holds_up_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path / "requests")
    requests = store.reconcile_requests
    requests.add([ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=9, keyspace="k", table="course")])
    work = Counting()
    now = 0.0
    async with running(tmp_path, work) as runner:
        types = {table: [name] for name, table in TABLES.items()}
        healing = Healing(requests, runner, types=types, ranges=lambda _: [WHOLE_RING], clock=lambda: now)

        async def look(*, seconds: float, fails: bool) -> list[tuple[list[str], str]]:
            nonlocal now
            now += seconds
            work.failures = [ValueError("a column that nobody knows")] * 9 if fails else []
            await healing.check()
            for report in await runner.newest(10):
                await until(runner, report.job.id, ended)
            return [(each.job.options["types"], each.job.state) for each in reversed(await runner.newest(10))]

        course = ["course"], "failed"
        assert await look(seconds=0, fails=True) == [course]
        assert await look(seconds=5, fails=True) == [course]
        assert await look(seconds=FIRST_PAUSE, fails=True) == [course] * 2
        # The pause begins when the failure is seen, and is twice as long.
        await look(seconds=5, fails=True)
        assert await look(seconds=FIRST_PAUSE, fails=True) == [course] * 2
        requests.add([ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=9, keyspace="k", table="user")])
        other = ["user"], "done"
        assert await look(seconds=0, fails=False) == [course, course, other]
        await healing.close_requests(work.finished[-1])
        assert [request.table for request in requests.open()] == ["course"]
        assert await look(seconds=FIRST_PAUSE, fails=False) == [course, course, other, (["course"], "done")]
        await healing.close_requests(work.finished[-1])
        assert requests.open() == []
    store.close()


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
