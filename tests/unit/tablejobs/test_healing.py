"""Healing and audits: what a lost change makes the daemon reconcile, also while an alias takes no writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cdc_daemon.cassandra.ring import LARGEST, WHOLE_RING, TokenRange
from cdc_daemon.config.settings import AuditSettings
from cdc_daemon.model.errors import (
    Trouble,
)
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.tablejobs.healing import FIRST_PAUSE, Audit, Healing
from tests.unit.tablejobs.jobs import TABLES, Counting, ended, running, until

TROUBLE = Trouble("elasticsearch", "users takes no writes", "users")


def lost(table: str) -> ReconcileRequest:
    return ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=9, keyspace="k", table=table)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.tablejobs.runner.STALLED_SECONDS", 0.01)


async def test_what_another_table_lost_is_healed(tmp_path: Path) -> None:
    store, troubles, work = Store(tmp_path / "requests"), {"user": TROUBLE}, Counting()
    requests = store.reconcile_requests
    async with running(tmp_path, work, troubles.get) as runner:
        types = {table: [name] for name, table in TABLES.items()}
        healing = Healing(requests, runner, types=types, ranges=lambda _: [WHOLE_RING])
        requests.add([lost("user")])
        await healing.check()
        (stalled,) = await runner.newest(10)
        await healing.check()
        assert len(await runner.newest(10)) == 1
        requests.add([lost("course")])
        await healing.check()
        (report, _) = await runner.newest(10)
        assert report.job.options["types"] == ["course"]
        await until(runner, report.job.id, ended)
        await healing.close_requests(work.finished[0])
        assert [request.table for request in requests.open()] == ["user"]
        await healing.check()
        assert len(await runner.newest(10)) == 2
        troubles.clear()
        assert (await until(runner, stalled.job.id, ended)).job.state == "done"
        await healing.close_requests(work.finished[1])
        assert requests.open() == []
    store.close()


async def test_audits_are_of_types_that_can_be_written(tmp_path: Path) -> None:
    troubles, work = {"user": TROUBLE}, Counting()
    async with running(tmp_path, work, troubles.get) as runner:
        audit = Audit(runner, AuditSettings(), {"k": ["user", "course"]}, ranges=lambda _: [WHOLE_RING])
        for number in (1, 2):
            await audit.begin()
            reports = await runner.newest(10)
            assert len(reports) == number
            assert reports[0].job.options["types"] == ["course"]
            await until(runner, reports[0].job.id, ended)
        troubles["course"] = TROUBLE
        await audit.begin()
        assert len(await runner.newest(10)) == 2


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
        await asyncio.to_thread(requests.close, report.job.options["requests"])
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
        await Healing(requests, runner, types=held, ranges=lambda _: own, suspended=[course]).check()
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


async def test_each_repair_has_its_rate(tmp_path: Path) -> None:
    store, work = Store(tmp_path / "requests"), Counting()
    requests = store.reconcile_requests
    async with running(tmp_path, work) as runner:
        types = {table: [name] for name, table in TABLES.items()}
        healing = Healing(requests, runner, types=types, ranges=lambda _: [WHOLE_RING], rate=70.0, possible_rate=3.0)
        requests.add([lost("user")])
        await healing.check()
        (certain,) = await runner.newest(10)
        assert (certain.job.origin, certain.job.options["rate"]) == ("gap", 70.0)
        await until(runner, certain.job.id, ended)
        await healing.close_requests(work.finished[0])
        requests.add([ReconcileRequest(reason=ReconcileReason.GAP, segment_id=12, detail={"certain": False})])
        await healing.check()
        (possible, _) = await runner.newest(10)
        assert (possible.job.origin, possible.job.options["rate"]) == ("possible_gap", 3.0)
    store.close()
